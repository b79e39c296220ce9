//! Scores probabilities that a script gives, with the code that `evaluate` scores with.
//!
//! Reads one JSON object from standard input, `draws` `[S][N][classes]`, `labels` `[N]` and
//! `foreign` `[S][M][classes]`, and prints the figures of the first images, bins included,
//! the scores of every image, and how well these tell the foreign ones.

use std::error::Error;

use runtime::uncertainty::{Judged, Tally, Uncertainty, auroc, reliability, wilson};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Given {
    draws: Vec<Vec<Vec<f32>>>,
    labels: Vec<i64>,
    foreign: Vec<Vec<Vec<f32>>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Given = serde_json::from_reader(std::io::stdin().lock())?;
    let judged = judge(&given.draws, &given.labels);
    let none = vec![0; given.foreign.first().map_or(0, Vec::len)];
    let foreign = judge(&given.foreign, &none);
    let right = judged.iter().filter(|one| one.is_right()).count();
    let area = |score: fn(&Judged) -> f64| {
        let of = |judged: &[Judged]| judged.iter().map(score).collect::<Vec<f64>>();
        auroc(&of(&foreign), &of(&judged))
    };
    let printed = json!({
        "figures": Uncertainty::of(&judged),
        "bins": reliability(&judged),
        "images": judged,
        "interval": wilson(right, judged.len()),
        "auroc": {
            "predictive_entropy": area(|one| one.predictive_entropy),
            "mutual_information": area(Judged::mutual_information),
            "confidence": area(|one| 1.0 - one.confidence),
        },
    });
    println!("{printed}");
    Ok(())
}

fn judge(draws: &[Vec<Vec<f32>>], labels: &[i64]) -> Vec<Judged> {
    let mut tally = Tally::default();
    for draw in draws {
        tally.add(&draw.concat(), draw.first().map_or(1, Vec::len));
    }
    tally.judge(labels)
}
