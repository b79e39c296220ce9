//! Standard normal numbers that a random operator draws.

use graphs::{DType, Fact, Graph, Op, Tensor, Value};

/// Beyond what 24 random bits give a normal number: OpenVINO returns an infinity instead, once in
/// 2^24.
const MOST: f32 = 6.0;

/// Standard normal numbers of the shape of `like`, float32, new at every run; `name` goes in front
/// of the names of what is added.
pub(crate) fn normal_like(graph: &mut Graph, name: &str, like: Value) -> Value {
    let random = Op::new("RandomNormalLike").with("dtype", i64::from(DType::F32.code()));
    // tract takes a random operator for shape-like only if the node's name ends with the
    // operator's.
    let call = format!("{name}/RandomNormalLike");
    let normals = graph.op(&call, random, &[Some(like)], vec![Fact::default()]).into();
    let [least, most] = [("least", -MOST), ("most", MOST)]
        .map(|(end, bound)| graph.initializer(&format!("{name}/{end}"), Tensor::scalar(bound)));
    let arguments = [normals, least, most].map(Some);
    graph.op(&format!("{name}/Clip"), Op::new("Clip"), &arguments, vec![Fact::default()]).into()
}
