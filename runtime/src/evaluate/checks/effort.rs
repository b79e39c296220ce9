//! Whether more effort of the attacker would have left less.

use super::{BUDGET, Check, Evidence, Row, TOLERANCE, judged, not_run, same_effort};
use crate::attack::Method;

pub(super) fn eot_sweep(evidence: &Evidence) -> Check {
    const NAME: &str = "more draws cost no more accuracy";
    if !evidence.random {
        return not_run(NAME, "the model has no noise, every draw is the same");
    }
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let mut sweep: Vec<&Row> = evidence
        .at(Method::Pgd)
        .filter(|row| row.restarts == 1 && !row.random_start && row.steps == reference.steps)
        .collect();
    sweep.sort_by_key(|row| row.draws);
    let [.., before, last] = sweep.as_slice() else { return not_run(NAME, BUDGET) };
    let list =
        |of: fn(&Row) -> String| sweep.iter().map(|row| of(row)).collect::<Vec<_>>().join(" / ");
    let (draws, accuracies) =
        (list(|row| row.draws.to_string()), list(|row| format!("{:.1}", row.accuracy)));
    let cost = before.accuracy - last.accuracy;
    let detail =
        format!("{accuracies} % at {draws} draws a step; the last step costs {cost:.1} points");
    judged(NAME, cost <= TOLERANCE, detail)
}

pub(super) fn more_steps(evidence: &Evidence) -> Check {
    const NAME: &str = "twice the steps change little";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let doubled = evidence.at(Method::Pgd).find(|row| {
        row.draws == reference.draws && row.restarts == 1 && row.steps == 2 * reference.steps
    });
    let Some(doubled) = doubled else { return not_run(NAME, BUDGET) };
    let cost = reference.accuracy - doubled.accuracy;
    let detail = format!(
        "{:.1} % after {} steps, {:.1} % after {}",
        reference.accuracy, reference.steps, doubled.accuracy, doubled.steps
    );
    judged(NAME, cost <= TOLERANCE, detail)
}

pub(super) fn many_steps(evidence: &Evidence) -> Check {
    const NAME: &str = "very many steps find no more";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let from_the_image =
        || evidence.at(Method::Pgd).filter(|row| row.restarts == 1 && !row.random_start);
    let longest = from_the_image().max_by_key(|row| row.steps);
    let Some(longest) = longest.filter(|row| row.steps >= 10 * reference.steps) else {
        return not_run(NAME, "not measured; --budget thorough does");
    };
    let shorter = from_the_image().filter(|row| row.steps < longest.steps);
    let least = shorter.map(|row| row.accuracy).fold(f64::INFINITY, f64::min);
    let detail = format!(
        "{:.1} % after {} steps of {}, {least:.1} % at least after fewer",
        longest.accuracy,
        longest.steps,
        if longest.draws == 1 { "one draw".to_owned() } else { format!("{} draws", longest.draws) }
    );
    judged(NAME, longest.accuracy >= least - TOLERANCE, detail)
}

pub(super) fn more_restarts(evidence: &Evidence) -> Check {
    const NAME: &str = "more restarts change little";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let again =
        evidence.at(Method::Pgd).find(|row| row.restarts > 1 && same_effort(row, reference));
    let Some(again) = again else { return not_run(NAME, BUDGET) };
    let cost = reference.accuracy - again.accuracy;
    let detail = format!(
        "{:.1} % once, {:.1} % with {} random starts",
        reference.accuracy, again.accuracy, again.restarts
    );
    judged(NAME, cost <= TOLERANCE, detail)
}

pub(super) fn radius_order(evidence: &Evidence) -> Check {
    const NAME: &str = "accuracy falls as the radius grows";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let like =
        |row: &&Row| row.method == Method::Pgd && row.restarts == 1 && same_effort(row, reference);
    let mut rows: Vec<(f64, f64)> =
        evidence.rows.iter().filter(like).map(|row| (row.eps, row.accuracy)).collect();
    rows.push((0.0, evidence.clean));
    rows.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    rows.dedup_by_key(|(eps, _)| *eps);
    if rows.len() < 3 {
        return not_run(NAME, "one radius only; give several to --eps, or --budget");
    }
    let falls = rows.windows(2).all(|pair| match pair {
        [(_, before), (_, after)] => *after <= before + TOLERANCE,
        _ => true,
    });
    let (_, least) =
        rows.iter().copied().fold((0.0, f64::INFINITY), |a, b| if b.1 < a.1 { b } else { a });
    let list = rows.iter().map(|(eps, accuracy)| format!("{accuracy:.1} % at {eps:.4}"));
    let detail = list.collect::<Vec<_>>().join(", ");
    judged(NAME, falls && (least < evidence.clean || evidence.clean <= evidence.chance), detail)
}
