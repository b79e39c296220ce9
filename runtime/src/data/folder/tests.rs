#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::sync::Mutex;

use image::{GrayImage, Luma, Rgb, RgbImage};

use super::super::{Answer, load, load_images};
use super::*;

/// Writes pictures of one value, the first three by content in formats their names deny.
fn pictures(files: &[(&str, u8)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, value) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(4, 3, Luma([*value]))
            .save_with_format(&path, image::ImageFormat::Png)
            .unwrap();
    }
    root
}

fn train(root: &Path) -> Result<Dataset> {
    load(root, &Request::new(Split::Train))
}

fn failure(root: &Path) -> String {
    train(root).expect_err("bad data").to_string()
}

fn colour() -> RgbImage {
    RgbImage::from_fn(4, 3, |x, y| Rgb([x as u8, 10 + y as u8, 200]))
}

#[test]
fn labels_count_the_sorted_class_names_of_all_splits() {
    let root = pictures(&[
        ("train/cat/1.png", 1),
        ("train/ant/1.jpg", 2),
        ("train/dog/1.png", 3),
        ("val/dog/1.png", 4),
        ("README.png", 0),
    ]);
    let train = train(root.path()).unwrap();
    assert_eq!((train.labels(), train.shape()), (&[0, 1, 2][..], [1, 3, 4]));
    assert_eq!(train.class_names(), ["ant", "cat", "dog"]);
    assert_eq!(train.image(0), Some(&[2; 12][..]));
    assert_eq!(load(root.path(), &Request::new(Split::Test)).unwrap().labels(), [2]);
    assert!(train.check(Answer::Class(3)).is_ok());
    let error = train.check(Answer::Class(2)).unwrap_err().to_string();
    assert!(error.contains("item 2 has label 2 (`dog`)"), "{error}");
}

#[test]
fn class_folders_alone_serve_as_either_split() {
    let root = pictures(&[("a/1", 1), ("b/1", 2)]);
    let test = load(root.path(), &Request::new(Split::Test)).unwrap();
    assert_eq!(test, train(root.path()).unwrap());
}

#[test]
fn every_beginning_holds_the_classes_in_proportion() {
    let names: Vec<String> =
        (0..12).map(|i| format!("{}/{i:02}", if i < 8 { "many" } else { "few" })).collect();
    let files: Vec<(&str, u8)> =
        names.iter().zip(0..).map(|(name, i)| (name.as_str(), i)).collect();
    let root = pictures(&files);
    let all = train(root.path()).unwrap();
    assert_eq!(all.labels(), [1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1]);
    let seen = Mutex::new(Vec::new());
    let progress = |done, of| seen.lock().unwrap().push((done, of));
    let request = Request { limit: Some(6), progress: &progress, ..Request::new(Split::Train) };
    let some = load(root.path(), &request).unwrap();
    assert_eq!(some.labels(), &all.labels()[..6]);
    assert_eq!(some.image(5), all.image(5));
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), (1..=6).map(|done| (done, 6)).collect::<Vec<_>>());
}

#[test]
fn one_coloured_picture_makes_three_planes_of_all() {
    let root = pictures(&[("a/1", 7), ("b/1", 8)]);
    colour().save(root.path().join("b/2.bmp")).unwrap();
    let all = train(root.path()).unwrap();
    assert_eq!((all.shape(), all.image(1)), ([3, 3, 4], Some(&[7; 36][..])));
    let coloured = (0..3).find(|&i| all.image(i).unwrap()[24] == 200).expect("the coloured one");
    let image = all.image(coloured).unwrap();
    assert_eq!((&image[..4], image[12], image[23]), (&[0, 1, 2, 3][..], 10, 12));
    let grey = Request { shape: Some([1, 3, 4]), ..Request::new(Split::Train) };
    assert_eq!(load(root.path(), &grey).unwrap().shape(), [1, 3, 4]);
    let four = Request { shape: Some([4, 3, 4]), ..Request::new(Split::Train) };
    assert!(load(root.path(), &four).unwrap_err().to_string().contains("1 or 3 channels"));
}

#[test]
fn defects_name_the_file() {
    let png = |width, height| {
        let mut file = std::io::Cursor::new(Vec::new());
        GrayImage::new(width, height).write_to(&mut file, image::ImageFormat::Png).unwrap();
        file.into_inner()
    };
    let mut huge = png(4, 3);
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    for (content, expected) in [
        (png(5, 3), "3x5 (height x width), but 3x4 is wanted"),
        (png(4, 3)[..50].to_vec(), "cannot be decoded"),
        (b"GIF89a".to_vec(), "cannot be decoded"),
        (b"notes".to_vec(), "not an image"),
        (Vec::new(), "not an image"),
        (huge, "b/bad: "),
    ] {
        let root = pictures(&[("a/1", 7), ("b/1", 8)]);
        fs::write(root.path().join("b/bad"), content).unwrap();
        fs::write(root.path().join("b/.hidden"), b"skipped").unwrap();
        let error = failure(root.path());
        assert!(error.contains("b/bad") && error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn folders_without_pictures_are_refused() {
    let root = tempfile::tempdir().unwrap();
    assert!(failure(root.path()).contains("no data recognised"));
    fs::create_dir_all(root.path().join("test/a")).unwrap();
    assert!(failure(root.path()).contains("no folder for the train split"));
    fs::create_dir_all(root.path().join("train/a")).unwrap();
    assert!(failure(root.path()).contains("no images"));
    fs::create_dir_all(root.path().join("train/a/nested")).unwrap();
    assert!(failure(root.path()).contains("nested: not a file"));
    assert!(failure(&root.path().join("missing")).contains("missing"));
}

#[cfg(unix)]
#[test]
fn links_in_a_loop_are_errors_and_not_a_hang() {
    let root = pictures(&[("train/a/1", 7)]);
    let link = root.path().join("train/a/loop");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    std::os::unix::fs::symlink(root.path(), root.path().join("train/up")).unwrap();
    assert!(failure(root.path()).contains("train/"));
}

#[test]
fn single_pictures_are_found_by_path_and_must_fit() {
    let root = pictures(&[("grey", 7)]);
    let coloured = root.path().join("coloured");
    colour().save_with_format(&coloured, image::ImageFormat::Png).unwrap();
    let paths = [root.path().join("grey"), coloured];
    let images = load_images(&paths, [3, 3, 4]).unwrap();
    assert_eq!((images.len(), images.image(0)), (2, Some(&[7; 36][..])));
    assert_eq!(images.image(1).map(|image| [image[1], image[12], image[35]]), Some([1, 10, 200]));
    let error = load_images(&paths, [3, 32, 32]).unwrap_err().to_string();
    assert!(error.contains("3x4") && error.contains("32x32"), "{error}");
    assert!(load_images(&paths, [3, 0, 4]).is_err());
    assert!(load_images(&[], [3, 3, 4]).is_err());
    assert!(load_images(&[root.path().to_owned()], [3, 3, 4]).is_err());
}
