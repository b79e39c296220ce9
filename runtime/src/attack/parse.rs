//! Attacks as text.

use std::fmt;
use std::str::FromStr;

use super::ball::Norm;
use super::spec::{AttackSpec, Method, Step};
use crate::{Error, Result, fraction};

/// The options of PGD and what is PGD in disguise.
const PGD: [&str; 7] = ["steps", "step", "eot", "restarts", "random-start", "norm", "momentum"];

/// Every method, its name and the options that [`AttackSpec`] accepts for it.
const METHODS: [(Method, &str, &[&str]); 10] = [
    (Method::Fgsm, "fgsm", &["eot", "norm"]),
    (Method::Pgd, "pgd", &PGD),
    (Method::ApgdCe, "apgd-ce", &["steps", "eot", "restarts", "norm"]),
    (Method::ApgdDlr, "apgd-dlr", &["steps", "eot", "restarts", "norm"]),
    (Method::ApgdT, "apgd-t", &["steps", "eot", "restarts", "norm", "targets"]),
    (Method::Square, "square", &["queries", "eot", "restarts"]),
    (Method::Noise, "noise", &["eot", "restarts", "norm"]),
    (Method::FixedNoise, "fixed-noise", &PGD),
    (
        Method::MeanWeight,
        "mean-weight",
        &["steps", "step", "restarts", "random-start", "norm", "momentum"],
    ),
    (
        Method::Transfer,
        "transfer",
        &["from", "steps", "step", "eot", "restarts", "random-start", "norm", "momentum"],
    ),
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = METHODS.iter().find(|(method, ..)| method == self);
        f.write_str(name.map_or("", |(_, name, _)| name))
    }
}

impl FromStr for AttackSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<AttackSpec> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let found = METHODS.iter().find(|(_, known, _)| *known == name);
        let &(method, _, keys) = found.ok_or_else(|| {
            let known = METHODS.map(|(_, name, _)| name).join(", ");
            Error::Setting(format!("attack `{name}` is unknown; there are {known}"))
        })?;
        let mut spec = AttackSpec::new(text, method);
        for option in options.split(',').filter(|_| text.contains(':')) {
            let (key, value) =
                option.split_once('=').map_or((option, None), |(key, v)| (key, Some(v)));
            if !keys.contains(&key) {
                return Err(Error::Setting(format!(
                    "attack `{text}`: {name} has no option `{key}`; it has {}",
                    keys.join(", ")
                )));
            }
            spec.set(key, value).ok_or_else(|| {
                let wanted = match key {
                    "step" => "a positive number, a fraction, or so many radii as in `0.25eps`",
                    "momentum" => "a number from 0 to 1, 1 excluded",
                    "norm" => "linf or l2",
                    "from" => "an ONNX file or a run folder",
                    "random-start" => "no value",
                    _ => "a whole number from 1 to 100000",
                };
                Error::Setting(format!("attack `{text}`: `{key}` takes {wanted}"))
            })?;
        }
        if method == Method::Transfer && spec.from.is_none() {
            return Err(Error::Setting(format!(
                "attack `{text}`: say which model sees the gradients, as in `transfer:from=FILE`"
            )));
        }
        Ok(spec)
    }
}

impl AttackSpec {
    /// The defaults: 20 steps as the paper evaluates, 100 and 9 target classes as Croce and
    /// Hein, 5,000 queries as they take of Square.
    fn new(text: &str, method: Method) -> AttackSpec {
        AttackSpec {
            text: text.to_owned(),
            method,
            norm: Norm::Linf,
            steps: match method {
                Method::Fgsm => 1,
                Method::ApgdCe | Method::ApgdDlr | Method::ApgdT => 100,
                Method::Noise | Method::Square => 0,
                Method::Pgd | Method::FixedNoise | Method::MeanWeight | Method::Transfer => 20,
            },
            step: Step::Default,
            momentum: 0.0,
            draws: 1,
            restarts: 1,
            random_start: false,
            targets: if method == Method::ApgdT { 9 } else { 0 },
            queries: 5000,
            from: None,
        }
    }

    /// Sets one option; `None` when the value is not what it takes.
    fn set(&mut self, key: &str, value: Option<&str>) -> Option<()> {
        let count = || value?.parse().ok().filter(|n| (1..=100_000).contains(n));
        match key {
            "steps" => self.steps = count()?,
            "eot" => self.draws = count()?,
            "restarts" => self.restarts = count()?,
            "targets" => self.targets = count()?,
            "queries" => self.queries = count()?,
            "step" => self.step = step(value?)?,
            "momentum" => self.momentum = fraction(value?).filter(|share| *share < 1.0)?,
            "norm" => {
                self.norm = [Norm::Linf, Norm::L2]
                    .into_iter()
                    .find(|n| Some(n.to_string().as_str()) == value)?
            }
            "from" => self.from = Some(value.filter(|path| !path.is_empty())?.to_owned()),
            "random-start" if value.is_none() => self.random_start = true,
            _ => return None,
        }
        Some(())
    }
}

fn step(text: &str) -> Option<Step> {
    let positive = |text| fraction(text).filter(|size| *size > 0.0);
    match text.strip_suffix("eps") {
        Some(share) => positive(share).map(Step::Relative),
        None => positive(text).map(Step::Absolute),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Pgd;
    use super::super::ascent::Ascent;
    use super::super::ball::{Ball, Stride};
    use super::super::spec::Plan;
    use super::*;
    use crate::draws::Kind;

    fn spec(text: &str) -> AttackSpec {
        text.parse().unwrap()
    }

    #[test]
    fn options_are_read() {
        let read = spec("pgd:steps=40,step=0.01,eot=10,restarts=2,random-start");
        let attack = Pgd { eps: 0.05, steps: 40, step_size: 0.01, random_start: true, draws: 10 };
        assert_eq!(read.plan(0.05), Plan::Program(attack));
        assert_eq!((read.restarts(), read.targets(), read.kind()), (2, 0, Kind::Fresh));
        let read = spec("pgd:norm=l2,momentum=0.25,step=1/4");
        let stride = Stride { size: 0.25, momentum: 0.25 };
        let ball = Ball { norm: Norm::L2, eps: 0.5 };
        assert_eq!(read.plan(0.5), Plan::Ascent(Ascent { ball, steps: 20, stride }));
        assert_eq!(spec("transfer:from=a=b.onnx,eot=2").from(), Some("a=b.onnx"));
        assert_eq!(spec("apgd-t:targets=3").targets(), 3);
        assert_eq!(spec("square:queries=7").steps(), 7);
        assert_eq!(spec("fixed-noise:eot=3").kind(), Kind::Frozen(3));
        assert_eq!(spec("mean-weight").kind(), Kind::Mean);
    }

    #[test]
    fn the_default_step_is_the_paper_s_unless_it_cannot_reach_the_radius() {
        assert_eq!(spec("pgd").step_size(0.1), 0.007);
        assert_eq!(spec("pgd").step_size(0.5), 2.5 * 0.5 / 20.0);
        assert_eq!(spec("pgd:norm=l2").step_size(0.1), 2.5 * 0.1 / 20.0);
        assert_eq!(spec("pgd:step=0.001").step_size(0.5), 0.001);
        assert_eq!(spec("pgd:step=0.5eps").step_size(0.5), 0.25);
        assert_eq!(spec("fgsm").step_size(0.1), 0.1);
        assert_eq!(spec("apgd-ce").step_size(0.1), 0.2);
    }

    #[test]
    fn starts_are_random_where_the_method_wants_it() {
        for text in ["noise", "apgd-ce", "pgd:restarts=2", "pgd:random-start"] {
            assert!(spec(text).random_start(), "{text}");
        }
        for text in ["pgd", "fgsm", "mean-weight"] {
            assert!(!spec(text).random_start(), "{text}");
        }
    }

    #[test]
    fn every_name_is_read_back() {
        for (method, name, _) in METHODS.into_iter().filter(|(m, ..)| *m != Method::Transfer) {
            let read = spec(name);
            assert_eq!(
                (read.method(), read.text(), method.to_string()),
                (method, name, name.into())
            );
        }
    }

    #[test]
    fn bad_text_says_what_is_wrong() {
        let error = |text: &str| text.parse::<AttackSpec>().unwrap_err().to_string();
        assert!(error("deepfool").contains("`deepfool` is unknown; there are fgsm, pgd, apgd-ce"));
        assert!(error("").contains("unknown"));
        assert!(error("pgd:").contains("no option ``"));
        assert!(error("fgsm:steps=3").contains("fgsm has no option `steps`; it has eot"));
        assert!(error("mean-weight:eot=3").contains("mean-weight has no option `eot`"));
        assert!(error("pgd:steps=0").contains("`steps` takes a whole number"));
        assert!(error("pgd:steps").contains("`steps` takes a whole number"));
        for step in ["-1", "NaN", "0eps", "eps", "1/0", "0"] {
            assert!(error(&format!("pgd:step={step}")).contains("`step` takes a positive number"));
        }
        assert!(error("pgd:momentum=1").contains("`momentum` takes a number from 0 to 1"));
        assert!(error("pgd:norm=l1").contains("`norm` takes linf or l2"));
        assert!(error("pgd:random-start=1").contains("`random-start` takes no value"));
        assert!(error("transfer").contains("transfer:from=FILE"));
        assert!(error("transfer:from=").contains("`from` takes an ONNX file"));
    }
}
