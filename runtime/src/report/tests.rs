//! The page and its files of a small evaluation.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::Network;
use crate::attack::{AttackSpec, Method, Norm};
use crate::engine::tests::engines;
use crate::evaluate::{Budget, EvalSettings, Evaluation, Subject, evaluate};
use crate::linear::{Linear, dataset, weight};

fn evaluated() -> Evaluation {
    let engine = &*engines()[0];
    let model = Linear { classes: 3, std: Some(0.3) };
    let compile = |purpose, batch| model.compile(purpose, batch);
    let mut state = engine.state();
    state.put("weight", &weight(3)["weight"]).unwrap();
    let (images, foreign) = (dataset(12, 3), dataset(5, 3));
    // The linear classifier has no program for it.
    let known = |spec: &AttackSpec| spec.method() != Method::ApgdDlr;
    let mut probing = Budget::Quick.probing(Norm::Linf, 0.1, &[]).unwrap();
    probing.runs.retain(|(spec, _)| known(spec));
    let settings = EvalSettings {
        attacks: Budget::Quick.attacks().unwrap().into_iter().filter(known).collect(),
        eps: vec![0.1, 0.2],
        samples: 6,
        batch: 8,
        seed: 1,
        cumulative: false,
        seeds: 2,
        probing: Some(probing),
    };
    let subject = Subject { dataset: &images, foreign: Some(&foreign), notes: None };
    let network = Network { compile: &compile, state };
    evaluate(engine, network, BTreeMap::new(), subject, &settings, &mut |_| {}).unwrap()
}

fn heading() -> Heading {
    Heading {
        model: "a <script>alert(1)</script> & model".to_owned(),
        data: "data".to_owned(),
        engine: "tract".to_owned(),
        seed: 1,
        class_names: vec!["<img src=x>".to_owned(); 3],
    }
}

/// The tags of a page, each closed in its turn.
fn assert_well_formed(page: &str) {
    const VOID: [&str; 5] = ["meta", "link", "br", "img", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        let name = tag.split_whitespace().next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "before {:.80}", rest);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let evaluation = evaluated();
    write(folder.path(), &heading(), &evaluation).unwrap();
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert_well_formed(&page);
    for foreign in ["<script", "src=\"http", "href=\"http", "url(", "@import", "<iframe"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let addresses = page.split("src=\"").skip(1);
    assert!(addresses.clone().all(|address| address.starts_with("data:image/png;base64,")));
    assert_eq!(addresses.count(), 3 * evaluation.pictures.len());
    assert!(page.contains("a &lt;script&gt;alert(1)&lt;/script&gt; &amp; model"));
    assert!(!evaluation.pictures.is_empty() && page.contains("&lt;img src=x&gt;"));
    for check in &evaluation.report.checks {
        assert!(page.contains(&check.check), "{}", check.check);
    }
    for text in ["robust accuracy", "viewport", "@media print", "foreign images"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn every_chart_is_drawn_as_svg_and_png() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &heading(), &evaluated()).unwrap();
    let names = ["radius", "draws", "steps", "samples", "reliability", "entropy", "information"];
    for name in names {
        let file = |kind: &str| folder.path().join(format!("plots/{name}.{kind}"));
        assert!(std::fs::read_to_string(file("svg")).unwrap().starts_with("<svg"));
        let picture = image::open(file("png")).unwrap();
        assert_eq!((picture.width(), picture.height()), (720, 540));
    }
}

#[test]
fn every_line_of_a_chart_has_a_name_of_its_own() {
    let engine = &*engines()[0];
    let model = Linear { classes: 3, std: None };
    let compile = |purpose, batch| model.compile(purpose, batch);
    let mut state = engine.state();
    state.put("weight", &weight(3)["weight"]).unwrap();
    let attacks = ["pgd", "pgd:step=0.001", "pgd:norm=l2", "pgd:eot=4", "fgsm"];
    let settings = EvalSettings {
        attacks: attacks.iter().map(|spec| spec.parse().unwrap()).collect(),
        eps: vec![0.1, 0.2],
        samples: 1,
        batch: 8,
        seed: 1,
        cumulative: false,
        seeds: 1,
        probing: None,
    };
    let subject = Subject { dataset: &dataset(8, 3), foreign: None, notes: None };
    let network = Network { compile: &compile, state };
    let found = evaluate(engine, network, BTreeMap::new(), subject, &settings, &mut |_| {});
    let charts = charts::all(&found.unwrap());
    let names: Vec<&str> = charts[0].series.iter().map(|series| series.name.as_str()).collect();
    assert_eq!(names, ["pgd", "pgd:step=0.001", "pgd:norm=l2", "pgd:eot=4", "fgsm"]);
}
