//! Data and models of regressions, written by hand.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use graphs::{DType, Dim, Fact, Graph, Model, Op, Role, Tensor};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::models::{doubles, normal, uniform};

/// Numbers that a linear regression reads.
pub(super) const FEATURES: usize = 6;
pub(super) const RESIDUAL: f64 = 0.2;

/// One array of an .npz.
fn array(descr: &str, shape: &[usize], content: Vec<u8>) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let shape = shape.join(" ");
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".to_vec(), length.to_vec(), text.into_bytes(), content].concat()
}

fn write_npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
    let mut zip = ZipWriter::new(File::create(path).expect("a file"));
    for (name, content) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).expect("an entry");
        zip.write_all(content).expect("written");
    }
    zip.finish().expect("whole");
}

/// Images `[N, ...]` as bytes, and numbers `[N, K]`.
pub(super) struct Data {
    shape: Vec<usize>,
    pub(super) pixels: Vec<u8>,
    pub(super) targets: Vec<f32>,
}

impl Data {
    /// `count` random rows of features, and w x + b + noise for these weights.
    pub(super) fn linear(seed: u64, count: usize, weights: &[f64]) -> Data {
        let rows = uniform("features", seed, &[count, FEATURES], 0.1, 0.9);
        let pixels: Vec<u8> = doubles(&rows).iter().map(|x| (255.0 * x).round() as u8).collect();
        let noise = doubles(&normal("residual", seed, &[count]));
        let targets = pixels.chunks(FEATURES).zip(noise).map(|(row, noise)| {
            let said: f64 = features(row).zip(weights).map(|(x, w)| x * w).sum();
            (said + RESIDUAL * noise) as f32
        });
        let targets = targets.collect();
        Data { shape: vec![count, FEATURES], pixels, targets }
    }

    /// `count` random images of 8 x 8 and the means of their upper and lower halves.
    pub(super) fn halves(seed: u64, count: usize) -> Data {
        let base = doubles(&uniform("base", seed, &[count, 2], 0.2, 0.8));
        let noise = doubles(&uniform("noise", seed, &[count, 64], -0.2, 0.2));
        let pixel = |i: usize| 255.0 * (base[i / 32] + noise[i]);
        let pixels: Vec<u8> = (0..count * 64).map(|i| pixel(i).round() as u8).collect();
        let mean = |half: &[u8]| half.iter().map(|p| f32::from(*p)).sum::<f32>() / 32.0 / 255.0;
        let targets = pixels.chunks(32).map(mean).collect();
        Data { shape: vec![count, 8, 8], pixels, targets }
    }

    fn arrays(&self) -> [Vec<u8>; 2] {
        let count = self.shape[0];
        let width = self.targets.len() / count;
        let shape = if width == 1 { vec![count] } else { vec![count, width] };
        let bytes = self.targets.iter().flat_map(|value| value.to_le_bytes()).collect();
        [array("|u1", &self.shape, self.pixels.clone()), array("<f4", &shape, bytes)]
    }
}

/// What a linear regression sees of a row: its pixels, and 1 for the bias.
pub(super) fn features(row: &[u8]) -> impl Iterator<Item = f64> {
    row.iter().map(|pixel| f64::from(*pixel) / 255.0).chain([1.0])
}

pub(super) fn write_data(path: &Path, train: &Data, test: &Data) {
    let ([x, y], [x_test, y_test]) = (train.arrays(), test.arrays());
    write_npz(path, &[("x_train", x), ("y_train", y), ("x_test", x_test), ("y_test", y_test)]);
}

/// y = x w + b with these weights, the bias last.
pub(super) fn write_linear(path: &Path, weights: &[f64]) {
    let mut graph = Graph::new("linear");
    let fact = |width| Fact {
        dtype: Some(DType::F32),
        shape: Some(vec![Dim::Named("N".to_owned()), Dim::Known(width)]),
    };
    let numbers: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
    let (w, b) = numbers.split_at(FEATURES);
    let x = graph.input("x", Role::Data, fact(FEATURES));
    let w = graph.initializer("w", Tensor::new(&[FEATURES, 1], w.to_vec()).expect("weights"));
    let b = graph.initializer("b", Tensor::vector(b));
    let y = graph.op("gemm", Op::new("Gemm"), &[Some(x), Some(w), Some(b)], vec![fact(1)]);
    graph.output("y", y.into());
    Model::new(graph).write_external(path, None).expect("written");
}
