//! `advbnn bench`: times of the programs on random images.

mod schedule;

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use passes::{Defense, NoiseLayers, Pipeline, Training};
use runtime::attack::Pgd;
use runtime::bench::{BenchSettings, Timings, bench};
use serde::Serialize;

use crate::cli::{Bench, Machine};
use crate::machinery::Machinery;
use crate::programs::{Programs, open_engine};
use crate::settings::{check_samples, likelihood};
use crate::{data, misuse, model, print, progress};
use schedule::Row;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    machinery: Machinery,
    threads: usize,
    batch: usize,
    steps: u64,
    samples: usize,
    #[serde(flatten)]
    timings: Timings,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<Vec<Row>>,
}

pub(crate) fn run(flags: &Bench, machine: &Machine) -> Result<()> {
    if flags.batch == 0 || flags.iters == 0 || flags.steps == 0 {
        return Err(misuse("--batch, --steps and --iters are at least 1"));
    }
    check_samples(flags.samples)?;
    let defense: Defense = flags.defense.parse().map_err(|e| misuse(format!("--defense: {e}")))?;
    let likelihood = likelihood(flags.likelihood.as_deref())?;
    let engine = open_engine(machine)?;
    let mut network = model::read(&flags.model)?;
    model::note_likelihood(&mut network, likelihood)?;
    let context = || flags.model.display().to_string();
    defense.check(&network).with_context(context)?;
    if defense == Defense::Rse {
        Pipeline::opening().then(NoiseLayers::RSE).run(&mut network).with_context(context)?;
    }
    let Some(shape) = data::image_shape(&network) else {
        bail!("{}: the model does not tell the size of its images", flags.model.display());
    };
    let training = Training::published(defense);
    let programs = Programs::training(&network, training).on(engine.as_ref());
    let initial = programs.initial(&flags.model)?;
    let attack = Pgd { steps: flags.steps as u64, ..Pgd::default() };
    let settings = BenchSettings {
        shape,
        answer: programs.answer().with_context(context)?,
        batch: flags.batch,
        attack: defense.is_adversarial().then_some(attack),
        samples: flags.samples as u64,
        repetitions: flags.iters,
    };
    let bar = progress::bar(flags.iters as u64, "repetitions", machine.quiet);
    bar.set_prefix("bench");
    let compile = |purpose, batch| programs.compile(purpose, batch);
    let timings = bench(engine.as_ref(), &compile, &initial, &settings, &mut |done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let timings = timings?;
    let schedule =
        flags.schedule_report.then(|| schedule::report(&programs, engine.as_ref(), flags, machine));
    let line = Line {
        machinery: Machinery::of(engine.as_ref()),
        threads: engine.threads(),
        batch: flags.batch,
        steps: if defense.is_adversarial() { attack.steps } else { 0 },
        samples: flags.samples,
        timings,
        schedule: schedule.transpose()?,
    };
    if flags.json {
        print::line(serde_json::to_string(&line)?)?;
    } else {
        print::line(table(&line))?;
        if let Some(rows) = &line.schedule {
            print::line(schedule::table(rows))?;
        }
    }
    Ok(())
}

fn table(line: &Line) -> Table {
    let Line { machinery, threads, batch, steps, samples, timings, .. } = line;
    let Machinery { engine, engine_version, provider, precision, .. } = machinery;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        format!(
            "{engine} {engine_version} on {provider} in {precision}, {threads} threads, batch {batch}"
        ),
        "median seconds".to_owned(),
    ]);
    for (name, seconds) in [
        (format!("attack, {steps} steps"), timings.attack_s),
        ("update".to_owned(), timings.update_s),
        ("step (both)".to_owned(), timings.step_s),
        (format!("prediction, {samples} draws"), timings.predict_s),
    ] {
        table.add_row([name, format!("{seconds:.4}")]);
    }
    if let Some(peak) = timings.peak_mb {
        table.add_row(["peak memory, MB".to_owned(), format!("{peak:.0}")]);
    }
    table
}
