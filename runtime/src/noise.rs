//! Counter-based random numbers: every number is a pure function of
//! (seed, step, tensor, element), so engines, thread counts, chunks and
//! restarts all see the same ones.
//!
//! The bits are Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011).

mod fill;

pub use fill::{fill_normal, fill_uniform, fill_weights};

/// Which stream of numbers: one for every seed, step and tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    philox: [u32; 2],
    step: u64,
}

impl Key {
    /// The stream of `tensor` (see [`hash_name`]) at `step` of a run with `seed`.
    /// Different tensors of one seed never share a stream.
    pub fn new(seed: u64, step: u64, tensor: u64) -> Key {
        let [low, high] = halves(mix(mix(seed) ^ tensor));
        Key { philox: [low, high], step }
    }

    /// Four independent 32-bit words for `item`, in any order of items.
    pub fn words(self, item: u64) -> [u32; 4] {
        let [c0, c1] = halves(item);
        let [c2, c3] = halves(self.step);
        philox([[c0], [c1], [c2], [c3]], self.philox).map(|[word]| word)
    }
}

/// A stable 64-bit hash of a tensor's name (FNV-1a), for [`Key::new`].
pub fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The numbers 0 .. `n` in an order fixed by `seed` and `epoch`, every order equally likely.
pub fn permutation(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    let key = Key::new(seed, epoch, hash_name("permutation"));
    let mut words = (0..).flat_map(|item| {
        let [a, b, c, d] = key.words(item).map(u64::from);
        [a << 32 | b, c << 32 | d]
    });
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, below(last as u64 + 1, &mut words) as usize);
    }
    order
}

/// An unbiased number below `bound` (Lemire, "Fast random integer generation in
/// an interval", 2019): words in the uneven rest are drawn again.
fn below(bound: u64, words: &mut impl Iterator<Item = u64>) -> u64 {
    let rest = bound.wrapping_neg() % bound;
    words
        .map(|word| u128::from(word) * u128::from(bound))
        .find(|product| *product as u64 >= rest)
        .map_or(0, |product| (product >> 64) as u64)
}

#[inline(always)]
fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// SplitMix64's step: a bijection that scatters neighbouring numbers.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Philox4x32-10 on `N` counters at once.
#[inline(always)]
fn philox<const N: usize>(mut counter: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    for round in 0..10u32 {
        let k0 = key[0].wrapping_add(round.wrapping_mul(0x9e37_79b9));
        let k1 = key[1].wrapping_add(round.wrapping_mul(0xbb67_ae85));
        let [a, b, c, d] = &mut counter;
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let [c0, c1, c2, c3] = [*a, *b, *c, *d];
            let [low0, high0] = halves(u64::from(c0) * 0xd251_1f53);
            let [low1, high1] = halves(u64::from(c2) * 0xcd9e_8d57);
            (*a, *b) = (high1 ^ c1 ^ k0, low1);
            (*c, *d) = (high0 ^ c3 ^ k1, low0);
        }
    }
    counter
}

#[cfg(test)]
mod tests;
