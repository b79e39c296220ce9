//! Providers of ONNX Runtime that run on any processor, each in a process of its own: one process
//! loads one ONNX Runtime.

use std::sync::LazyLock;

use graphs::Tensor;

use super::{Place, write_idx};
use crate::models::doubles;
use crate::normals;

const SIZE: &str = "--input 1x32x32 --classes 3";

/// One update after an attack of two steps, with draws of their own. A second would begin where
/// rounding has put units on either side of zero.
const TRAIN: &str = "train bayes.onnx --data data --epochs 1 --batch 16 --steps 2 --random-start \
    --optimizer sgd --schedule constant --lr 0.05 --alpha 0.02 --threads 1";

/// Fetches OpenVINO if it is not there, once.
static INSTALLED: LazyLock<()> = LazyLock::new(|| {
    Place::new().succeeds("runtime install openvino");
});

fn place() -> Place {
    LazyLock::force(&INSTALLED);
    let place = Place::new();
    place.succeeds(&format!("new vgg16 -o net.onnx --width 0.2 {SIZE}"));
    place.succeeds("convert net.onnx -o bayes.onnx --init-s 0.02");
    write_idx(&place.path("data"), "train", 16, 32);
    place
}

fn furthest(tensors: &[(String, Tensor)], others: &[(String, Tensor)]) -> f64 {
    assert_eq!(tensors.len(), others.len());
    let pairs = tensors.iter().zip(others).flat_map(|((name, a), (other, b))| {
        assert_eq!(name, other);
        doubles(a).into_iter().zip(doubles(b))
    });
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn every_provider_draws_attacks_and_updates_alike() {
    let place = place();
    let [tract, cpu, openvino] = [
        ("tract", "--engine tract"),
        ("cpu", "--engine ort"),
        ("openvino", "--engine ort --provider openvino"),
    ]
    .map(|(run, engine)| {
        place.succeeds(&format!("{TRAIN} --seed 1 {engine} -o {run}"));
        place.checkpoint(&format!("{run}/last.safetensors"))
    });
    place.succeeds(&format!("{TRAIN} --seed 2 --engine ort -o other"));
    let other = furthest(&cpu, &place.checkpoint("other/last.safetensors"));
    for (name, run) in [("tract", &tract), ("OpenVINO", &openvino)] {
        let apart = furthest(&cpu, run);
        // Another seed is what different noise does.
        assert!(apart < 0.01 * other, "{name} is {apart} from the CPU provider, a seed {other}");
    }
}

const ENGINES: [&str; 3] = ["--engine tract", "--engine ort", "--engine ort --provider openvino"];

#[test]
fn exported_ensembles_run_on_every_provider() {
    let place = place();
    place.succeeds("export bayes.onnx -o any.onnx --samples 40");
    place.succeeds("export bayes.onnx -o openvino.onnx --samples 40 --provider openvino");
    image::GrayImage::from_fn(32, 32, |x, y| image::Luma([((8 * x) ^ (4 * y)) as u8]))
        .save(place.path("image.png"))
        .expect("written");
    let runs = ["any.onnx", "openvino.onnx"].map(|file| ENGINES.map(|engine| (file, engine)));
    let runs = runs.concat();
    let of = |&(file, engine): &(&str, &str)| {
        let command = format!("predict {file} image.png --json {engine}");
        // Every run draws anew.
        let [first, second] = [place.json(&command), place.json(&command)];
        assert_ne!(first, second, "{file}, {engine}");
        first[0]["probabilities"].as_array().expect("probabilities").clone()
    };
    let probabilities: Vec<_> = runs.iter().map(of).collect();
    for (others, run) in probabilities.iter().zip(&runs) {
        for (found, expected) in others.iter().zip(&probabilities[1]) {
            let [found, expected] = [found, expected].map(|p| p.as_f64().expect("a number"));
            assert!((found - expected).abs() < 0.05, "{run:?}: {found}, {expected}");
        }
    }
}

/// In a form for any platform and in one for OpenVINO, which takes random operators with the same
/// attributes for one, and computes once and for all what is made of one alone.
#[test]
fn weights_are_standard_normal_and_independent_on_every_provider() {
    let place = place();
    normals::model(50_000).write(&place.path("draws.onnx")).expect("written");
    image::GrayImage::from_pixel(1, 1, image::Luma([255]))
        .save(place.path("white.png"))
        .expect("written");
    for flags in ["", "--provider openvino"] {
        place.succeeds(&format!("export draws.onnx -o numbers.onnx {flags}"));
        for engine in ENGINES {
            let drawn = [(); 3].map(|()| {
                let found = place.json(&format!("predict numbers.onnx white.png --json {engine}"));
                let found = found[0]["probabilities"].as_array().expect("probabilities").clone();
                let found: Vec<f64> = found.iter().map(|p| p.as_f64().expect("one")).collect();
                normals::drawn(&found)
            });
            normals::assert_normal(&drawn, normals::ANY_RUN);
        }
    }
}

#[test]
fn bfloat16_is_near_and_not_the_same_and_others_refuse_it() {
    let place = place();
    image::GrayImage::new(32, 32).save(place.path("image.png")).expect("written");
    let predict = "predict net.onnx image.png --json --engine ort";
    let of = |precision: &str| {
        let flags = format!("{predict} --provider openvino --precision {precision}");
        place.json(&flags)[0]["probability"].as_f64().expect("a number")
    };
    if runtime::engine::has_bfloat16() {
        let (single, brain) = (of("f32"), of("bf16"));
        assert!(single != brain && (single - brain).abs() < 0.02, "{single}, {brain}");
    } else {
        let command = "predict net.onnx image.png --provider openvino --precision bf16";
        place.fails(1, command, &["no bfloat16 arithmetic", "f32"]);
    }
    for engine in ["--engine ort", "--engine tract"] {
        let command = format!("predict net.onnx image.png {engine} --precision bf16");
        place.fails(1, &command, &["cpu", "float32 only", "openvino"]);
    }
}
