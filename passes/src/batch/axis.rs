//! Where a value holds the batch, and where a Reshape takes it.

/// An axis of size `outer * N * inner` in row-major order; windows and heads are often
/// folded into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) axis: usize,
    pub(super) outer: usize,
    pub(super) inner: usize,
}

impl Held {
    /// How many times the batch size the axis is long.
    pub(super) fn share(self) -> usize {
        self.outer.saturating_mul(self.inner)
    }
}

/// The axes of `to` that can hold the batch of `from` after a Reshape, the likeliest
/// first; both are the shapes at the batch size `baked`.
///
/// An element keeps its place in row-major order, so the step from one example to the
/// next stays the same, and an axis qualifies when that step and the whole batch fit
/// into it. With more than one example only one axis can. With one, its step alone
/// tells nothing between axes of size 1, nor what is folded into which axis; then the
/// last axis (features) counts least, next one where something stands before the batch
/// in the same axis, and the leftmost wins.
pub(super) fn candidates(from: &[usize], held: Held, to: &[usize], baked: usize) -> Vec<Held> {
    let step = |shape: &[usize], axis: usize| -> Option<usize> {
        shape.get(axis + 1..)?.iter().try_fold(1usize, |n, &size| n.checked_mul(size))
    };
    let Some(stride) = step(from, held.axis).and_then(|n| n.checked_mul(held.inner)) else {
        return Vec::new();
    };
    let fits = |axis: usize| {
        let (below, size) = (step(to, axis)?, *to.get(axis)?);
        let inner = stride.checked_div(below).filter(|n| n.checked_mul(below) == Some(stride))?;
        let block = inner.checked_mul(baked)?;
        let outer = size.checked_div(block).filter(|n| *n > 0 && n * block == size)?;
        Some(Held { axis, outer, inner })
    };
    let mut found: Vec<Held> = (0..to.len()).filter_map(fits).collect();
    found.sort_by_key(|held| (held.axis + 1 == to.len() && to.len() > 1, held.outer != 1));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(axis: usize, outer: usize, inner: usize) -> Held {
        Held { axis, outer, inner }
    }

    fn first(from: &[usize], held: Held, to: &[usize], baked: usize) -> Option<Held> {
        candidates(from, held, to, baked).first().copied()
    }

    #[test]
    fn the_step_between_examples_finds_the_axis() {
        assert_eq!(first(&[2, 256, 6, 6], at(0, 1, 1), &[2, 9216], 2), Some(at(0, 1, 1)));
        // Windows are folded into the batch, and unfolded.
        assert_eq!(first(&[2, 8, 8, 7, 7, 96], at(0, 1, 1), &[128, 49, 96], 2), Some(at(0, 1, 64)));
        assert_eq!(
            first(&[128, 3, 49, 49], at(0, 1, 64), &[2, 64, 3, 49, 49], 2),
            Some(at(0, 1, 1))
        );
        // Tokens first: heads are folded into the batch, or the batch into the tokens.
        assert_eq!(first(&[197, 2, 768], at(1, 1, 1), &[197, 24, 64], 2), Some(at(1, 1, 12)));
        assert_eq!(first(&[197, 2, 768], at(1, 1, 1), &[394, 768], 2), Some(at(0, 197, 1)));
        // An axis that splits an example holds no batch.
        assert_eq!(first(&[2, 6], at(0, 1, 1), &[3, 4], 2), None);
    }

    #[test]
    fn one_example_goes_where_exporters_put_it() {
        let image = at(0, 1, 1);
        assert_eq!(first(&[1, 256, 6, 6], image, &[1, 9216], 1), Some(at(0, 1, 1)));
        assert_eq!(first(&[1, 8, 8, 7, 7, 96], image, &[64, 49, 96], 1), Some(at(0, 1, 64)));
        assert_eq!(first(&[197, 1, 768], at(1, 1, 1), &[197, 12, 64], 1), Some(at(1, 1, 12)));
        assert_eq!(first(&[197, 1, 768], at(1, 1, 1), &[197, 768], 1), Some(at(0, 197, 1)));
        assert_eq!(first(&[1, 768], image, &[1, 1, 768], 1), Some(at(0, 1, 1)));
        assert_eq!(first(&[1, 768], image, &[768], 1), Some(at(0, 1, 768)));
    }
}
