//! Values that repeat others. The gradient of a sum is one number in the shape of all that was
//! summed, that of a mean over some axes one number a row: arithmetic broadcasts, so they need
//! not be written out before it.

use graphs::{Value, element_count};

use crate::{Result, Tape};

/// True for operators of which [`Tape::apply`] asks [`Tape::arithmetic`].
pub(crate) fn is_arithmetic(op_type: &str) -> bool {
    matches!(op_type, "Add" | "Sub" | "Mul" | "Div" | "Neg")
}

impl Tape<'_> {
    /// A call of arithmetic. One on numbers that were repeated is done once, and repeated; one
    /// on a repeated value and another of the same shape broadcasts.
    ///
    /// # Errors
    /// As [`Tape::call`].
    pub(crate) fn arithmetic(&mut self, op_type: &str, arguments: &[Value]) -> Result<Value> {
        let shapes: Vec<_> = arguments.iter().map(|&x| self.graph.fact(x).known_shape()).collect();
        let longest =
            shapes.iter().flatten().max_by_key(|shape| (element_count(shape), shape.len()));
        let Some(shape) = longest.cloned() else {
            return self.plain(op_type, arguments);
        };
        let numbers: Vec<Option<Value>> = arguments
            .iter()
            .zip(&shapes)
            .map(|(&x, known)| match known {
                Some(known) if element_count(known) == Some(1) => {
                    (known.len() <= shape.len()).then_some(x)
                }
                Some(known) if *known == shape => self.number_behind(x),
                _ => None,
            })
            .collect();
        let one = element_count(&shape) == Some(1);
        if let (false, Some(numbers)) = (one, numbers.into_iter().collect::<Option<Vec<_>>>()) {
            let number = self.plain(op_type, &numbers)?;
            return self.expand(number, &shape);
        }
        let mut arguments = arguments.to_vec();
        let full = shapes.iter().all(|known| known.as_ref() == Some(&shape));
        if full && arguments.len() > 1 {
            // One only: another keeps the shape.
            let source =
                arguments.iter().enumerate().find_map(|(i, &x)| Some((i, self.source(x)?)));
            if let Some((i, source)) = source {
                arguments[i] = source;
            }
        }
        self.plain(op_type, &arguments)
    }

    /// The single number that a value repeats.
    pub(crate) fn number_behind(&self, x: Value) -> Option<Value> {
        let source = self.source(x)?;
        let shape = self.graph.fact(source).known_shape()?;
        (element_count(&shape) == Some(1)).then_some(source)
    }

    /// What an Expand repeats.
    fn source(&self, x: Value) -> Option<Value> {
        let op = self.graph.node(x.node).op()?;
        (op.op_type == "Expand" && op.domain.is_empty()).then_some(())?;
        self.graph.argument(x.node, 0)
    }

    fn plain(&mut self, op_type: &str, arguments: &[Value]) -> Result<Value> {
        self.op(graphs::Op::new(op_type), arguments)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use graphs::{DType, Fact, Graph, Role};

    use super::*;

    fn tape_of(graph: &mut Graph) -> (Value, Value, Tape<'_>) {
        let image = graph.input("x", Role::Data, Fact::new(DType::F32, &[2, 3, 4, 4]));
        let number = graph.input("n", Role::Scalar, Fact::new(DType::F32, &[]));
        (image, number, Tape::new(graph, "test"))
    }

    fn type_of(tape: &Tape, x: Value) -> String {
        tape.graph.node(x.node).op().unwrap().op_type.clone()
    }

    #[test]
    fn numbers_are_repeated_last() {
        let mut graph = Graph::new("test");
        let (_, number, mut tape) = tape_of(&mut graph);
        let wide = tape.expand(number, &[6]).unwrap();
        let wide = tape.reshape(wide, &[2, 3]).unwrap();
        let wide = tape.expand(wide, &[5, 2, 3]).unwrap();
        assert_eq!(tape.number_behind(wide), Some(number));
        let two = tape.scalar(2f32);
        let double = tape.apply("Mul", &[wide, two]).unwrap();
        assert_eq!(
            (type_of(&tape, double).as_str(), tape.shape(double).unwrap()),
            ("Expand", vec![5, 2, 3])
        );
        let number = tape.number_behind(double).unwrap();
        assert_eq!((type_of(&tape, number).as_str(), tape.shape(number).unwrap()), ("Mul", vec![]));
    }

    #[test]
    fn a_reshape_has_the_rank_that_is_asked_for_and_as_many_elements() {
        let mut graph = Graph::new("test");
        let (image, _, mut tape) = tape_of(&mut graph);
        let mean = tape.reduce_sum(image, &[0, 1, 2, 3], true).unwrap();
        let wide = tape.expand(mean, &[1, 1, 6, 4]).unwrap();
        for shape in [&[24][..], &[6, 4], &[2, 3, 2, 2, 1]] {
            let seen = tape.reshape(wide, shape).unwrap();
            assert_eq!(tape.shape(seen).unwrap(), shape);
        }
        assert!(tape.reshape(wide, &[25]).is_err());
    }

    #[test]
    fn rows_are_repeated_by_arithmetic_itself() {
        let mut graph = Graph::new("test");
        let (image, _, mut tape) = tape_of(&mut graph);
        let sums = tape.reduce_sum(image, &[0, 2, 3], true).unwrap();
        let wide = tape.expand(sums, &[2, 3, 4, 4]).unwrap();
        for arguments in [[wide, image], [image, wide]] {
            let sum = tape.apply("Sub", &arguments).unwrap();
            let found = arguments.map(|x| if x == wide { sums } else { x });
            assert_eq!(tape.graph.arguments(sum.node), found.map(Some));
            assert_eq!(tape.shape(sum).unwrap(), [2, 3, 4, 4]);
        }
        let twice = tape.apply("Add", &[wide, wide]).unwrap();
        assert_eq!(tape.graph.arguments(twice.node), [Some(sums), Some(wide)]);
    }
}
