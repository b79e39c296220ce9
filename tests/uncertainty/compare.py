"""Compares the figures of `evaluate` with scikit-learn, SciPy, statsmodels and torchmetrics.

    pip install -r tests/uncertainty/requirements.txt
    cargo build --example uncertainty
    python tests/uncertainty/compare.py target/debug/examples/uncertainty

Random draws of random ensembles go through both; every figure has to agree to 1e-6.
"""

import json
import subprocess
import sys

import numpy as np
import torch
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from statsmodels.stats.proportion import proportion_confint
from torchmetrics.functional.classification import multiclass_calibration_error

TOLERANCE = 1e-6


def ensemble(rng, draws, images, classes, scale):
    """Softmax of logits that have a common part and one of each draw: [draws, images, classes]."""
    logits = scale * rng.normal(size=(1, images, classes)) + rng.normal(size=(draws, images, classes))
    return np.exp(logits - np.logaddexp.reduce(logits, axis=2, keepdims=True)).astype(np.float32)


def expected(draws, labels, foreign):
    """Every figure by someone else's code."""

    def scores(draws):
        mean = draws.astype(np.float64).mean(axis=0)
        predictive = entropy(mean, axis=1)
        expectation = entropy(draws.astype(np.float64), axis=2).mean(axis=0)
        return mean, predictive, expectation

    mean, predictive, expectation = scores(draws)
    far_mean, far_predictive, far_expectation = scores(foreign)
    classes = mean.shape[1]
    truth = np.eye(classes)[labels]
    votes = draws.argmax(axis=2)
    counts = np.stack([(votes == c).sum(axis=0) for c in range(classes)], axis=1)
    most = counts == counts.max(axis=1, keepdims=True)
    majority = np.where(most, mean, -1.0).argmax(axis=1)
    pairs = [votes[i] != votes[j] for i in range(len(votes)) for j in range(i)]
    right = int((mean.argmax(axis=1) == labels).sum())
    low, high = proportion_confint(right, len(labels), method="wilson")

    def area(far, near):
        return roc_auc_score(np.r_[np.ones(len(far)), np.zeros(len(near))], np.r_[far, near])

    ece = multiclass_calibration_error(
        torch.from_numpy(mean), torch.from_numpy(labels), classes, n_bins=15, norm="l1"
    )
    return {
        "accuracy": 100 * accuracy_score(labels, mean.argmax(axis=1)),
        "vote_accuracy": 100 * accuracy_score(labels, majority),
        # It divides by the sum of the probabilities, which in float32 is not quite 1.
        "nll": log_loss(labels, mean, labels=np.arange(classes)) - np.log(mean.sum(axis=1)).mean(),
        "brier": ((mean - truth) ** 2).sum(axis=1).mean(),
        "ece": float(ece),
        "predictive_entropy": predictive.mean(),
        "expected_entropy": expectation.mean(),
        "mutual_information": np.maximum(predictive - expectation, 0).mean(),
        "disagreement": np.mean(pairs) if pairs else 0.0,
        "low": 100 * low,
        "high": 100 * high,
        "auroc predictive_entropy": area(far_predictive, predictive),
        "auroc mutual_information": area(far_predictive - far_expectation, predictive - expectation),
        "auroc confidence": area(1 - far_mean.max(axis=1), 1 - mean.max(axis=1)),
    }


def main(program):
    rng = np.random.default_rng(0)
    worst = {}
    for case in range(20):
        count, classes = int(rng.integers(2, 30)), int(rng.integers(2, 12))
        images, scale = int(rng.integers(20, 400)), float(rng.uniform(0.2, 4))
        draws = ensemble(rng, count, images, classes, scale)
        foreign = ensemble(rng, count, 50, classes, scale / 2)
        labels = np.where(
            rng.random(images) < 0.7, draws.mean(axis=0).argmax(axis=1), rng.integers(0, classes, images)
        )
        given = {"draws": draws.tolist(), "labels": labels.tolist(), "foreign": foreign.tolist()}
        found = subprocess.run([program], input=json.dumps(given), capture_output=True, text=True, check=True)
        found = json.loads(found.stdout)
        flat = dict(found["figures"], low=found["interval"][0], high=found["interval"][1])
        flat.update({f"auroc {name}": area for name, area in found["auroc"].items()})
        for name, value in expected(draws, labels, foreign).items():
            worst[name] = max(worst.get(name, 0.0), abs(value - flat[name]))
    for name, difference in worst.items():
        print(f"{name:28} {difference:.1e} {'' if difference <= TOLERANCE else 'TOO FAR'}")
    sys.exit(any(difference > TOLERANCE for difference in worst.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])
