//! Operators on the bits of integers.

use graphs::Tensor;

use super::broadcast::same_type;
use super::{Case, Def, Gradient, case, like_first};

pub(super) const TABLE: &[Def] = &[
    join("BitwiseAnd", || vec![pair(case("BitwiseAnd"))]),
    join("BitwiseOr", || vec![pair(case("BitwiseOr"))]),
    join("BitwiseXor", || vec![pair(case("BitwiseXor"))]),
    join("BitShift", || {
        let shift = |to: &str| pair(case("BitShift").with("direction", to));
        vec![shift("LEFT"), shift("RIGHT")]
    }),
    Def {
        op: "BitwiseNot",
        infer: like_first,
        gradient: Gradient::Zero,
        eval: None,
        cases: || vec![case("BitwiseNot").constant(Tensor::vector(&[5i32, -3, 0]))],
    },
];

const fn join(op: &'static str, cases: fn() -> Vec<Case>) -> Def {
    Def { op, infer: same_type, gradient: Gradient::Zero, eval: None, cases }
}

fn pair(case: Case) -> Case {
    case.constant(Tensor::vector(&[12u32, 10, 7])).constant(Tensor::vector(&[3u32, 6, 1]))
}
