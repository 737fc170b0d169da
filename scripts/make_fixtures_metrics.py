"""Writes tests/fixtures/metrics/classification.json: random problems and scikit-learn's results.

    python scripts/make_fixtures_metrics.py        # needs numpy, scikit-learn

Scores are rounded to two digits, so that ties are common; one problem lacks a class.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "metrics" / "classification.json"


def averages(truth, predicted, labels):
    def averaged(how):
        values = precision_recall_fscore_support(truth, predicted, labels=labels, average=how, zero_division=0)
        return [float(v) for v in values[:3]]

    each = precision_recall_fscore_support(truth, predicted, labels=labels, average=None, zero_division=0)
    return {"macro": averaged("macro"), "micro": averaged("micro"), "per_class": np.stack(each, 1).tolist()}


def one_against_rest(metric, truth, scores):
    """None if the metric is undefined."""
    defined = lambda t: t.any() and (metric is average_precision_score or not t.all())
    return [float(metric(t, s)) if defined(t) else None for t, s in zip(truth.T, scores.T)]


def problem(rng, images, classes, multi_label, absent=None):
    scores = rng.random((images, classes))
    if multi_label:
        truth = rng.random((images, classes)) < 0.3
    else:
        usable = [c for c in range(classes) if c != absent]
        truth = np.eye(classes, dtype=bool)[rng.choice(usable, images)]
    # Better than chance, so that nothing is symmetric by accident.
    scores = np.round(np.clip(scores + 0.3 * truth - 0.1, 0, 1), 2)
    out = {"multi_label": multi_label, "truth": [np.flatnonzero(t).tolist() for t in truth], "scores": scores.tolist()}
    if multi_label:
        predicted = scores >= 0.5
        out |= averages(truth, predicted, list(range(classes)))
        out["accuracy"] = float(accuracy_score(truth, predicted))
    else:
        true_index, predicted = truth.argmax(1), scores.argmax(1)
        out |= averages(true_index, predicted, list(range(classes)))
        out["accuracy"] = float(accuracy_score(true_index, predicted))
        out["confusion"] = confusion_matrix(true_index, predicted, labels=list(range(classes))).tolist()
    out["auroc"] = one_against_rest(roc_auc_score, truth, scores)
    out["average_precision"] = one_against_rest(average_precision_score, truth, scores)
    return out


rng = np.random.default_rng(0)
problems = [
    problem(rng, 60, 2, False),
    problem(rng, 80, 5, False),
    problem(rng, 40, 4, False, absent=2),
    problem(rng, 70, 4, True),
    problem(rng, 12, 2, True),
]
OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(json.dumps({"scikit_learn": sklearn.__version__, "problems": problems}) + "\n")
