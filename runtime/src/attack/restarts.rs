//! The strongest of several attacks on each image, and the check that it is allowed.

use graphs::{Tensor, names};

use super::queries::Queries;
use super::spec::Plan;
use super::{AttackSpec, Ball};
use crate::draws::Draws;
use crate::network::Running;
use crate::noise::Key;
use crate::target::Target;
use crate::{Error, Result};

/// One attack on one image of a batch.
#[derive(Clone, Copy)]
struct Try {
    row: usize,
    start: u64,
}

/// The images `[N, ...]` after the attack `spec` at radius `eps`: of several starts, for
/// each image the one with the greatest margin, averaged over as many draws of the
/// weights as the attack itself takes. One lucky draw is no success, so the caller judges
/// them on draws of its own. Where the network that is attacked is the one that is
/// judged and has no noise, an image that is misclassified is not tried again, and the tries
/// of the others share their runs.
///
/// # Errors
/// When a program cannot be compiled or run, or an attacked image is not in the ball.
pub(crate) fn strongest(
    network: &mut Running,
    spec: &AttackSpec,
    eps: f64,
    target: &Target,
    draws: Draws,
) -> Result<Tensor> {
    let draws = &mut draws.of(spec.kind());
    let (certain, size, count) =
        (!network.random && spec.from().is_none(), target.size(), target.len());
    let clean = target.clean.values::<f32>()?;
    let mut queries = Queries { network, draws, average: spec.draws() };
    let goals = likeliest(&mut queries, spec, target)?;
    let aims = goals.iter().map(Vec::len).max().unwrap_or(0).max(1) as u64;
    let starts = spec.restarts() * aims;
    let mut best = clean.to_vec();
    let mut margins = vec![f64::NEG_INFINITY; count];
    let mut tries = (0..starts).flat_map(|start| (0..count).map(move |row| Try { row, start }));
    loop {
        let open = |one: &Try| !(certain && margins.get(one.row).is_some_and(|m| *m > 0.0));
        let round: Vec<Try> = tries.by_ref().filter(open).take(count).collect();
        if round.is_empty() {
            return Ok(Tensor::new(target.clean.shape(), best)?);
        }
        let rows: Vec<usize> = round.iter().map(|one| one.row).collect();
        let part = target.rows(&rows)?;
        // An image that has fewer classes than others is attacked towards them again.
        let goal = |one: &Try| {
            goals.get(one.row)?.iter().cycle().nth((one.start % aims) as usize).copied()
        };
        let goals: Vec<i64> = round.iter().filter_map(goal).collect();
        let numbers: Vec<u64> = round.iter().map(|one| one.start).collect();
        let images = attack(&mut queries, spec, eps, &part, &numbers, &goals)?;
        let ball = Ball { norm: spec.norm(), eps };
        ball.check_images(&images, &part.clean.values::<f32>()?, size)?;
        let found = match starts {
            1 => vec![0.0; round.len()],
            _ => queries.margins(&part, &images)?,
        };
        for ((row, image), margin) in rows.into_iter().zip(images.chunks_exact(size)).zip(found) {
            let Some(kept) = margins.get_mut(row).filter(|kept| margin > **kept) else { continue };
            *kept = margin;
            if let Some(best) = best.get_mut(row * size..(row + 1) * size) {
                best.copy_from_slice(image);
            }
        }
    }
}

/// The images of `target` after one attack, start number `starts` of each image.
fn attack(
    queries: &mut Queries,
    spec: &AttackSpec,
    eps: f64,
    target: &Target,
    starts: &[u64],
    goals: &[i64],
) -> Result<Vec<f32>> {
    let (ball, clean) = (Ball { norm: spec.norm(), eps }, target.clean.values::<f32>()?);
    let lots = target.indices.iter().zip(starts);
    let keys: Vec<Key> = lots.map(|(&index, &start)| queries.draws.lot(index, start)).collect();
    let images = match spec.random_start() {
        true => {
            let rows = clean.chunks_exact(target.size()).zip(&keys);
            rows.flat_map(|(clean, &key)| ball.random(key, clean)).collect()
        }
        false => clean.into_owned(),
    };
    match spec.plan(eps) {
        Plan::Program(pgd) => {
            let Queries { network, draws, .. } = queries;
            let size = network.size(target.len());
            let rows: Vec<usize> = (0..target.len()).cycle().take(size).collect();
            let (padded, start) = (target.rows(&rows)?, Tensor::new(target.clean.shape(), images)?);
            let start = crate::network::padded(&start, size)?;
            draws.show(&padded.indices);
            let Running { sessions, state, .. } = &mut **network;
            pgd.run_from(&start, sessions, state, &padded, draws)?;
            let mut images = attacked(network)?.values::<f32>()?.into_owned();
            images.truncate(target.clean.len());
            Ok(images)
        }
        Plan::Ascent(ascent) => ascent.run(queries, target, images),
        Plan::Apgd(apgd) => apgd.run(queries, target, &images, goals),
        Plan::Square(square) => square.run(queries, target, &keys),
        Plan::Start => Ok(images),
    }
}

/// The classes that the attack aims at, for each image: those other than the label that
/// the clean image is most likely taken for, the likeliest first; none that is ruled out.
fn likeliest(queries: &mut Queries, spec: &AttackSpec, target: &Target) -> Result<Vec<Vec<i64>>> {
    if spec.targets() == 0 {
        return Ok(Vec::new());
    }
    let scores = queries.scores(target, &target.clean.values::<f32>()?, spec.least_classes())?;
    let labels = target.labels.values::<i64>()?;
    let rows = scores.logs.chunks_exact(scores.classes.max(1)).zip(labels.iter());
    Ok(rows.map(|(row, &label)| others(row, label, spec.targets() as usize)).collect())
}

/// The likeliest classes but `label`, by the logarithms of their probabilities.
fn others(logs: &[f64], label: i64, most: usize) -> Vec<i64> {
    let mut classes: Vec<(i64, f64)> = (0..).zip(logs.iter().copied()).collect();
    classes.retain(|(class, log)| *class != label && *log > f64::NEG_INFINITY);
    classes.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    classes.truncate(most);
    classes.into_iter().map(|(class, _)| class).collect()
}

fn attacked(network: &Running) -> Result<Tensor> {
    let lacking = || Error::Program("the attack left no images".to_owned());
    network.state.get(names::IMAGES)?.ok_or_else(lacking)
}

#[cfg(test)]
mod tests {
    use super::others;

    #[test]
    fn the_likeliest_other_classes_are_aimed_at_and_none_that_is_ruled_out() {
        let logs = [-3.0, f64::NEG_INFINITY, -0.1, -2.0, -4.0];
        assert_eq!(others(&logs, 2, 9), [3, 0, 4]);
        assert_eq!(others(&logs, 3, 2), [2, 0]);
        assert_eq!(others(&logs, 1, 9), [2, 3, 0, 4]);
    }
}
