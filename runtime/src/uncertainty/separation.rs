//! How well a score tells two kinds of images apart.

/// The area under the receiver operating characteristic: the chance that the score of one
/// of `positives` is above that of one of `negatives`, a tie counting half (Mann and Whitney
/// 1947). `None` where either is empty or a score is no number.
pub fn auroc(positives: &[f64], negatives: &[f64]) -> Option<f64> {
    let mut scores: Vec<(f64, bool)> = positives.iter().map(|&score| (score, true)).collect();
    scores.extend(negatives.iter().map(|&score| (score, false)));
    if positives.is_empty() || negatives.is_empty() || scores.iter().any(|(s, _)| s.is_nan()) {
        return None;
    }
    scores.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (mut below, mut wins) = (0usize, 0.0);
    for equal in scores.chunk_by(|(a, _), (b, _)| a == b) {
        let above = equal.iter().filter(|(_, positive)| *positive).count();
        let beside = equal.len() - above;
        wins += above as f64 * (below as f64 + 0.5 * beside as f64);
        below += beside;
    }
    Some(wins / (positives.len() as f64 * negatives.len() as f64))
}
