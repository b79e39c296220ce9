//! Operators that move blocks of pixels into channels and back.

use graphs::{Fact, Op, Value};

use super::patches::rearrange;
use super::{Adjoint, Call, Def, Gradient, case};
use crate::Result;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "DepthToSpace",
        infer: |call| {
            let ([n, c, h, w], block) = image(call)?;
            let size = |size: usize| size.checked_mul(block);
            let channels =
                block.checked_mul(block).filter(|area| c % area == 0).map(|area| c / area);
            match (channels, size(h), size(w)) {
                (Some(c), Some(h), Some(w)) => Ok(vec![Fact::new(call.dtype(0)?, &[n, c, h, w])]),
                _ => Err(call.error(format!("{c} channels are not blocks of {block} x {block}"))),
            }
        },
        gradient: Gradient::Rule(depth_gradient),
        eval: None,
        cases: || {
            let space = |block: i64| case("DepthToSpace").with("blocksize", block);
            vec![
                space(2).x(&[2, 8, 2, 3]),
                space(3).x(&[1, 9, 1, 2]),
                space(2).with("mode", "CRD").x(&[2, 8, 2, 3]),
            ]
        },
    },
    Def {
        op: "SpaceToDepth",
        infer: |call| {
            let ([n, c, h, w], block) = image(call)?;
            let channels = block.checked_mul(block).and_then(|area| area.checked_mul(c));
            match channels.filter(|_| h % block == 0 && w % block == 0) {
                Some(c) => Ok(vec![Fact::new(call.dtype(0)?, &[n, c, h / block, w / block])]),
                None => Err(call.error(format!("{h} x {w} are not blocks of {block} x {block}"))),
            }
        },
        gradient: Gradient::Rule(|s| {
            let op = Op::new("DepthToSpace").with("blocksize", s.op.int("blocksize", 1));
            let dy = s.dy()?;
            Ok(vec![Some(s.tape.op(op, &[dy])?)])
        }),
        eval: None,
        cases: || {
            let depth = |block: i64| case("SpaceToDepth").with("blocksize", block);
            vec![depth(2).x(&[2, 3, 4, 2]), depth(3).x(&[1, 2, 3, 6])]
        },
    },
];

/// The dimensions of argument 0 and the size of a block.
fn image(call: &Call) -> Result<([usize; 4], usize)> {
    let shape = call.shape(0)?;
    let block = call.op.int("blocksize", 0);
    match (<[usize; 4]>::try_from(shape.as_slice()), usize::try_from(block)) {
        (Ok(shape), Ok(block)) if block > 0 => Ok((shape, block)),
        _ => Err(call.error(format!("an input {shape:?} and a block size of {block} do not fit"))),
    }
}

fn depth_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let ([n, c, h, w], b) = image(&s.call()?)?;
    let dy = s.dy()?;
    let dx = match s.op.string("mode") {
        Some("CRD") => {
            let split = [n, c / (b * b), h, b, w, b];
            rearrange(s.tape, dy, &split, &[0, 1, 3, 5, 2, 4], &[n, c, h, w])?
        }
        _ => s.tape.op(Op::new("SpaceToDepth").with("blocksize", b as i64), &[dy])?,
    };
    Ok(vec![Some(dx)])
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn blocks_become_channels_and_back() {
        let depth = |block: i64| case("SpaceToDepth").with("blocksize", block).x(&[2, 3, 4, 6]);
        assert_eq!(shape(depth(2)), [2, 12, 2, 3]);
        assert!(refusal(depth(4)).contains("4 x 6 are not blocks of 4 x 4"));
        assert!(refusal(depth(i64::MAX)).contains("are not blocks"));
        let space = |block: i64| case("DepthToSpace").with("blocksize", block).x(&[2, 12, 2, 3]);
        assert_eq!(shape(space(2)), [2, 3, 4, 6]);
        assert!(refusal(space(5)).contains("12 channels are not blocks of 5 x 5"));
        assert!(refusal(space(0)).contains("do not fit"));
    }
}
