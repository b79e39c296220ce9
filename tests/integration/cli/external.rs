//! Weights in a file of their own.

use std::fs;

use super::Place;

#[test]
fn weights_go_beside_the_model_and_back() {
    let place = Place::with_models();
    let read = |name: &str| fs::read(place.path(name)).expect(name);
    let nodes = |name: &str| place.json(&format!("inspect {name} --json"))["parameters"].clone();
    for command in [
        "convert net.onnx -o out/model.onnx --external-data",
        "gradient net.onnx -o out/model.onnx --external-data",
        "export bayes.onnx -o out/model.onnx --external-data 64",
    ] {
        fs::create_dir_all(place.path("out")).expect("a folder");
        place.succeeds(command);
        let data = read("out/model.onnx.data");
        assert!(!data.is_empty(), "{command}");
        nodes("out/model.onnx");
        fs::remove_dir_all(place.path("out")).expect("removed");
    }

    place.succeeds("convert net.onnx -o two.onnx --layers none --external-data");
    let (model, data) = (read("two.onnx"), read("two.onnx.data"));
    assert!(model.len() < read("net.onnx").len());
    assert_eq!(nodes("two.onnx"), nodes("net.onnx"));
    // Without the flag they stay where they are, here and in another folder.
    fs::create_dir(place.path("folder")).expect("a folder");
    place.succeeds("convert two.onnx -o folder/copy.onnx --layers none");
    assert_eq!((read("folder/copy.onnx"), read("folder/two.onnx.data")), (model, data));
    // A threshold that no weight reaches brings all of them into one file.
    place.succeeds("convert two.onnx -o one.onnx --layers none --external-data 1000000000");
    assert!(!place.path("one.onnx.data").exists());
    assert_eq!(read("one.onnx"), read("net.onnx"));
    let refused = place.advbnn("convert net.onnx -o x.onnx --external-data much").output();
    assert_eq!(refused.expect("it runs").status.code(), Some(2));
}
