//! Whether more effort of the attacker would have left less.

use super::{BUDGET, Check, Evidence, Probe, TOLERANCE, is_alike, judged, not_run, same_effort};

pub(super) fn eot_sweep(evidence: &Evidence) -> Check {
    const NAME: &str = "more draws cost no more accuracy";
    if !evidence.random {
        return not_run(NAME, "the model has no noise, every draw is the same");
    }
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let steps = reference.attack.steps;
    let mut sweep: Vec<&Probe> =
        evidence.like(reference).filter(|row| row.attack.steps == steps).collect();
    sweep.sort_by_key(|row| row.attack.draws);
    // The same attack may have been asked for twice.
    sweep.dedup_by_key(|row| row.attack.draws);
    let [.., before, last] = sweep.as_slice() else { return not_run(NAME, BUDGET) };
    let list =
        |of: fn(&Probe) -> String| sweep.iter().map(|row| of(row)).collect::<Vec<_>>().join(" / ");
    let (draws, accuracies) =
        (list(|row| row.attack.draws.to_string()), list(|row| format!("{:.1}", row.accuracy)));
    let cost = before.accuracy - last.accuracy;
    let detail =
        format!("{accuracies} % at {draws} draws a step; the last step costs {cost:.1} points");
    judged(NAME, cost <= TOLERANCE, detail)
}

pub(super) fn more_steps(evidence: &Evidence) -> Check {
    const NAME: &str = "twice the steps change little";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let Some(doubled) = evidence.doubled(reference) else { return not_run(NAME, BUDGET) };
    let cost = reference.accuracy - doubled.accuracy;
    let detail = format!(
        "{:.1} % after {} steps, {:.1} % after {}",
        reference.accuracy, reference.attack.steps, doubled.accuracy, doubled.attack.steps
    );
    judged(NAME, cost <= TOLERANCE, detail)
}

pub(super) fn many_steps(evidence: &Evidence) -> Check {
    const NAME: &str = "very many steps find no more";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let longest = evidence.like(reference).max_by_key(|row| row.attack.steps);
    let Some(longest) = longest.filter(|row| row.attack.steps >= 10 * reference.attack.steps)
    else {
        return not_run(NAME, "not measured; --budget thorough does");
    };
    let (steps, draws) = (longest.attack.steps, longest.attack.draws);
    let shorter = evidence.like(reference).filter(|row| row.attack.steps < steps);
    let least = shorter.map(|row| row.accuracy).fold(f64::INFINITY, f64::min);
    let detail = format!(
        "{:.1} % after {steps} steps of {}, {least:.1} % at least after fewer",
        longest.accuracy,
        if draws == 1 { "one draw".to_owned() } else { format!("{draws} draws") }
    );
    judged(NAME, longest.accuracy >= least - TOLERANCE, detail)
}

pub(super) fn more_restarts(evidence: &Evidence) -> Check {
    const NAME: &str = "more restarts change little";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let Some(again) = evidence.again(reference) else { return not_run(NAME, BUDGET) };
    let cost = reference.accuracy - again.accuracy;
    let detail = format!(
        "{:.1} % once, {:.1} % with {} random starts",
        reference.accuracy, again.accuracy, again.attack.restarts
    );
    judged(NAME, cost <= TOLERANCE, detail)
}

pub(super) fn radius_order(evidence: &Evidence) -> Check {
    const NAME: &str = "accuracy falls as the radius grows";
    let Some(reference) = evidence.reference() else { return not_run(NAME, BUDGET) };
    let same = |row: &&Probe| {
        row.attack.is_plain() && is_alike(row, reference) && same_effort(row, reference)
    };
    let mut rows: Vec<(f64, f64)> =
        evidence.rows.iter().filter(same).map(|row| (row.attack.eps, row.accuracy)).collect();
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
