//! What changed up to opset 18.

use super::*;

#[test]
fn lists_of_integers_become_arguments() {
    for (from, op, attributes) in [
        (7, "Squeeze", vec!["axes"]),
        (11, "Unsqueeze", vec!["axes"]),
        (12, "ReduceSum", vec!["axes"]),
        (17, "ReduceMean", vec!["axes"]),
        (7, "ReduceLogSumExp", vec!["axes"]),
        (9, "Slice", vec!["starts", "ends", "axes"]),
        (10, "Pad", vec!["pads"]),
        (12, "Split", vec!["split"]),
    ] {
        let mut call = Op::new(op);
        for (i, name) in attributes.iter().enumerate() {
            call = call.with(name, vec![i as i64, 1]);
        }
        let graph = one(from, call);
        assert!(last(&graph).0.attributes.is_empty(), "{op}");
        for i in 0..attributes.len() {
            assert_eq!(integers(&graph, i + 1), [i as i64, 1], "{op}");
        }
    }
    let graph = one(9, Op::new("TopK").with("k", 3));
    assert_eq!(integers(&graph, 1), [3]);
}

#[test]
fn absent_axes_stay_absent() {
    let graph = one(12, Op::new("ReduceSum"));
    assert_eq!(graph.arguments(last(&graph).1).len(), 1);
    let op = Op::new("ReduceSum").with("axes", Tensor::scalar(1i64));
    assert!(refused(12, op).contains("attribute `axes` has a wrong type"));
}

#[test]
fn bounds_take_the_type_of_what_they_bound() {
    let graph = one(10, Op::new("Clip").with("max", 6.0));
    let arguments = graph.arguments(last(&graph).1);
    assert_eq!(arguments.len(), 3);
    assert_eq!(arguments[1], None);
    assert_eq!(graph.tensor(arguments[2].expect("max")), Some(&Tensor::scalar(6f32)));

    let double = model(10, Op::new("Clip").with("min", 0.0), Fact::new(DType::F64, &[2]), &[], 1);
    let graph = upgraded(double);
    let min = graph.argument(last(&graph).1, 1).expect("min");
    assert_eq!(graph.tensor(min), Some(&Tensor::scalar(0f64)));

    let unknown = model(10, Op::new("Clip").with("min", 0.0), Fact::default(), &[], 1);
    assert_eq!(operators(&upgraded(unknown)), ["CastLike", "Clip"]);
}

#[test]
fn dropout_keeps_its_ratio_as_an_argument() {
    let graph = one(7, Op::new("Dropout").with("ratio", 0.25));
    let ratio = graph.argument(last(&graph).1, 1).expect("ratio");
    assert_eq!(graph.tensor(ratio), Some(&Tensor::scalar(0.25f32)));
    let mut read = model(7, Op::new("Dropout"), image(), &[], 2);
    assert!(Upgrade.run(&mut read).expect_err("mask").to_string().contains("its mask is read"));
}

#[test]
fn batch_normalization_trains_if_it_had_more_outputs() {
    let op = Op::new("BatchNormalization").with("spatial", 1);
    let graph = one(8, op.clone());
    assert!(last(&graph).0.attributes.is_empty());

    let graph = upgraded(model(13, Op::new("BatchNormalization"), image(), &[], 3));
    assert_eq!(last(&graph).0.int("training_mode", 0), 1);

    let mut saved = model(13, Op::new("BatchNormalization"), image(), &[], 5);
    let error = Upgrade.run(&mut saved).expect_err("saved statistics");
    assert!(error.to_string().contains("saved statistics"), "{error}");
    let pixels = Tensor::full(&[3, 4, 5], 1f32).expect("ones");
    let pixels = [(); 4].map(|()| pixels.clone());
    let graph = upgraded(model(8, op.with("spatial", 0), image(), &pixels, 1));
    assert_eq!(operators(&graph), ["Add", "Sqrt", "Div", "Sub", "Mul", "Add"]);
}

#[test]
fn softmax_over_several_axes_goes_through_a_matrix() {
    for op in ["Softmax", "LogSoftmax", "Hardmax"] {
        let graph = one(12, Op::new(op));
        assert_eq!(operators(&graph), ["Shape", "Flatten", op, "Reshape"]);
        for axis in [3, -1] {
            let graph = one(12, Op::new(op).with("axis", axis));
            assert_eq!(operators(&graph), [op]);
            assert_eq!(last(&graph).0.int("axis", 0), -1);
        }
    }
    let unknown = model(12, Op::new("Softmax"), Fact::default(), &[], 1);
    assert_eq!(operators(&upgraded(unknown)).len(), 4);
    assert_eq!(last(&one(13, Op::new("Softmax").with("axis", 1))).0.int("axis", 0), 1);
}

#[test]
fn split_says_into_how_many() {
    let graph = upgraded(model(11, Op::new("Split").with("axis", 1), image(), &[], 3));
    assert_eq!(last(&graph).0.int("num_outputs", 0), 3);
}

#[test]
fn upsample_and_resize_keep_their_coordinates() {
    let scales = Tensor::vector(&[1f32, 1.0, 2.0, 2.0]);
    let upsample = Op::new("Upsample").with("scales", vec![1.0, 1.0, 2.0, 2.0]);
    for graph in [
        one(7, upsample),
        upgraded(model(9, Op::new("Upsample"), image(), std::slice::from_ref(&scales), 1)),
        upgraded(model(10, Op::new("Resize"), image(), std::slice::from_ref(&scales), 1)),
    ] {
        let (op, id) = last(&graph);
        assert_eq!(op.op_type, "Resize");
        assert_eq!(op.string("coordinate_transformation_mode"), Some("asymmetric"));
        assert_eq!(op.string("nearest_mode"), Some("floor"));
        assert_eq!(graph.argument(id, 1), None);
        assert_eq!(graph.tensor(graph.argument(id, 2).expect("scales")), Some(&scales));
    }
    let shrink = Tensor::vector(&[1f32, 1.0, 0.5, 0.5]);
    let graph = upgraded(model(10, Op::new("Resize"), image(), &[shrink], 1));
    assert_eq!(last(&graph).0.string("nearest_mode"), Some("ceil"));
    let mixed = Tensor::vector(&[1f32, 1.0, 0.5, 2.0]);
    let mut mixed = model(10, Op::new("Resize"), image(), &[mixed], 1);
    assert!(Upgrade.run(&mut mixed).expect_err("mixed").to_string().contains("shrinks another"));
}

#[test]
fn empty_tensors_of_resize_become_absent() {
    let empty = Tensor::vector::<f32>(&[]);
    let sizes = Tensor::vector(&[2i64, 3, 8, 10]);
    let op = Op::new("Resize")
        .with("coordinate_transformation_mode", "tf_half_pixel_for_nn")
        .with("nearest_mode", "floor");
    let graph = upgraded(model(11, op, image(), &[empty.clone(), empty, sizes], 1));
    let (op, id) = last(&graph);
    assert_eq!(op.string("coordinate_transformation_mode"), Some("half_pixel"));
    assert_eq!(op.string("nearest_mode"), Some("round_prefer_ceil"));
    assert_eq!([graph.argument(id, 1), graph.argument(id, 2)], [None, None]);
}

#[test]
fn renamed_operators_and_defaults() {
    assert_eq!(operators(&one(10, Op::new("Scatter"))), ["ScatterElements"]);
    let graph = one(10, Op::new("RoiAlign"));
    let mode = last(&graph).0.string("coordinate_transformation_mode");
    assert_eq!(mode, Some("output_half_pixel"));
}

#[test]
fn a_softmax_is_as_wide_as_what_it_gives() {
    let mut narrow = model(11, Op::new("Softmax").with("axis", 1), Fact::default(), &[], 1);
    let call = narrow.graph.outputs[0].value.node;
    narrow.graph.node_mut(call).outputs = vec![Fact::new(DType::F32, &[2, 3])];
    assert_eq!(operators(&upgraded(narrow)), ["Softmax"]);
    let unknown = model(11, Op::new("Softmax").with("axis", 1), Fact::default(), &[], 1);
    assert_eq!(operators(&upgraded(unknown)), ["Shape", "Flatten", "Softmax", "Reshape"]);
}

#[test]
fn scales_may_be_computed_from_constants() {
    let mut graph = Graph::new("test");
    let x = graph.input("x", Role::Data, image());
    let [ones, twos] = [1f32, 2.0].map(|v| {
        let name = format!("{v}");
        Some(graph.initializer(&name, Tensor::vector(&[v; 2])))
    });
    let concat = Op::new("Concat").with("axis", 0i64);
    let scales = graph.op("scales", concat, &[ones, twos], vec![Fact::default()]);
    let resize = Op::new("Resize").with("mode", "nearest");
    let y = graph.op("y", resize, &[Some(x), Some(scales.into())], vec![Fact::default()]);
    graph.output("y", y.into());
    let mut model = Model::new(graph);
    model.opsets.insert(String::new(), 10);
    let graph = upgraded(model);
    assert_eq!(last(&graph).0.string("nearest_mode"), Some("floor"));
}
