//! Data and pictures that do not fit, and engines that are not there.

use std::fs;

use super::{Place, write_idx};

#[test]
fn images_of_another_size_than_the_model_takes() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "t10k", 6, 9);
    write_idx(&place.path("data"), "train", 6, 9);
    let parts = ["data", "1x9x9", "1x8x8", "convert them"];
    place.fails(1, "evaluate bayes.onnx --data data --engine tract", &parts);
    place.fails(1, "train bayes.onnx --data data -o run --engine tract", &parts);

    image::GrayImage::new(9, 8).save(place.path("wide.png")).expect("written");
    let parts = ["wide.png", "8x9", "8x8", "resize it"];
    place.fails(1, "predict bayes.onnx wide.png --engine tract", &parts);
    fs::write(place.path("text.png"), b"no picture").expect("written");
    place.fails(1, "predict bayes.onnx text.png --engine tract", &["text.png", "not an image"]);
}

#[test]
fn a_label_that_the_model_has_no_class_for() {
    let place = Place::with_models();
    for split in ["train", "t10k"] {
        write_idx(&place.path("photos"), split, 6, 8);
        let labels = [0, 0, 8, 1, 0, 0, 0, 6, 0, 1, 2, 0, 7, 2];
        fs::write(place.path("photos").join(format!("{split}-labels")), labels).expect("written");
    }
    let parts = ["photos", "item 4", "label 7", "3 classes", "labels 0 to 2"];
    place.fails(1, "evaluate bayes.onnx --data photos --engine tract", &parts);
    let training = place.advbnn("train bayes.onnx --data photos -o run --engine tract").output();
    let line = super::error_line(&training.expect("it runs"), 1, "train");
    assert!(parts.iter().all(|part| line.contains(part)), "{line}");
}

#[test]
fn a_damaged_label_file_an_empty_folder_and_none() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "t10k", 6, 8);
    let labels = place.path("data/t10k-labels");
    let whole = fs::read(&labels).expect("a file");
    fs::write(&labels, &whole[..whole.len() - 1]).expect("written");
    let evaluate = |data: &str| format!("evaluate bayes.onnx --engine tract --data {data}");
    place.fails(1, &evaluate("data"), &["data/t10k-labels", "promises 6 bytes, the file has 5"]);
    fs::create_dir(place.path("empty")).expect("a folder");
    place.fails(1, &evaluate("empty"), &["empty", "no data recognised", "CIFAR-10 binary"]);
    place.fails(1, &evaluate("nowhere"), &["nowhere", "No such file"]);
}

#[test]
fn a_library_that_is_not_there_is_never_replaced_silently() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "t10k", 6, 8);
    for engine in ["ort", "auto"] {
        let arguments = format!("evaluate bayes.onnx --data data --engine {engine}");
        let mut command = place.advbnn(&arguments);
        let output = command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so").output();
        let line = super::error_line(&output.expect("it runs"), 1, &arguments);
        for part in ["/nowhere/libonnxruntime.so", "ORT_DYLIB_PATH", "correct or unset it"] {
            assert!(line.contains(part), "{line}");
        }
    }
    let cuda = "evaluate bayes.onnx --data data --engine tract --provider cuda";
    let output = place.advbnn(cuda).output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("use the engine ort"));
}
