//! RotaryEmbedding of opset 23 (Su et al. 2021, equation 34).

use graphs::{Op, Tensor, Value};

use super::Site;
use super::site::int;
use crate::Result;

/// `(c a - s b, s a + c b)` for the halves `a` and `b` of every head, or its even and odd elements.
pub(super) fn rotary_embedding(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let [heads, width, interleaved] = ["num_heads", "rotary_embedding_dim", "interleaved"]
        .map(|name| site.take(name, int).map(|value| value.filter(|value| *value != 0)));
    let (heads, width, interleaved) = (heads?, width?, interleaved?.is_some());
    let flat = site.rank().map_or(heads.is_some(), |rank| rank == 3);
    let split = match (flat, heads) {
        // [N, S, H, D]
        (true, Some(heads)) => {
            let shape = site.constant("heads", Tensor::vector(&[0, 0, heads, -1]));
            site.apply("Reshape", &[x, shape])
        }
        (true, None) => return Err(site.refuse("3-D arguments, but num_heads is not given")),
        // [N, H, S, D]
        (false, _) => x,
    };
    let angle = |site: &mut Site, slot: usize| -> Result<Value> {
        let mut cache = site.given(slot)?;
        if let Some(positions) = site.argument(3) {
            cache = site.apply("Gather", &[cache, positions]);
        }
        let axis = site.constant("axis", Tensor::vector(&[if flat { 2i64 } else { 1 }]));
        Ok(site.apply("Unsqueeze", &[cache, axis]))
    };
    let [cosine, sine] = [angle(site, 1)?, angle(site, 2)?];
    let (turned, rest) = match width {
        None => (split, None),
        Some(width) => (cut(site, split, 0, width), Some(cut(site, split, width, i64::MAX))),
    };
    let [a, b] = halves(site, turned, interleaved);
    let product = |site: &mut Site, x: Value, y: Value| site.apply("Mul", &[x, y]);
    let (ca, sb) = (product(site, cosine, a), product(site, sine, b));
    let (sa, cb) = (product(site, sine, a), product(site, cosine, b));
    let [real, imaginary] = [site.apply("Sub", &[ca, sb]), site.apply("Add", &[sa, cb])];
    let mut y = join(site, [real, imaginary], interleaved);
    if let Some(rest) = rest {
        y = site.emit(Op::new("Concat").with("axis", -1), &[y, rest]);
    }
    let shape = if flat { vec![0i64, 0, -1] } else { vec![0, 0, 0, -1] };
    let shape = site.constant("shape", Tensor::vector(&shape));
    site.become_call(Op::new("Reshape"), &[y, shape]);
    Ok(())
}

/// Elements `from` to `to` of the last axis.
fn cut(site: &mut Site, x: Value, from: i64, to: i64) -> Value {
    let [from, to] = [from, to].map(|at| site.constant("at", Tensor::vector(&[at])));
    let axis = site.constant("axis", Tensor::vector(&[-1i64]));
    site.apply("Slice", &[x, from, to, axis])
}

fn halves(site: &mut Site, x: Value, interleaved: bool) -> [Value; 2] {
    let split = Op::new("Split").with("axis", -1).with("num_outputs", 2);
    if !interleaved {
        let node = site.emit_many(split, &[Some(x)], 2);
        return [0, 1].map(|slot| Value { node, slot });
    }
    let pairs = site.constant("pairs", Tensor::vector(&[0i64, 0, 0, -1, 2]));
    let pairs = site.apply("Reshape", &[x, pairs]);
    let node = site.emit_many(split, &[Some(pairs)], 2);
    let last = site.constant("last", Tensor::vector(&[-1i64]));
    [0, 1].map(|slot| site.apply("Squeeze", &[Value { node, slot }, last]))
}

fn join(site: &mut Site, parts: [Value; 2], interleaved: bool) -> Value {
    let concat = Op::new("Concat").with("axis", -1);
    if !interleaved {
        return site.emit(concat, &parts);
    }
    let last = site.constant("last", Tensor::vector(&[-1i64]));
    let parts = parts.map(|part| site.apply("Unsqueeze", &[part, last]));
    let pairs = site.emit(concat, &parts);
    let shape = site.constant("elements", Tensor::vector(&[0i64, 0, 0, -1]));
    site.apply("Reshape", &[pairs, shape])
}
