//! Command lines that make no sense: exit code 2, before anything is read or written.

use super::{Place, write_idx};

#[test]
fn clap_refuses_what_it_does_not_know() {
    let place = Place::new();
    for arguments in ["", "frobnicate", "new small-cnn", "inspect a.onnx --engine torch"] {
        let output = place.advbnn(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "advbnn {arguments}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "advbnn {arguments}");
    }
    for arguments in ["--help", "--version", "train --help"] {
        assert!(!place.succeeds(arguments).is_empty());
    }
}

#[test]
fn values_that_make_no_sense_are_named_with_what_to_give() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "train", 6, 8);
    write_idx(&place.path("data"), "t10k", 6, 8);
    let evaluate = "evaluate bayes.onnx --data data --engine tract";
    let train = "train bayes.onnx --data data -o run --engine tract";
    for (arguments, parts) in [
        ("new vgg -o out.onnx".to_owned(), ["`vgg`", "vgg16, model-a"]),
        ("new vgg16 -o out.onnx --input 3x32".to_owned(), ["--input 3x32", "3x32x32"]),
        ("new vgg16 -o out.onnx --input 3x9x9".to_owned(), ["9x9", "at least 32x32"]),
        ("convert net.onnx -o out.onnx --layers dense".to_owned(), ["--layers", "conv, linear"]),
        ("convert net.onnx -o out.onnx --include (".to_owned(), ["--include `(`", "unclosed"]),
        ("convert net.onnx -o out.onnx --init-s 0".to_owned(), ["--init-s 0", "positive"]),
        ("convert net.onnx -o out.onnx --normalize .5".to_owned(), ["--normalize", "MEAN/STD"]),
        ("export bayes.onnx -o out.onnx --mode random".to_owned(), ["--mode random", "frozen"]),
        ("export bayes.onnx -o out.onnx --samples 0".to_owned(), ["--samples 0", "at least one"]),
        ("compile bayes.onnx -o out --batch 0".to_owned(), ["--batch 0", "at least one"]),
        (format!("{evaluate} --eps 2"), ["--eps 2", "8/255"]),
        (format!("{evaluate} --attack deepfool"), ["`deepfool`", "fgsm, pgd"]),
        (format!("{evaluate} --attack pgd:eot=0"), ["`eot`", "whole number"]),
        (format!("{evaluate} --split val"), ["--split val", "train or test"]),
        (format!("{train} --defense magic"), ["`magic`", "adv-bnn"]),
        (format!("{train} --schedule fast"), ["--schedule", "cosine"]),
        (format!("{train} --preset paper"), ["--preset paper", "paper-cifar10"]),
        (format!("{train} --kl-scope some"), ["--kl-scope some", "last-layer"]),
        (format!("{train} --prior mixture:1,2"), ["--prior", "mixture:SHARE,STD,STD"]),
        (format!("{train} --estimator flipout"), ["--estimator flipout", "weights or local"]),
        (
            format!("{train} --estimator local --prior spike-and-slab:0.5,0.1"),
            ["--estimator local", "spike-and-slab"],
        ),
        ("reproduce table9 --data data -o out".to_owned(), ["table9", "tradeoff"]),
        ("reproduce table1 --preset mnist --data data -o out".to_owned(), ["mnist", "fashion"]),
        (
            "reproduce table1 --preset cifar10-small --data data -o out".to_owned(),
            ["cifar10-small", "--pretrained FILE"],
        ),
        (
            "evaluate net.onnx --data data --surrogate a.onnx".to_owned(),
            ["--surrogate", "--budget"],
        ),
        (format!("{train} --loss hinge"), ["--loss hinge", "trades"]),
        (format!("{train} --trades-beta 3"), ["--trades-beta", "--loss trades"]),
        (format!("{train} --defense bnn --loss trades"), ["`bnn`", "adv-bnn"]),
        (format!("{train} --label-smoothing 2"), ["--label-smoothing 2", "0 to 1"]),
        (format!("{train} --fast --steps 5"), ["--fast", "--steps"]),
        (format!("{train} --holdout-steps 5"), ["--holdout-steps", "--holdout N"]),
        (format!("{train} --holdout 3 --on-collapse cry"), ["--on-collapse cry", "stop or warn"]),
        (format!("{train} --defense rse --noise x,y"), ["--noise x,y", "FIRST,LATER"]),
    ] {
        place.fails(2, &arguments, &parts);
    }
}

#[test]
fn flags_are_looked_at_before_files() {
    let place = Place::new();
    for (arguments, part) in [
        ("convert no.onnx -o out.onnx --prior 0", "--prior 0"),
        ("convert no.onnx -o out.onnx --normalize .5", "--normalize"),
        ("convert no.onnx -o out.onnx --dim N", "--dim"),
        ("gradient no.onnx -o out.onnx --dim N=1000000000000000000", "SIZE is 1 to 2147483647"),
        ("inspect no.onnx --dim N=0", "SIZE is 1 to"),
        ("export no.onnx -o out.onnx --mode random", "--mode random"),
        ("compile no.onnx -o out --batch 0", "--batch 0"),
        ("bench no.onnx --defense magic", "`magic`"),
        ("predict no.onnx a.png --normalize .5", "--normalize"),
        ("train no.onnx --data no -o run --split val", "--split val"),
        ("train no.onnx --data no -o run --lr NaN", "learning rate: NaN"),
        ("train no.onnx --data no -o run --alpha 1e400", "alpha: inf"),
        ("train no.onnx --data no -o run --ema 1", "EMA: the decay 1"),
        ("train no.onnx --data no -o run --batch 0", "batch: 0"),
        ("train no.onnx --data no -o run --steps 0", "steps"),
        ("train no.onnx --data no -o run --holdout 5 --holdout-steps 0", "--holdout-steps 0"),
        ("train no.onnx --data no -o run --holdout 5 --holdout-draws 0", "--holdout-draws 0"),
        ("predict no.onnx a.png --samples 100001", "--samples is 1 to 100000"),
        ("bench no.onnx --samples 100001", "--samples is 1 to 100000"),
        ("reproduce table1 --preset fashion --data no -o out --samples 100001", "--samples is 1"),
        ("reproduce fig3 --preset fashion --data no -o out --samples 100001", "--samples is 1"),
        ("reproduce fig4 --preset fashion --data no -o out --epochs 1000001", "epochs: 1000001"),
        ("train no.onnx --data no -o run --normalize .5", "--normalize"),
        ("evaluate no.onnx --data no --split val", "--split val"),
        ("evaluate no.onnx --data no --normalize .5", "--normalize"),
        ("transfer no.onnx --data no --eps 0.1 --split val", "--split val"),
    ] {
        place.fails(2, arguments, &[part]);
    }
    // Nor are images, where a model is missing.
    let place = Place::with_models();
    let missing = "--attack transfer:from=no.onnx";
    place.fails(1, &format!("evaluate net.onnx --data no {missing}"), &["no.onnx"]);
    let resumed = "evaluate net.onnx --data no -o typo --resume";
    place.fails(1, resumed, &["typo", "no evaluation to resume"]);
    // A folder that cannot be made is told before images are read and anything is computed for it,
    // and one that was made for nothing goes again.
    for line in [
        "transfer net.onnx --data no --eps 0.1 --engine tract",
        "evaluate net.onnx --data no --engine tract",
        "train bayes.onnx --data no --engine tract",
    ] {
        let made = "the folder cannot be made; name another";
        place.fails(1, &format!("{line} -o net.onnx"), &["net.onnx", made]);
        place.fails(1, &format!("{line} -o made/for/nothing"), &["no: "]);
        assert!(!place.path("made").exists(), "{line}");
    }
    place.fails(1, "compile bayes.onnx -o net.onnx", &["net.onnx", "the folder cannot be made"]);
}

#[test]
fn a_model_of_the_wrong_kind_is_told_what_to_do() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "train", 6, 8);
    let data = "--data data -o run --engine tract";
    place.fails(1, &format!("train net.onnx {data}"), &["net.onnx", "run `advbnn convert` first"]);
    place.fails(1, &format!("train bayes.onnx {data} --defense adv"), &["bayes.onnx", "bnn"]);
    place.fails(1, "export net.onnx -o out.onnx", &["net.onnx", "--mode mean"]);
    place.fails(1, "convert net.onnx -o out.onnx --include zzz", &["net.onnx", "inspect"]);
    place.fails(1, "gradient net.onnx -o out.onnx --wrt zzz", &["net.onnx", "`zzz`", "inspect"]);
}
