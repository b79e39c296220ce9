//! Every figure against its closed form.
#![allow(clippy::unwrap_used)]

use super::*;

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

/// What draws `[S][N * classes]` say of images of these labels.
fn judged(draws: &[&[f32]], classes: usize, labels: &[i64]) -> Vec<Judged> {
    let mut tally = Tally::default();
    draws.iter().for_each(|draw| tally.add(draw, classes));
    assert_eq!((tally.draws(), tally.classes()), (draws.len() as u64, classes));
    tally.judge(labels)
}

#[test]
fn a_model_that_knows_nothing_scores_as_a_fair_die() {
    for classes in [2usize, 4, 10] {
        let k = classes as f64;
        let uniform = vec![1.0 / classes as f32; 3 * classes];
        let judged = judged(&[&uniform, &uniform], classes, &[0, 0, 1]);
        let figures = Uncertainty::of(&judged).unwrap();
        assert_near(figures.accuracy, 200.0 / 3.0);
        assert_near(figures.nll, k.ln());
        assert_near(figures.brier, 1.0 - 1.0 / k);
        assert_near(figures.ece, 2.0 / 3.0 - 1.0 / k);
        assert_near(figures.predictive_entropy, k.ln());
        assert_near(figures.expected_entropy, k.ln());
        assert_near(figures.mutual_information, 0.0);
        assert_near(figures.disagreement, 0.0);
    }
}

#[test]
fn sure_draws_that_contradict_one_another_are_all_mutual_information() {
    let draws: [&[f32]; 4] = [&[1.0, 0.0], &[0.0, 1.0], &[1.0, 0.0], &[0.0, 1.0]];
    let judged = judged(&draws, 2, &[1]);
    let [one] = judged[..] else { panic!("one image") };
    assert_eq!((one.class, one.is_right()), (0, false));
    assert_near(one.predictive_entropy, 2f64.ln());
    assert_near(one.expected_entropy, 0.0);
    assert_near(one.mutual_information(), 2f64.ln());
    // Of the 6 pairs of draws, 4 differ.
    assert_near(one.disagreement, 4.0 / 6.0);
    assert_near(one.single, 0.5);
    assert_near(one.brier, 0.5);
    assert_near(one.nll(), 2f64.ln());
}

#[test]
fn the_majority_may_choose_another_class_than_the_mean() {
    let draws: [&[f32]; 3] = [&[0.0, 1.0, 0.0], &[0.6, 0.4, 0.0], &[0.6, 0.4, 0.0]];
    let [one] = judged(&draws, 3, &[0])[..] else { panic!("one image") };
    assert_eq!((one.class, one.vote), (1, 0));
    let figures = Uncertainty::of(&[one]).unwrap();
    assert_eq!((figures.accuracy, figures.vote_accuracy), (0.0, 100.0));
    // Of equal votes the mean decides, and a class without a vote never wins.
    let draws: [&[f32]; 2] = [&[0.55, 0.0, 0.45], &[0.0, 0.51, 0.49]];
    let [one] = judged(&draws, 3, &[0])[..] else { panic!("one image") };
    assert_eq!((one.class, one.vote), (2, 0));
}

#[test]
fn a_label_of_probability_zero_costs_a_finite_loss() {
    let judged = judged(&[&[1.0, 0.0]], 2, &[1]);
    assert_near(judged[0].nll(), -f64::EPSILON.ln());
    assert_near(judged[0].brier, 2.0);
    assert_near(judged[0].disagreement, 0.0);
}

#[test]
fn the_calibration_error_is_the_weighted_gap_of_the_bins() {
    // Two bins: confidence 0.9, half of four right; confidence 0.6, the only one right.
    let probabilities = [0.9f32, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.6, 0.4];
    let judged = judged(&[&probabilities], 2, &[0, 0, 1, 1, 0]);
    assert_near(Uncertainty::of(&judged).unwrap().ece, (4.0 * 0.4 + 0.4) / 5.0);
    let bins = reliability(&judged);
    assert_eq!(bins.len(), BINS);
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), 5);
    let full = bins.iter().find(|bin| bin.count == 4).unwrap();
    assert!(full.low < 0.9 && 0.9 <= full.high);
    assert_near(full.confidence, 0.9);
    assert_near(full.accuracy, 0.5);
    assert_eq!(bins.iter().filter(|bin| bin.count == 0 && bin.confidence == 0.0).count(), 13);
}

#[test]
fn certainty_falls_into_the_last_bin_and_nothing_has_no_figures() {
    let judged = judged(&[&[1.0, 0.0]], 2, &[0]);
    let figures = Uncertainty::of(&judged).unwrap();
    assert_eq!((figures.ece, figures.nll, figures.brier, figures.accuracy), (0.0, 0.0, 0.0, 100.0));
    assert_eq!(reliability(&judged)[BINS - 1].count, 1);
    assert_eq!(Uncertainty::of(&[]), None);
}

#[test]
fn the_area_is_the_chance_to_order_a_pair() {
    assert_near(auroc(&[2.0, 3.0], &[0.0, 1.0]).unwrap(), 1.0);
    assert_near(auroc(&[0.0], &[1.0, 2.0]).unwrap(), 0.0);
    assert_near(auroc(&[1.0, 1.0], &[1.0]).unwrap(), 0.5);
    // Of 6 pairs, 4 are in order and one is a tie.
    assert_near(auroc(&[1.0, 3.0, 4.0], &[1.0, 3.5]).unwrap(), 3.5 / 6.0);
    // Two shifted uniform grids: 1 - (1 - s)^2 / 2 in the limit.
    let grid = |from: f64| (0..2000).map(|i| from + f64::from(i) / 2000.0).collect::<Vec<f64>>();
    let found = auroc(&grid(0.300_001), &grid(0.0)).unwrap();
    assert!((found - (1.0 - 0.7f64.powi(2) / 2.0)).abs() < 1e-3, "{found}");
    assert_eq!((auroc(&[], &[1.0]), auroc(&[f64::NAN], &[1.0])), (None, None));
}

#[test]
fn intervals_are_wilson_s() {
    // Of 8 in 10: statsmodels' proportion_confint(8, 10, method="wilson").
    let [low, high] = wilson(8, 10);
    assert!((low - 49.016_247_153_664_18).abs() < 1e-6, "{low}");
    assert!((high - 94.331_784_854_562_47).abs() < 1e-6, "{high}");
    // Of 0 in n the bounds are 0 and z^2 / (n + z^2).
    let z2 = 1.959_963_984_540_054f64.powi(2);
    let [low, high] = wilson(0, 100);
    assert_near(low, 0.0);
    assert_near(high, 100.0 * z2 / (100.0 + z2));
    assert_eq!(wilson(0, 0), [0.0, 100.0]);
}

#[test]
fn a_spread_is_of_two_at_least() {
    let spread = Spread::of(&[50.0, 52.0, 54.0]).unwrap();
    assert_eq!(
        (spread.seeds, spread.mean, spread.std, spread.min, spread.max),
        (3, 52.0, 2.0, 50.0, 54.0)
    );
    assert_eq!(Spread::of(&[50.0]), None);
}

/// What has no entropy or no predictions is 0, and printed so.
#[test]
fn nothing_is_not_less_than_nothing() {
    let sure = judged(&[&[1.0, 0.0]], 2, &[0]);
    let figures = Uncertainty::of(&sure).unwrap();
    let Uncertainty { predictive_entropy, expected_entropy, mutual_information, .. } = figures;
    let empty = reliability(&sure)[0];
    for zero in [
        predictive_entropy,
        expected_entropy,
        mutual_information,
        empty.confidence,
        empty.accuracy,
        figures.nll,
    ] {
        assert_eq!(zero.to_string(), "0");
    }
}
