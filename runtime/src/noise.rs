//! Counter-based random numbers: every number is a pure function of
//! (seed, step, tensor, element), so engines, thread counts, chunks and
//! restarts all see the same ones.
//!
//! The bits are Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy
//! as 1, 2, 3", SC 2011). The loops run over `WIDE` counters side by side so
//! that the compiler vectorises them, and use only integer operations, `+`, `-`,
//! `*` and `sqrt`, which IEEE 754 fixes to the bit on every processor.

use rayon::prelude::*;

/// Counters of one tile.
const LANES: usize = 8;
/// Elements of one tile: four words of each of its counters.
const TILE: usize = 4 * LANES;
/// Counters worked on side by side: those of two tiles fill the widest registers.
const WIDE: usize = 2 * LANES;
/// Elements handed to a thread at a time, a multiple of two tiles.
const CHUNK: usize = 512 * TILE;
/// Set in the counter of uniform numbers, so that they share no bits with normal ones.
const UNIFORM: u64 = 1 << 63;

type Lanes<T> = [T; WIDE];

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

    /// The words of two tiles, one array for each of a counter's four words.
    #[inline(always)]
    fn pair(self, tile: u64, stream: u64) -> [Lanes<u32>; 4] {
        let [low, c1] = halves((tile * LANES as u64) | stream);
        let [c2, c3] = halves(self.step);
        // The first tile of a pair has an even number: its counters end in four zeros.
        let mut c0 = [low; WIDE];
        for (c0, lane) in c0.iter_mut().zip(0..) {
            *c0 |= lane;
        }
        philox([c0, [c1; WIDE], [c2; WIDE], [c3; WIDE]], self.philox)
    }
}

/// A stable 64-bit hash of a tensor's name (FNV-1a), for [`Key::new`].
pub fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Fills `out` with N(0, 1), in parallel.
pub fn fill_normal(key: Key, out: &mut [f32]) {
    fill(key, out, Law::Normal);
}

/// Fills `out` with numbers uniform in [-1, 1), in parallel.
pub fn fill_uniform(key: Key, out: &mut [f32]) {
    fill(key, out, Law::Uniform);
}

#[derive(Clone, Copy)]
enum Law {
    Normal,
    Uniform,
}

fn fill(key: Key, out: &mut [f32], law: Law) {
    let draw = widest();
    out.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| draw(key, law, chunk, out));
}

type Draw = fn(Key, Law, usize, &mut [f32]);

/// The same operations, compiled for the widest registers that the processor has: the bits
/// are the same on all of them.
fn widest() -> Draw {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
            return draw_avx512;
        }
        if is_x86_feature_detected!("avx2") {
            return draw_avx2;
        }
    }
    draw
}

#[cfg(target_arch = "x86_64")]
fn draw_avx512(key: Key, law: Law, chunk: usize, out: &mut [f32]) {
    #[target_feature(enable = "avx512f,avx512dq")]
    fn compiled(key: Key, law: Law, chunk: usize, out: &mut [f32]) {
        draw(key, law, chunk, out);
    }
    // SAFETY: `widest` alone hands this function out, once it has seen both features.
    #[allow(unsafe_code)]
    unsafe {
        compiled(key, law, chunk, out);
    }
}

#[cfg(target_arch = "x86_64")]
fn draw_avx2(key: Key, law: Law, chunk: usize, out: &mut [f32]) {
    #[target_feature(enable = "avx2")]
    fn compiled(key: Key, law: Law, chunk: usize, out: &mut [f32]) {
        draw(key, law, chunk, out);
    }
    // SAFETY: `widest` alone hands this function out, once it has seen the feature.
    #[allow(unsafe_code)]
    unsafe {
        compiled(key, law, chunk, out);
    }
}

/// One chunk.
#[inline(always)]
fn draw(key: Key, law: Law, chunk: usize, out: &mut [f32]) {
    match law {
        Law::Normal => {
            for (tile, out) in tiles(chunk).zip(out.chunks_mut(2 * TILE)) {
                let [a, b, c, d] = key.pair(tile, 0);
                let [first, second] = box_muller(a, b);
                let [third, fourth] = box_muller(c, d);
                store([first, second, third, fourth], out);
            }
        }
        Law::Uniform => {
            for (tile, out) in tiles(chunk).zip(out.chunks_mut(2 * TILE)) {
                let [a, b, c, d] = key.pair(tile, UNIFORM);
                store([unit(a), unit(b), unit(c), unit(d)], out);
            }
        }
    }
}

/// 24 bits are exact in an f32, so that 1.0 cannot be reached by rounding.
#[inline(always)]
fn unit(words: Lanes<u32>) -> Lanes<f32> {
    let mut numbers = [0.0; WIDE];
    for lane in 0..WIDE {
        numbers[lane] = ((words[lane] as i32) >> 8) as f32 * (1.0 / 8_388_608.0);
    }
    numbers
}

/// The first tile of every pair of a chunk.
#[inline(always)]
fn tiles(chunk: usize) -> impl Iterator<Item = u64> {
    ((chunk * (CHUNK / TILE)) as u64..).step_by(2)
}

/// Two tiles, one behind the other; the last of a tensor may have less room.
#[inline(always)]
fn store(words: [Lanes<f32>; 4], out: &mut [f32]) {
    let mut both = [0.0; 2 * TILE];
    for (word, numbers) in words.iter().enumerate() {
        let (first, second) = numbers.split_at(LANES);
        let at = word * LANES;
        both[at..at + LANES].copy_from_slice(first);
        both[TILE + at..TILE + at + LANES].copy_from_slice(second);
    }
    match <&mut [f32; 2 * TILE]>::try_from(&mut *out) {
        Ok(out) => *out = both,
        Err(_) => out.copy_from_slice(&both[..out.len()]),
    }
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

/// Box-Muller on pairs of words.
#[inline(always)]
fn box_muller(a: Lanes<u32>, b: Lanes<u32>) -> [Lanes<f32>; 2] {
    let mut out = [[0.0; WIDE]; 2];
    for i in 0..WIDE {
        let radius = radius(a[i]);
        let [cos, sin] = cos_sin(b[i]);
        out[0][i] = radius * cos;
        out[1][i] = radius * sin;
    }
    out
}

/// `sqrt(-2 ln u)` for u = (word / 2 | 1) / 2^31, the middle of one of 2^30 cells of (0, 1).
///
/// The logarithm is Cephes' `logf`: u = m 2^e with m in [sqrt(1/2), sqrt(2)).
#[inline(always)]
fn radius(word: u32) -> f32 {
    const SQRT_HALF: i32 = 0x3f35_04f3;
    let bits = (((word >> 1 | 1) as i32) as f32 * (1.0 / 2_147_483_648.0)).to_bits() as i32;
    let exponent = (bits - SQRT_HALF) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    let f2 = f * f;
    let mut p = 7.037_683_6e-2;
    p = p * f - 1.151_461e-1;
    p = p * f + 1.167_699_9e-1;
    p = p * f - 1.242_014_1e-1;
    p = p * f + 1.424_932_3e-1;
    p = p * f - 1.666_805_7e-1;
    p = p * f + 2.000_071_5e-1;
    p = p * f - 2.499_999_4e-1;
    p = p * f + 3.333_333e-1;
    let log = exponent as f32 * std::f32::consts::LN_2 + (f + (f2 * f * p - 0.5 * f2));
    (-2.0 * log).sqrt()
}

/// Cosine and sine of `2 pi word / 2^32`, turned by a fixed eighth of a circle: the
/// two upper bits choose the quarter, the others an angle in [-pi/4, pi/4) (Cephes' `sinf`, `cosf`).
#[inline(always)]
fn cos_sin(word: u32) -> [f32; 2] {
    let x = (word << 2) as i32 as f32 * (std::f32::consts::FRAC_PI_4 / 2_147_483_648.0);
    let x2 = x * x;
    let sin = x + x * x2 * ((-1.951_529_6e-4 * x2 + 8.332_161e-3) * x2 - 1.666_665_5e-1);
    let cos =
        1.0 - 0.5 * x2 + x2 * x2 * ((2.443_315_7e-5 * x2 - 1.388_731_6e-3) * x2 + 4.166_664_6e-2);
    let swap = word & 0x4000_0000 != 0;
    let sign = word & 0x8000_0000;
    let (near, far) = if swap { (-sin, cos) } else { (cos, sin) };
    [f32::from_bits(near.to_bits() ^ sign), f32::from_bits(far.to_bits() ^ sign)]
}

#[cfg(test)]
mod tests;
