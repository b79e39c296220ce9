#![allow(clippy::expect_used)]

use std::collections::BTreeSet;

use graphs::Dim;

use super::*;

/// Trained numbers: running statistics are not.
fn parameters(model: &Model) -> usize {
    let graph = &model.graph;
    let trained = |id| {
        let node = graph.node(id);
        node.tensor().filter(|_| !node.name.contains("running")).map(|tensor| tensor.len())
    };
    graph.ids().filter_map(trained).sum()
}

fn build(architecture: Architecture, input: [usize; 3], classes: usize) -> Model {
    let model = architecture.build(input, classes, 1.0, 0).expect("a network");
    model.graph.check().expect("a whole graph");
    model
}

#[test]
fn parameters_are_as_many_as_published() {
    for (architecture, input, classes, expected) in [
        (Architecture::Vgg16, [3, 32, 32], 10, 14_728_266),
        (Architecture::ModelA, [3, 96, 96], 10, 2_166_282),
        (Architecture::ResNet18, [3, 224, 224], 1000, 11_689_512),
        (Architecture::ResNet18, [3, 32, 32], 10, 11_173_962),
    ] {
        assert_eq!(parameters(&build(architecture, input, classes)), expected, "{architecture}");
    }
}

#[test]
fn the_last_features_are_as_large_as_described() {
    for (architecture, input, expected) in [
        (Architecture::Vgg16, [3, 32, 32], [512, 1, 1]),
        (Architecture::ModelA, [3, 96, 96], [512, 2, 2]),
        (Architecture::ModelA, [3, 80, 80], [512, 1, 1]),
        (Architecture::ResNet18, [3, 32, 32], [512, 4, 4]),
        (Architecture::ResNet18, [3, 96, 96], [512, 3, 3]),
        (Architecture::SmallCnn, [1, 28, 28], [128, 3, 3]),
    ] {
        let graph = build(architecture, input, 10).graph;
        let pool = graph.ids().find(|&id| graph.node(id).name == "avgpool").expect("a pool");
        let shape = graph.fact(graph.argument(pool, 0).expect("features")).shape.clone();
        let expected: Vec<Dim> = expected.map(Dim::Known).to_vec();
        assert_eq!(shape.expect("known")[1..], expected, "{architecture}");
    }
}

#[test]
fn the_small_network_has_every_layer_that_can_be_variational() {
    let graph = build(Architecture::SmallCnn, [3, 32, 32], 10).graph;
    let ops: BTreeSet<&str> =
        graph.ids().filter_map(|id| Some(graph.node(id).op()?.op_type.as_str())).collect();
    for op in ["Conv", "BatchNormalization", "Relu", "MaxPool", "Gemm"] {
        assert!(ops.contains(op), "{op}");
    }
    let port = graph.port("logits").expect("logits");
    assert_eq!(graph.fact(port.value).to_string(), "float32[N,10]");
}

#[test]
fn weights_follow_the_seed_and_the_fan_in() {
    let weight = |seed| {
        let model = Architecture::SmallCnn.build([3, 8, 8], 10, 1.0, seed).expect("a network");
        let value = model.graph.source("features.0.weight").expect("a weight");
        model.graph.tensor(value).expect("a constant").floats().expect("float32").into_owned()
    };
    assert_eq!(weight(1), weight(1));
    assert_ne!(weight(1), weight(2));
    let bound = 1.0 / 27f32.sqrt();
    let largest = weight(1).iter().fold(0f32, |most, w| most.max(w.abs()));
    assert!(largest <= bound && largest > 0.9 * bound, "{largest}");
}

#[test]
fn width_scales_the_channels() {
    let model = Architecture::Vgg16.build([3, 32, 32], 10, 0.25, 0).expect("a network");
    let value = model.graph.source("features.0.weight").expect("a weight");
    assert_eq!(model.graph.tensor(value).expect("a constant").shape(), [16, 3, 3, 3]);
}

#[test]
fn what_cannot_be_built_is_refused() {
    for (architecture, input, classes, width, message) in [
        (Architecture::Vgg16, [3, 31, 32], 10, 1.0, "at least 32x32"),
        (Architecture::ModelA, [3, 79, 96], 10, 1.0, "at least 80x80"),
        (Architecture::SmallCnn, [3, 7, 7], 10, 1.0, "at least 8x8"),
        (Architecture::ResNet18, [3, 0, 0], 10, 1.0, "at least 1x1"),
        (Architecture::SmallCnn, [0, 8, 8], 10, 1.0, "no size of images"),
        (Architecture::SmallCnn, [3, usize::MAX, 8], 10, 1.0, "no size of images"),
        (Architecture::SmallCnn, [3, 8, 8], 0, 1.0, "0 classes"),
        (Architecture::SmallCnn, [3, 8, 8], 10, 0.0, "a width of 0"),
        (Architecture::SmallCnn, [3, 8, 8], 10, f32::NAN, "a width of NaN"),
    ] {
        let error = architecture.build(input, classes, width, 0).expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn names_are_read_back_and_others_refused() {
    for architecture in Architecture::ALL {
        assert_eq!(
            architecture.to_string().parse::<Architecture>().expect("its name"),
            architecture
        );
    }
    let error = "vgg19".parse::<Architecture>().expect_err("no such network");
    assert!(error.to_string().contains("vgg16, model-a, resnet18, small-cnn"), "{error}");
}
