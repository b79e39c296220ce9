//! What a chart is drawn with: the font, markers, ticks and their numbers.

use std::ops::Range;
use std::sync::LazyLock;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::style::{FontStyle, register_font};

use super::chart::Axis;

/// The only font: plotters finds none of the system's without a library of the system.
pub(super) static FONT: LazyLock<()> = LazyLock::new(|| {
    // It fails only on bytes that are no font; texts are then missing, and the tests see it.
    _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
});

/// The corners of a marker around its point: another shape for every series.
pub(super) fn marker(index: usize, r: u32) -> Vec<(i32, i32)> {
    let r = r as i32;
    let d = r * 7 / 10;
    match index % 6 {
        0 => vec![(r, 0), (d, d), (0, r), (-d, d), (-r, 0), (-d, -d), (0, -r), (d, -d)],
        1 => vec![(-d, -d), (d, -d), (d, d), (-d, d)],
        2 => vec![(0, -r), (r, d), (-r, d)],
        3 => vec![(0, -r - 1), (r + 1, 0), (0, r + 1), (-r - 1, 0)],
        4 => vec![(0, r), (r, -d), (-r, -d)],
        _ => {
            let t = (r / 3).max(1);
            let half = [(-t, -r), (t, -r), (t, -t), (r, -t), (r, t), (t, t)];
            half.into_iter().chain(half.map(|(x, y)| (-x, -y))).collect()
        }
    }
}

/// An axis: where its ticks are, and what they are called.
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
    ticks: Vec<f64>,
    names: Option<Vec<String>>,
}

impl Scale {
    pub(super) fn of(axis: &Axis) -> Scale {
        match axis {
            Axis::Linear(from, to) => Scale::linear(*from, *to),
            Axis::Places(names) => Scale {
                from: -0.3,
                to: names.len() as f64 - 0.7,
                ticks: (0..names.len()).map(|place| place as f64).collect(),
                names: Some(names.clone()),
            },
        }
    }

    pub(super) fn linear(from: f64, to: f64) -> Scale {
        Scale { from, to, ticks: ticks(from, to), names: None }
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Scale {
    fn format(value: &f64) -> String {
        number(*value)
    }

    fn format_ext(&self, value: &f64) -> String {
        let name = self.names.as_ref().and_then(|names| names.get(value.round() as usize));
        name.cloned().unwrap_or_else(|| number(*value))
    }
}

/// Round numbers from `from` to `to`, four to eight of them.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    let rough = (to - from) / 5.0;
    if !(rough.is_finite() && rough > 0.0) {
        return vec![from];
    }
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * unit);
    let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(rough);
    let first = (from / step).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// In as few digits as tell it from its neighbours.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(0.0, 0.2).len(), 5);
        assert_eq!(ticks(1.0, 1.0), [1.0]);
        assert_eq!(
            (number(0.05), number(20.0), number(-0.0)),
            ("0.05".into(), "20".into(), "0".into())
        );
    }
}
