//! What is said of single images.

use super::*;

#[test]
fn a_line_for_every_image_under_every_attack() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("per_example.csv");
    let settings = settings(&["pgd:steps=3,eot=2"]);
    evaluated(engine, Some(0.5), &settings, None).unwrap().write_csv(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows.len(), 1 + N + 3 * N + 6);
    // What is said of foreign images does not depend on a label.
    let of_label =
        ["label", "right", "probability", "nll", "brier", "single_draw", "right_over_seeds"];
    let names = rows[0].split(',');
    for (name, cell) in names.zip(rows[1 + 4 * N].split(',')).skip(4) {
        assert_eq!(cell.is_empty(), of_label.contains(&name), "{name}: `{cell}`");
    }
    let columns = rows[0].split(',').count();
    // The only comma inside a field is that of the attack's options.
    assert!(rows[1..=N].iter().all(|row| row.split(',').count() == columns));
    assert!(rows[1 + N].starts_with("attacked,\"pgd:steps=3,eot=2\",linf,0,0,"));
}

/// A picture says what the line of its image says.
#[test]
fn pictures_and_lines_are_of_the_same_predictions() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("per_example.csv");
    let evaluation = evaluated(engine, Some(2.0), &settings(&["pgd:steps=3,eot=2"]), None).unwrap();
    evaluation.write_csv(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!evaluation.pictures.is_empty());
    for Pictured { before, after, .. } in &evaluation.pictures {
        for (kind, judged) in [("clean", before), ("attacked", after)] {
            let figures = format!(",{},{},", judged.confidence, judged.probability);
            let mut lines = text.lines().filter(|line| line.starts_with(kind));
            assert!(lines.any(|line| line.contains(&figures)), "{kind} {figures}");
        }
    }
}

#[test]
fn foreign_images_are_predicted_under_one_seed() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let notes = Some(Notes { path: &path, about: "this", resume: false });
    evaluated(engine, Some(0.5), &settings(&[]), notes).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let seeds = |kind: &str| {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{{\"key\":\"{kind}"))).unwrap();
        let range: serde_json::Value = serde_json::from_str(line).unwrap();
        range["seen"][0]["seeds"].as_array().unwrap().len()
    };
    assert_eq!((seeds("images"), seeds("foreign images")), (2, 0));
}
