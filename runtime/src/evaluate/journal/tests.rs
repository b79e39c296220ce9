#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;

use super::*;

fn range(key: &str) -> Range {
    let seen = Seen::as_right(false, &[true], 0.1);
    Range { key: key.to_owned(), seen: vec![seen], pictures: Vec::new() }
}

fn get<'j>(journal: &'j Journal, key: &str) -> Option<&'j Range> {
    journal.get(key, 1).unwrap()
}

/// An evaluation that was stopped after the ranges `a` and `b`, and its folder.
fn stopped() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let mut journal = Journal::open(&path, "this", false).unwrap();
    journal.put(&range("a")).unwrap();
    journal.put(&range("b")).unwrap();
    (folder, path)
}

#[test]
fn finished_ranges_are_found_again_and_cut_off_ones_are_not() {
    let (_folder, path) = stopped();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 9]).unwrap();

    let mut journal = Journal::open(&path, "this", true).unwrap();
    assert_eq!(get(&journal, "a"), Some(&range("a")));
    assert_eq!(get(&journal, "b"), None);
    assert!(journal.get("a", 2).unwrap_err().to_string().contains("`a` has 1 images"));
    journal.put(&range("b")).unwrap();
    drop(journal);
    let journal = Journal::open(&path, "this", true).unwrap();
    assert_eq!(get(&journal, "b"), Some(&range("b")));
}

#[test]
fn another_evaluation_is_refused_but_for_a_fresh_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    Journal::open(&path, "this", false).unwrap().put(&range("a")).unwrap();
    let error =
        |evaluation, resume| Journal::open(&path, evaluation, resume).unwrap_err().to_string();
    for (evaluation, resume) in [("that", true), ("that", false), ("this", false)] {
        let error = error(evaluation, resume);
        assert!(error.contains("progress.jsonl") && error.contains("--resume"), "{error}");
    }
    Journal::open(&path, "this", true).unwrap().finish().unwrap();
    assert!(error("that", true).contains("--resume"));
    assert_eq!(get(&Journal::open(&path, "that", false).unwrap(), "a"), None);
}

#[test]
fn what_is_damaged_or_cannot_be_read_is_an_error_and_stays() {
    let (folder, path) = stopped();
    let text = fs::read_to_string(&path).unwrap();
    let damaged = text.replacen("\"key\":\"a\"", "\"key\":\"a", 1);
    for resume in [true, false] {
        fs::write(&path, &damaged).unwrap();
        let error = Journal::open(&path, "this", resume).unwrap_err().to_string();
        assert!(error.contains("line 2 is damaged"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    }
    let error = Journal::open(folder.path(), "this", true).unwrap_err().to_string();
    assert!(!error.contains("another model"), "{error}");
}

#[test]
fn where_nothing_is_there_nothing_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let error = Journal::open(&path, "this", true).unwrap_err().to_string();
    assert!(error.contains("progress.jsonl") && error.contains("no evaluation"), "{error}");
    assert!(!path.exists());
}

#[test]
fn pictures_have_as_many_pixels_as_their_shape_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let judged = range("a").seen[0].judged;
    let picture = Pictured {
        shape: [1, 1, 2],
        clean: vec![0, 255],
        added: vec![0, -127],
        attacked: vec![0, 128],
        before: judged,
        after: judged,
    };
    let noted = Range { pictures: vec![picture], ..range("a") };
    let mut journal = Journal::open(&path, "this", false).unwrap();
    journal.put(&noted).unwrap();
    assert_eq!(get(&Journal::open(&path, "this", true).unwrap(), "a"), Some(&noted));
    let text = fs::read_to_string(&path).unwrap();
    for (right, wrong) in [
        ("[1,1,2]", "[1,1,3]"),
        ("[1,1,2]", "[1,4294967296,4294967296]"),
        ("[1,1,2]", "[1,0,2]"),
        ("[0,255]", "[0]"),
        ("[0,-127]", "[0,-127,1]"),
        ("[0,128]", "[]"),
    ] {
        assert!(text.contains(right), "{text}");
        fs::write(&path, text.replacen(right, wrong, 1)).unwrap();
        let error = Journal::open(&path, "this", true).unwrap_err().to_string();
        assert!(error.contains("line 2 is damaged (a picture"), "{wrong}: {error}");
    }
}

/// A full disk or a kill while the file is rewritten leaves the one that was there.
#[test]
fn resuming_never_leaves_less_than_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    Journal::open(&path, "this", false).unwrap().put(&range("a")).unwrap();
    let before = fs::read(&path).unwrap();
    // Nothing can be written beside it.
    fs::create_dir(folder.path().join("progress.jsonl.partial")).unwrap();
    assert!(Journal::open(&path, "this", true).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
}
