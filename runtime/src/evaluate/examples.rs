//! What was seen of single images.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checks;
use super::evidence::{Asked, evidence};
use super::found::{Found, Run};
use super::measure::Seen;
use super::results::{Attacked, Foreign, Measured, Probe, Probes, Report, SCHEMA, Separation};
use crate::target::Form;
use crate::uncertainty::Judged;
use crate::{Error, Result, write_whole};

/// What lines of foreign images begin with.
const FOREIGN: &str = "foreign,,,";

/// The figures of an evaluation, and what they are made of.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The figures.
    pub report: Report,
    /// Some images before and after an attack.
    pub pictures: Vec<Pictured>,
    found: Found,
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

    /// Whether it has as many pixels as its shape says, and any.
    pub(super) fn is_whole(&self) -> bool {
        let size = self.shape.iter().try_fold(1usize, |size, n| size.checked_mul(*n));
        let found = [self.clean.len(), self.added.len(), self.attacked.len()];
        size.is_some_and(|size| size > 0 && found == [size; 3])
    }
}

impl Evaluation {
    pub(super) fn new(found: Found, asked: &Asked) -> Result<Evaluation> {
        let lacking = || Error::Data("no image was evaluated".to_owned());
        let evidence = evidence(&found, asked);
        let clean = Measured::of(&found.clean.tried()).ok_or_else(lacking)?;
        let judged = found.clean.judged();
        let attacked = |(place, run): (usize, &Run)| {
            let after = found.after(place);
            let there: Vec<Judged> = after.iter().map(|seen| seen.judged).collect();
            Some(Attacked {
                attack: run.attack.clone()?,
                tried: run.tried().len(),
                auroc: Separation::of(&there, &judged),
                measured: Measured::of(&after)?,
            })
        };
        let attacks: Vec<Attacked> = found.runs.iter().enumerate().filter_map(attacked).collect();
        let probes = asked.settings.probing.as_ref().map(|probing| Probes {
            images: probing.images.min(found.clean.seen.len()),
            norm: probing.norm,
            eps: probing.eps,
            rows: found.probed.iter().filter_map(probe).collect(),
        });
        let report = Report {
            schema: SCHEMA,
            images: found.clean.seen.len(),
            samples: asked.samples,
            clean,
            attacks,
            worst: found.worst(),
            ood: Foreign::of(&found.foreign.judged(), &judged),
            checks: checks::all(&evidence),
            probes,
            shown: asked.shown,
        };
        Ok(Evaluation { report, pictures: found.pictures.clone(), found })
    }

    /// A score of every clean image, of every image after the attack that is shown, and of
    /// every foreign one, by name.
    pub(crate) fn scores(&self, score: impl Fn(&Judged) -> f64) -> Vec<(String, Vec<f64>)> {
        let of = |seen: Vec<&Seen>| seen.into_iter().map(|seen| score(&seen.judged)).collect();
        let mut kinds = vec![("clean".to_owned(), of(self.found.clean.tried()))];
        if let Some((place, row)) = self.report.shown.zip(self.report.shown()) {
            kinds.push((self.report.title(&row.attack), of(self.found.after(place))));
        }
        if !self.found.foreign.seen.is_empty() {
            kinds.push(("foreign".to_owned(), of(self.found.foreign.tried())));
        }
        kinds
    }

    /// Writes a line for every image under every attack that was tried on it, and without one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_csv(&self, path: &Path) -> Result<()> {
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
                let (spec, norm, eps) = (attack.spec.text(), attack.norm, attack.eps);
                let spec = spec.replace('"', "\"\"");
                lines(file, &format!("attacked,\"{spec}\",{norm},{eps}"), run)?;
            }
            lines(file, FOREIGN, &self.found.foreign)
        })
    }
}

/// What one attack left of the images on which it was tried.
pub(super) fn probe(run: &Run) -> Option<Probe> {
    let attack = run.attack.clone()?;
    Some(Probe { attack, accuracy: run.accuracy_of_tried(), unmoved: run.unmoved() })
}

/// A line for each image; what depends on the label stays empty where labels mean nothing.
fn lines(file: &mut dyn Write, start: &str, run: &Run) -> std::io::Result<()> {
    for (index, seen) in run.seen.iter().enumerate() {
        let Some(Seen { judged, seeds, moved, .. }) = seen else { continue };
        let of_label = |value: f64| match start == FOREIGN {
            true => String::new(),
            false => value.to_string(),
        };
        let Judged { class, confidence, vote, .. } = judged;
        let Judged { predictive_entropy, expected_entropy, disagreement, .. } = judged;
        let over = seeds.iter().chain([&judged.is_right()]).filter(|right| **right).count();
        writeln!(
            file,
            "{start},{index},{},{class},{},{confidence},{},{},{},{predictive_entropy},\
             {expected_entropy},{},{disagreement},{},{},{moved},{vote}",
            of_label(judged.label as f64),
            of_label(f64::from(u8::from(judged.is_right()))),
            of_label(judged.probability),
            of_label(judged.nll()),
            of_label(judged.brier),
            judged.mutual_information(),
            of_label(judged.single),
            of_label(over as f64 / (1 + seeds.len()) as f64),
        )?;
    }
    Ok(())
}
