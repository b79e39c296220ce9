//! CumProd of opset 26.

use graphs::{Op, Tensor, Value};

use super::Site;
use crate::Result;

/// Products of 1, 2, 4, ... neighbours: each step multiplies by what lies as far behind.
pub(super) fn cumulative_product(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let axis = site.argument(1).and_then(|axis| site.graph.tensor(axis)?.integers().ok());
    let axis = axis.as_deref().and_then(|axis| axis.first().copied());
    let rank = site.rank().and_then(|rank| i64::try_from(rank).ok());
    let axis = axis.zip(rank).map(|(axis, rank)| if axis < 0 { axis + rank } else { axis });
    let size = axis.and_then(|axis| site.size(x, usize::try_from(axis).ok()?));
    let (Some(axis), Some(size)) = (axis, size) else {
        return Err(site.refuse("its axis, or the size there, is not known"));
    };
    let [exclusive, reverse] = ["exclusive", "reverse"].map(|name| site.op.int(name, 0) != 0);
    let one = site.number("one", 1.0, x);
    let mut y = if reverse { backwards(site, x, axis) } else { x };
    if exclusive {
        y = shifted(site, y, axis, 1, size, one);
    }
    let mut reach = 1;
    while reach < size {
        let behind = shifted(site, y, axis, reach, size, one);
        y = site.apply("Mul", &[y, behind]);
        reach *= 2;
    }
    if reverse {
        y = backwards(site, y, axis);
    }
    site.become_call(Op::new("Identity"), &[y]);
    Ok(())
}

/// `x` moved along an axis of that size, with ones coming in.
fn shifted(site: &mut Site, x: Value, axis: i64, by: i64, size: i64, one: Value) -> Value {
    let at = site.constant("axis", Tensor::vector(&[axis]));
    let pads = site.constant("pads", Tensor::vector(&[by, 0]));
    let longer = site.apply("Pad", &[x, pads, one, at]);
    let [from, to] = [0, size].map(|end| site.constant("end", Tensor::vector(&[end])));
    site.apply("Slice", &[longer, from, to, at])
}

fn backwards(site: &mut Site, x: Value, axis: i64) -> Value {
    let [from, to, at, step] =
        [-1, i64::MIN, axis, -1].map(|number| site.constant("number", Tensor::vector(&[number])));
    site.apply("Slice", &[x, from, to, at, step])
}
