//! Tensors of random numbers, and of weights that are drawn with them.
//!
//! The loops run over [`WIDE`] counters side by side so that the compiler vectorises them,
//! and use only integer operations, `+`, `-`, `*` and `sqrt`, which IEEE 754 fixes to the bit
//! on every processor.

use rayon::prelude::*;

use super::{Key, halves, philox};

/// Counters of one tile.
pub(super) const LANES: usize = 8;
/// Elements of one tile: four words of each of its counters.
pub(super) const TILE: usize = 4 * LANES;
/// Counters worked on side by side: those of two tiles fill the widest registers.
const WIDE: usize = 2 * LANES;
/// Elements handed to a thread at a time, a multiple of two tiles.
pub(super) const CHUNK: usize = 512 * TILE;
/// Set in the counter of uniform numbers, so that they share no bits with normal ones.
const UNIFORM: u64 = 1 << 63;

type Lanes<T> = [T; WIDE];

impl Key {
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

/// Fills `out` with N(0, 1), in parallel.
pub fn fill_normal(key: Key, out: &mut [f32]) {
    let draw = widest();
    let chunks = out.par_chunks_mut(CHUNK).enumerate();
    chunks.for_each(|(chunk, out)| draw(key, Law::Normal, chunk, out));
}

/// Fills `out` with numbers uniform in [-1, 1), in parallel.
pub fn fill_uniform(key: Key, out: &mut [f32]) {
    let draw = widest();
    let chunks = out.par_chunks_mut(CHUNK).enumerate();
    chunks.for_each(|(chunk, out)| draw(key, Law::Uniform, chunk, out));
}

/// Fills `out` with weights `mean + exp(log_std) * z`, in parallel, where z are the numbers of
/// [`fill_normal`]: one pass over memory in place of four. All three are of one length; what
/// is beyond the shortest stays as it is.
pub fn fill_weights(key: Key, mean: &[f32], log_std: &[f32], out: &mut [f32]) {
    let draw = widest();
    let posterior = mean.par_chunks(CHUNK).zip(log_std.par_chunks(CHUNK));
    let chunks = out.par_chunks_mut(CHUNK).zip(posterior).enumerate();
    chunks.for_each(|(chunk, (out, (mean, log_std)))| {
        draw(key, Law::Weights { mean, log_std }, chunk, out);
    });
}

/// What the numbers of a chunk are.
#[derive(Clone, Copy)]
enum Law<'a> {
    Normal,
    Uniform,
    Weights { mean: &'a [f32], log_std: &'a [f32] },
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
                store(&normals(key, tile), out);
            }
        }
        Law::Uniform => {
            for (tile, out) in tiles(chunk).zip(out.chunks_mut(2 * TILE)) {
                let [a, b, c, d] = key.pair(tile, UNIFORM);
                store(&in_order([unit(a), unit(b), unit(c), unit(d)]), out);
            }
        }
        Law::Weights { mean, log_std } => {
            let posterior = mean.chunks(2 * TILE).zip(log_std.chunks(2 * TILE));
            for (tile, (out, (mean, log_std))) in
                tiles(chunk).zip(out.chunks_mut(2 * TILE).zip(posterior))
            {
                weights(&normals(key, tile), mean, log_std, out);
            }
        }
    }
}

/// The numbers of two tiles.
#[inline(always)]
fn normals(key: Key, tile: u64) -> [f32; 2 * TILE] {
    let [a, b, c, d] = key.pair(tile, 0);
    let [first, second] = box_muller(a, b);
    let [third, fourth] = box_muller(c, d);
    in_order([first, second, third, fourth])
}

/// `mean + exp(log_std) * normal` for two tiles, or the rest of a tensor.
#[inline(always)]
fn weights(normals: &[f32; 2 * TILE], mean: &[f32], log_std: &[f32], out: &mut [f32]) {
    type Whole = [f32; 2 * TILE];
    if let (Ok(mean), Ok(log_std), Ok(out)) =
        (<&Whole>::try_from(mean), <&Whole>::try_from(log_std), <&mut Whole>::try_from(&mut *out))
    {
        for (((out, z), mean), s) in out.iter_mut().zip(normals).zip(mean).zip(log_std) {
            *out = mean + exp(*s) * z;
        }
        return;
    }
    for (((out, z), mean), s) in out.iter_mut().zip(normals).zip(mean).zip(log_std) {
        *out = mean + exp(*s) * z;
    }
}

/// Cephes' `expf`: `e^x = 2^k e^r` with r in [-ln(2) / 2, ln(2) / 2]. Held within what a
/// float32 has as 2^k: log-stds are far inside.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // NaN stays NaN.
    let x = if x > 88.0 { 88.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = x - k * 0.693_359_4 + k * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
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

/// Two tiles, one behind the other.
#[inline(always)]
fn in_order(words: [Lanes<f32>; 4]) -> [f32; 2 * TILE] {
    let mut both = [0.0; 2 * TILE];
    for (word, numbers) in words.iter().enumerate() {
        let (first, second) = numbers.split_at(LANES);
        let at = word * LANES;
        both[at..at + LANES].copy_from_slice(first);
        both[TILE + at..TILE + at + LANES].copy_from_slice(second);
    }
    both
}

/// The last tiles of a tensor may have less room.
#[inline(always)]
fn store(both: &[f32; 2 * TILE], out: &mut [f32]) {
    match <&mut [f32; 2 * TILE]>::try_from(&mut *out) {
        Ok(out) => *out = *both,
        Err(_) => out.copy_from_slice(&both[..out.len()]),
    }
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
pub(super) fn radius(word: u32) -> f32 {
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
pub(super) fn cos_sin(word: u32) -> [f32; 2] {
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
