//! Orders of the nodes in which every producer stands before its consumers.

use crate::{Error, Graph, NodeId, NodeSet};

impl Graph {
    /// Every node, in order of index but for those that another one of a lower index
    /// depends on: they stand right before it. In time linear in the size of the graph.
    ///
    /// # Errors
    /// When the graph has a cycle; the error names a node on it.
    pub fn order(&self) -> Result<Vec<NodeId>, Error> {
        self.order_along(self.ids())
    }

    /// The operator calls in [`Graph::order`].
    ///
    /// # Errors
    /// As [`Graph::order`].
    pub fn op_order(&self) -> Result<Vec<NodeId>, Error> {
        Ok(self.order()?.into_iter().filter(|&id| self.node(id).op().is_some()).collect())
    }

    /// The nodes of `wanted` in that order, each behind what it depends on and has not come
    /// yet.
    ///
    /// # Errors
    /// As [`Graph::order`].
    pub(crate) fn order_along(
        &self,
        wanted: impl IntoIterator<Item = NodeId>,
    ) -> Result<Vec<NodeId>, Error> {
        let mut order = Vec::with_capacity(self.len());
        // What was begun and is not done lies between `wanted` and the top of the stack.
        let (mut begun, mut done) = (NodeSet::default(), NodeSet::default());
        let mut stack = Vec::new();
        for id in wanted {
            stack.push(id);
            while let Some(&id) = stack.last() {
                let height = stack.len();
                if !done.contains(id) {
                    let producers = self.reads(id).map(|(value, _)| value.node);
                    stack.extend(producers.filter(|&producer| !done.contains(producer)));
                }
                if stack.len() == height {
                    stack.pop();
                    if done.insert(id) {
                        order.push(id);
                    }
                    continue;
                }
                begun.insert(id);
                let missing = stack.get_mut(height..).unwrap_or_default();
                if let Some(&id) = missing.iter().find(|&&id| begun.contains(id)) {
                    return Err(Error::Cycle { node: self.node(id).describe() });
                }
                missing.sort_unstable_by(|a, b| b.cmp(a));
            }
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;
    use crate::{Fact, Op, Role, Value};

    fn call(graph: &mut Graph, arguments: &[Value]) -> NodeId {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        graph.op("", Op::new("Sum"), &arguments, vec![Fact::default()])
    }

    #[test]
    fn what_came_later_stands_right_before_its_first_reader() {
        let mut graph = Graph::new("g");
        let x = graph.input("x", Role::Data, Fact::default());
        let a = call(&mut graph, &[x]);
        let b = call(&mut graph, &[x]);
        let c = call(&mut graph, &[a.into(), b.into()]);
        assert_eq!(graph.order().expect("no cycle"), [x.node, a, b, c]);

        let [d, e] = [call(&mut graph, &[x, x]), call(&mut graph, &[a.into()])];
        let f = call(&mut graph, &[e.into(), d.into(), d.into()]);
        graph.set_argument(c, 1, Some(f.into()));
        assert_eq!(graph.order().expect("no cycle"), [x.node, a, b, d, e, f, c]);
        assert_eq!(graph.op_order().expect("no cycle"), [a, b, d, e, f, c]);

        graph.set_argument(e, 0, Some(c.into()));
        let Err(Error::Cycle { .. }) = graph.order() else { unreachable!("a cycle") };
    }
}
