#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::fill::{CHUNK, LANES, TILE, cos_sin, exp, radius};
use super::*;

const COUNT: usize = 4_000_000;

fn normals(key: Key, count: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; count];
    fill_normal(key, &mut out);
    out
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / f64::from(count)
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    mean(a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)))
}

#[test]
fn philox_gives_the_known_answers_of_its_authors() {
    let answer =
        |counter: [u32; 4], key| philox(counter.map(|word| [word]), key).map(|[word]| word);
    assert_eq!(answer([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    assert_eq!(
        answer([u32::MAX; 4], [u32::MAX; 2]),
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
    );
    assert_eq!(
        answer([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
    );
}

#[test]
fn names_hash_as_fnv_1a() {
    assert_eq!(hash_name(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(hash_name("foobar"), 0x8594_4171_f739_67e8);
}

/// Elements `32 t + 8 j + lane` come from word `j` of counter `8 t + lane`.
#[test]
fn normals_are_box_muller_of_the_words_one_by_one() {
    let key = Key::new(3, u64::MAX - 5, hash_name("conv1.weight"));
    let count = 3 * CHUNK + 77;
    for (element, z) in normals(key, count).into_iter().enumerate() {
        let (tile, word, lane) = (element / TILE, element % TILE / LANES, element % LANES);
        let words = key.words((tile * LANES + lane) as u64);
        let u = f64::from(words[word & 2] >> 1 | 1) / 2f64.powi(31);
        let angle = words[word | 1];
        let turn = f64::from((angle << 2) as i32) / 2f64.powi(34) + f64::from(angle >> 30) / 4.0;
        let (sin, cos) = (std::f64::consts::TAU * turn).sin_cos();
        let radius = (-2.0 * u.ln()).sqrt();
        let expected = radius * if word & 1 == 0 { cos } else { sin };
        // An f32 holds u to 2^-25, which moves the radius by 2^-25 / (u radius).
        let tolerance = 2e-6 + 1e-7 / radius;
        assert!((f64::from(z) - expected).abs() < tolerance, "{element}: {z} for {expected}");
    }
}

/// A checkpoint made today must see the same noise when training goes on tomorrow.
#[test]
fn the_stream_is_frozen() {
    let bits = |values: &[f32]| values.iter().map(|z| z.to_bits()).collect::<Vec<_>>();
    let key = Key::new(1, 2, hash_name("weight"));
    assert_eq!(bits(&normals(key, 4)), FROZEN);
    assert_eq!(permutation(1, 2, 10), FROZEN_ORDER);
}

#[test]
fn extreme_words_give_finite_numbers() {
    for word in [0, 1, 2, 3, u32::MAX / 2, u32::MAX - 1, u32::MAX] {
        let [cos, sin] = cos_sin(word);
        assert!((0.0..6.6).contains(&radius(word)), "radius of {word}");
        assert!((cos * cos + sin * sin - 1.0).abs() < 1e-6, "angle of {word}");
    }
}

#[test]
fn neither_threads_nor_lengths_change_a_number() {
    let key = Key::new(1, 2, 3);
    let all = normals(key, 5 * CHUNK + 13);
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        for count in [0, 1, LANES + 1, TILE, TILE + 1, CHUNK - 1, CHUNK + 1, 5 * CHUNK + 13] {
            assert!(pool.install(|| normals(key, count)) == all[..count], "{threads}, {count}");
        }
    }
}

/// Tolerances are five standard errors.
#[test]
fn moments_and_tails_are_those_of_the_normal_distribution() {
    let z = normals(Key::new(7, 0, hash_name("w")), COUNT);
    let moment = |power| mean(z.iter().map(|&z| f64::from(z).powi(power)));
    let error = |variance: f64| 5.0 * (variance / COUNT as f64).sqrt();
    assert!(moment(1).abs() < error(1.0), "mean {}", moment(1));
    assert!((moment(2) - 1.0).abs() < error(2.0), "variance {}", moment(2));
    assert!(moment(3).abs() < error(15.0), "skew {}", moment(3));
    assert!((moment(4) - 3.0).abs() < error(96.0), "kurtosis {}", moment(4));
    for (bound, tail) in
        [(1.0, 0.317_310_5), (2.0, 0.045_500_26), (3.0, 2.699_796e-3), (4.0, 6.334e-5)]
    {
        let found = mean(z.iter().map(|z| f64::from(u8::from(z.abs() > bound))));
        assert!((found - tail).abs() < error(tail), "beyond {bound}: {found}, not {tail}");
    }
}

#[test]
fn neighbouring_elements_steps_tensors_and_seeds_do_not_correlate() {
    let count = COUNT / 4;
    let stream = |seed, step, tensor| normals(Key::new(seed, step, tensor), count);
    let z = stream(1, 1, 1);
    let bound = 5.0 / (count as f64).sqrt();
    for lag in [1, 2, LANES, 2 * LANES, TILE, CHUNK] {
        assert!(correlation(&z, &z[lag..]).abs() < bound, "lag {lag}");
        let squares: Vec<f32> = z.iter().map(|z| (z * z - 1.0) / 2f32.sqrt()).collect();
        assert!(correlation(&squares, &squares[lag..]).abs() < bound, "squares at lag {lag}");
    }
    for (name, other) in [
        ("step", stream(1, 2, 1)),
        ("far step", stream(1, 1 + (1 << 32), 1)),
        ("tensor", stream(1, 1, 2)),
        ("seed", stream(2, 1, 1)),
    ] {
        assert!(correlation(&z, &other).abs() < bound, "another {name}");
    }
    let mut uniform = vec![0.0; count];
    fill_uniform(Key::new(1, 1, 1), &mut uniform);
    assert!(correlation(&z, &uniform).abs() < bound, "uniform numbers of the same key");
}

#[test]
fn uniform_numbers_fill_their_interval() {
    let mut u = vec![0.0; COUNT];
    fill_uniform(Key::new(9, 9, 9), &mut u);
    assert!(u.iter().all(|u| (-1.0..1.0).contains(u)));
    let error = 5.0 / (COUNT as f64).sqrt();
    let mean_square = mean(u.iter().map(|&u| f64::from(u) * f64::from(u)));
    assert!(mean(u.iter().map(|&u| f64::from(u))).abs() < error);
    assert!((mean_square - 1.0 / 3.0).abs() < error);
}

#[test]
fn permutations_hold_every_number_once_and_change_with_the_epoch() {
    for n in [0, 1, 2, 1000] {
        let mut order = permutation(5, 1, n);
        order.sort_unstable();
        assert!(order.into_iter().eq(0..n));
    }
    assert_ne!(permutation(5, 1, 100), permutation(5, 2, 100));
    assert_ne!(permutation(5, 1, 100), permutation(6, 1, 100));
}

/// Pearson's chi-square over the 24 orders of four; 23 degrees of freedom exceed 58 once in 10^4.
#[test]
fn every_order_is_equally_likely() {
    let mut counts = std::collections::BTreeMap::new();
    let trials = 24_000;
    for epoch in 0..trials {
        *counts.entry(permutation(11, epoch, 4)).or_insert(0.0) += 1.0;
    }
    let expected = trials as f64 / 24.0;
    let chi2: f64 = counts.values().map(|n: &f64| (n - expected).powi(2) / expected).sum();
    assert_eq!(counts.len(), 24);
    assert!(chi2 < 58.0, "chi-square {chi2}");
}

const FROZEN: [u32; 4] = [0xbf88_c7a5, 0x4008_e5d8, 0xbf8a_01d3, 0xbedf_7f10];
const FROZEN_ORDER: [usize; 10] = [0, 7, 9, 6, 4, 2, 5, 1, 8, 3];

#[test]
fn weights_are_mean_and_deviation_with_the_same_normals() {
    let (key, count) = (Key::new(9, 1, hash_name("w")), CHUNK + 77);
    let mean: Vec<f32> = (0..count).map(|i| (i % 13) as f32 - 6.0).collect();
    let log_std: Vec<f32> = (0..count).map(|i| -((i % 90) as f32) / 10.0).collect();
    let mut found = vec![f32::NAN; count];
    fill_weights(key, &mean, &log_std, &mut found);
    for (i, z) in normals(key, count).into_iter().enumerate() {
        let expected = f64::from(mean[i]) + f64::from(log_std[i]).exp() * f64::from(z);
        assert!((f64::from(found[i]) - expected).abs() < 1e-6 * expected.abs().max(1.0), "{i}");
    }
}

#[test]
fn the_exponential_is_right_to_two_units_in_the_last_place() {
    for i in -8_700..8_700 {
        let x = i as f32 / 100.0;
        let expected = f64::from(x).exp();
        assert!((f64::from(exp(x)) / expected - 1.0).abs() < 2.4e-7, "exp({x}) = {}", exp(x));
    }
    assert!(exp(f32::NAN).is_nan());
    assert!(exp(-1e9) > 0.0 && exp(1e9).is_finite());
}
