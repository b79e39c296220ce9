//! What was seen of single images.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::evidence::{Asked, evidence};
use super::measure::Seen;
use super::results::{
    Attack, Attacked, Foreign, Measured, Probe, Probes, Report, SCHEMA, Separation,
};
use super::{checks, right};
use crate::attack::Method;
use crate::target::Form;
use crate::uncertainty::Judged;
use crate::{Error, Result, write_whole};

/// The figures of an evaluation, and what they are made of.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The figures.
    pub report: Report,
    /// Some images before and after an attack.
    pub pictures: Vec<Pictured>,
    found: Found,
}

/// What was seen under every attack.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) clean: Run,
    pub(super) runs: Vec<Run>,
    pub(super) probed: Vec<Run>,
    pub(super) foreign: Vec<Option<Seen>>,
    pub(super) pictures: Vec<Pictured>,
}

/// What was seen of the images under one attack; `None` of those that it was not tried on.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) attack: Option<Attack>,
    pub(super) method: Option<Method>,
    pub(super) seen: Vec<Option<Seen>>,
}

/// An image before and after an attack, `[C, H, W]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pictured {
    /// `[C, H, W]`
    pub shape: [usize; 3],
    /// Pixels 0 to 255.
    pub clean: Vec<u8>,
    /// What the attack added: 127 is the radius.
    pub added: Vec<i8>,
    /// Pixels 0 to 255.
    pub attacked: Vec<u8>,
    /// What the model says of the clean image.
    pub before: Judged,
    /// What it says of the attacked one.
    pub after: Judged,
}

impl Pictured {
    /// Of images in the form in which a model takes them.
    pub(super) fn new(
        form: &Form,
        clean: &[f32],
        attacked: &[f32],
        eps: f64,
        before: Judged,
        after: Judged,
    ) -> Pictured {
        let [channels, height, width] = form.image;
        let places =
            || (0..channels).flat_map(|c| (0..height * width).map(move |at| form.at(c, at)));
        let of = |image: &[f32], place: usize| image.get(place).copied().unwrap_or_default();
        let bytes = |image: &[f32]| -> Vec<u8> {
            places().map(|place| (of(image, place) * 255.0).round() as u8).collect()
        };
        let added = |place| f64::from(of(attacked, place) - of(clean, place)) / eps;
        Pictured {
            shape: form.image,
            clean: bytes(clean),
            added: places().map(|place| (127.0 * added(place)).round() as i8).collect(),
            attacked: bytes(attacked),
            before,
            after,
        }
    }
}

impl Run {
    /// What was seen of the first images.
    pub(super) fn first(&self, images: usize) -> Run {
        let seen = self.seen.iter().take(images).cloned().collect();
        Run { attack: self.attack.clone(), method: self.method, seen }
    }

    /// What was seen, without those that were not.
    pub(super) fn tried(&self) -> Vec<&Seen> {
        self.seen.iter().flatten().collect()
    }

    pub(super) fn judged(&self) -> Vec<Judged> {
        self.tried().into_iter().map(|seen| seen.judged).collect()
    }

    /// The accuracy in percent, images that were not tried counting as wrong.
    pub(super) fn accuracy(&self) -> f64 {
        let right = right(&self.seen);
        100.0 * right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64
    }

    /// Images that the attack left where they were, in percent of those tried.
    pub(super) fn unmoved(&self) -> f64 {
        let tried = self.tried();
        let unmoved = tried.iter().filter(|seen| seen.moved == 0.0).count();
        100.0 * unmoved as f64 / tried.len().max(1) as f64
    }
}

impl Evaluation {
    pub(super) fn new(found: Found, asked: Asked) -> Result<Evaluation> {
        let lacking = || Error::Data("no image was evaluated".to_owned());
        let evidence = evidence(&found, &asked);
        let clean = Measured::of(&found.clean.tried()).ok_or_else(lacking)?;
        let judged = found.clean.judged();
        let attacks = found.runs.iter().filter_map(|run| {
            // Where everything was misclassified before, there is nothing more to score.
            let mut measured = Measured::of(&run.tried())?;
            measured.accuracy = run.accuracy();
            let whole = run.seen.iter().all(Option::is_some);
            Some(Attacked {
                attack: run.attack.clone()?,
                auroc: Separation::of(&run.judged(), &judged).filter(|_| whole),
                measured,
            })
        });
        let probes = asked.settings.probing.as_ref().map(|probing| Probes {
            images: probing.images.min(found.clean.seen.len()),
            eps: probing.eps,
            rows: found.probed.iter().filter_map(probe).collect(),
        });
        let foreign: Vec<Judged> = found.foreign.iter().flatten().map(|seen| seen.judged).collect();
        let report = Report {
            schema: SCHEMA,
            images: found.clean.seen.len(),
            samples: asked.samples,
            clean,
            attacks: attacks.collect(),
            worst: asked.worst,
            ood: Foreign::of(&foreign, &judged),
            checks: checks::all(&evidence),
            probes,
        };
        Ok(Evaluation { report, pictures: found.pictures.clone(), found })
    }

    /// A score of every clean image, of every image under the attack with the most draws,
    /// and of every foreign one, by name.
    pub(crate) fn scores(&self, score: impl Fn(&Judged) -> f64) -> Vec<(String, Vec<f64>)> {
        let of = |run: &Run| run.judged().iter().map(&score).collect::<Vec<f64>>();
        let mut kinds = vec![("clean".to_owned(), of(&self.found.clean))];
        let radii = || self.found.runs.iter().filter_map(|run| Some((run, run.attack.as_ref()?)));
        let first = radii().map(|(_, attack)| attack.eps).find(|eps| *eps > 0.0);
        let strongest = radii().filter(|(_, attack)| Some(attack.eps) == first);
        if let Some((run, attack)) = strongest.max_by_key(|(_, attack)| attack.effort()) {
            kinds.push((attack.title(), of(run)));
        }
        if !self.found.foreign.is_empty() {
            let foreign = self.found.foreign.iter().flatten().map(|seen| score(&seen.judged));
            kinds.push(("foreign".to_owned(), foreign.collect()));
        }
        kinds
    }

    /// Writes a line for every image under every attack, and without one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
        let foreign = Run { attack: None, method: None, seen: self.found.foreign.clone() };
        let attacked = self.found.runs.iter().filter_map(|run| Some((run.attack.as_ref()?, run)));
        write_whole(path, |file| {
            writeln!(
                file,
                "images,attack,norm,eps,index,label,class,right,confidence,probability,nll,brier,\
                 predictive_entropy,expected_entropy,mutual_information,disagreement,\
                 single_draw,right_over_seeds,moved,vote"
            )?;
            lines(file, "clean,,,", &self.found.clean)?;
            for (attack, run) in attacked {
                let Attack { spec, norm, eps, .. } = attack;
                lines(
                    file,
                    &format!("attacked,\"{}\",{norm},{eps}", spec.replace('"', "\"\"")),
                    run,
                )?;
            }
            lines(file, "foreign,,,", &foreign)
        })
    }
}

fn probe(run: &Run) -> Option<Probe> {
    let attack = run.attack.clone()?;
    Some(Probe { attack, accuracy: run.accuracy_of_tried(), unmoved: run.unmoved() })
}

fn lines(file: &mut dyn Write, start: &str, run: &Run) -> std::io::Result<()> {
    for (index, seen) in run.seen.iter().enumerate() {
        let Some(Seen { judged, seeds, moved, .. }) = seen else { continue };
        let Judged { label, class, confidence, probability, brier, .. } = judged;
        let Judged { predictive_entropy, expected_entropy, disagreement, single, vote, .. } =
            judged;
        let right = u8::from(judged.is_right());
        let seeds = 1 + seeds.len();
        let over = usize::from(right) + seen_right(seen);
        writeln!(
            file,
            "{start},{index},{label},{class},{right},{confidence},{probability},{},{brier},\
             {predictive_entropy},{expected_entropy},{},{disagreement},{single},{},{moved},{vote}",
            judged.nll(),
            judged.mutual_information(),
            over as f64 / seeds as f64,
        )?;
    }
    Ok(())
}

/// Under how many of the other seeds it is right.
fn seen_right(seen: &Option<Seen>) -> usize {
    seen.iter().flat_map(|seen| &seen.seeds).filter(|right| **right).count()
}

impl Run {
    /// The accuracy in percent of the images that were tried.
    pub(super) fn accuracy_of_tried(&self) -> f64 {
        let tried = self.tried();
        let right = tried.iter().filter(|seen| seen.judged.is_right()).count();
        100.0 * right as f64 / tried.len().max(1) as f64
    }
}
