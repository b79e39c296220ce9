//! What must hold of attacked images, and of attacks whose outcome is known.

use super::{BUDGET, Check, Evidence, Probe, TOLERANCE, UNBOUNDED, judged, not_run};
use crate::attack::{Method, Norm};

pub(super) fn unbounded(evidence: &Evidence) -> Check {
    const NAME: &str = "no accuracy is left at radius 0.5";
    if evidence.norm != Norm::Linf {
        return not_run(NAME, "the attacks are under L2, where such a radius allows little");
    }
    let pgd = evidence.rows.iter().filter(|row| row.attack.spec.method() == Method::Pgd);
    let rows = pgd.filter(|row| row.attack.eps >= UNBOUNDED);
    let Some(row) = rows.min_by(|a, b| a.accuracy.total_cmp(&b.accuracy)) else {
        return not_run(NAME, BUDGET);
    };
    let detail = format!(
        "PGD leaves {:.1} %, a constant answer would be right for {:.1} %",
        row.accuracy, evidence.chance
    );
    judged(NAME, row.accuracy <= evidence.chance, detail)
}

pub(super) fn unmoved(evidence: &Evidence) -> Check {
    const NAME: &str = "the gradient is nowhere zero";
    let starts = |row: &&Probe| {
        matches!(row.attack.spec.method(), Method::Pgd | Method::Fgsm)
            && !row.attack.random_start
            && row.attack.eps > 0.0
    };
    let rows = evidence.rows.iter().filter(starts);
    let Some(row) = rows.max_by(|a, b| a.unmoved.total_cmp(&b.unmoved)) else {
        return not_run(NAME, "no gradient attack from the clean image was run");
    };
    let detail =
        format!("{} left {:.1} % of the images as they were", row.attack.attack, row.unmoved);
    judged(NAME, row.unmoved <= TOLERANCE, detail)
}

/// An assertion: an attack looks at its images itself, and one that is out of the ball ends the
/// evaluation. What is left to find here is an error of ours behind it, such as images of one
/// model that are turned wrongly into the form of another.
pub(super) fn perturbations(evidence: &Evidence) -> Check {
    const NAME: &str = "attacked images are in the ball and in [0, 1]";
    let Some(farthest) = evidence.farthest else { return not_run(NAME, "no attack was run") };
    let outside = evidence.outside;
    let detail = format!(
        "the farthest is at {farthest:.6} of its radius, {outside} are outside; an attack that \
         leaves the ball ends the evaluation"
    );
    judged(NAME, outside == 0, detail)
}

pub(super) fn fresh_draws(evidence: &Evidence) -> Check {
    const NAME: &str = "successes hold on fresh draws";
    if !evidence.random {
        return not_run(NAME, "the model has no noise");
    }
    let Some(repeated) = evidence.repeated else {
        return not_run(NAME, "no attack by gradients succeeded, or one seed only");
    };
    let detail = format!("{repeated:.1} % of them are misclassified again under another seed");
    // An image beside the decision boundary flips by chance alone.
    judged(NAME, repeated >= 90.0, detail)
}
