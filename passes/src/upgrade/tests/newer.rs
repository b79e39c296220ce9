//! What changed after opset 18.

use super::*;

#[test]
fn newer_operators_become_older_ones() {
    assert_eq!(operators(&one(20, Op::new("Gelu"))), ["Mul", "Erf", "Add", "Mul", "Mul"]);
    assert!(operators(&one(20, Op::new("Gelu").with("approximate", "tanh"))).contains(&"Tanh"));
    assert_eq!(operators(&one(24, Op::new("Swish"))), ["Sigmoid", "Mul"]);
    assert_eq!(operators(&one(24, Op::new("Swish").with("alpha", 2.0))), ["Mul", "Sigmoid", "Mul"]);
    let channels = Tensor::vector(&[1f32, 2.0, 3.0]);
    let group = Op::new("GroupNormalization").with("num_groups", 1);
    let graph = upgraded(model(21, group, image(), &[channels.clone(), channels], 1));
    assert!(operators(&graph).contains(&"InstanceNormalization"));
    let scale = Tensor::vector(&[1f32; 5]);
    let rms = model(23, Op::new("RMSNormalization"), image(), &[scale], 1);
    assert!(operators(&upgraded(rms)).contains(&"ReduceMean"));
    let graph = one(20, Op::new("GridSample").with("mode", "cubic"));
    assert_eq!(last(&graph).0.string("mode"), Some("bicubic"));
}

#[test]
fn newer_attributes_are_dropped_if_they_change_nothing() {
    let cast = |saturate: i64| Op::new("Cast").with("to", 1).with("saturate", saturate);
    let graph = one(19, cast(1));
    assert!(!last(&graph).0.attributes.contains_key("saturate"));
    assert!(refused(19, cast(0)).contains("opset 19 brought `saturate`"));
    let pool = |d: i64| Op::new("AveragePool").with("dilations", vec![d, d]);
    assert!(last(&one(22, pool(1))).0.attributes.is_empty());
    assert!(refused(22, pool(2)).contains("dilated"));
    assert!(refused(19, Op::new("Pad").with("mode", "wrap")).contains("`wrap`"));
    assert!(refused(28, Op::new("Mod")).contains("fmod=1 only"));
    assert_eq!(operators(&one(28, Op::new("Mod").with("fmod", 1))), ["Mod"]);
}
