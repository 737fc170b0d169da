"""Writes plugins/mask2former/tests/several_objects.json: one layer's matching and losses, as mmdet computes them.

    python scripts/make_fixtures_mask2former.py        # needs numpy, scipy

Follows mmdet's `Mask2FormerHead` step by step in fp64: `_get_targets_single` (costs at drawn points, the
Hungarian assignment, positive queries in ascending order, as `MaskPseudoSampler` lists them) and
`_loss_by_feat_single`. Each image has several objects, so that the order of the matched pairs decides which
row of the drawn points an object is compared at. The script rejects draws for which the order does not matter.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

OUT = Path(__file__).resolve().parent.parent / "plugins" / "mask2former" / "tests" / "several_objects.json"

IMAGES, QUERIES, CLASSES, CHANNELS = 2, 7, 3, 4
SIZE, MASK_SIZE = (6, 8), (24, 32)
NUM_POINTS, OVERSAMPLE, IMPORTANCE = 16, 3.0, 0.75
NO_OBJECT = 0.1
OBJECTS = [4, 3]


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def point_sample(maps, points):
    """`[N, h, w]` at `[N, P, 2]` (x, y) in [0, 1]: bilinear, zero outside, corners not aligned."""
    n, h, w = maps.shape
    x, y = points[..., 0] * w - 0.5, points[..., 1] * h - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    out = np.zeros(points.shape[:2])
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = left + dx, top + dy
            weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
            values = maps[np.arange(n)[:, None], row.clip(0, h - 1), column.clip(0, w - 1)]
            out += np.where(inside, weight * values, 0)
    return out


def match(classes, masks, labels, truth, points):
    """Positive queries and their objects, sorted by query."""
    repeated = lambda maps: np.repeat(points, len(maps), 0)
    predicted, wanted = point_sample(masks, repeated(masks)), point_sample(truth, repeated(truth))
    exp = np.exp(classes - classes.max(-1, keepdims=True))
    class_cost = -(exp / exp.sum(-1, keepdims=True))[:, labels]
    positive, negative = softplus(-predicted), softplus(predicted)
    mask_cost = (positive @ wanted.T + negative @ (1 - wanted).T) / NUM_POINTS
    inside = sigmoid(predicted)
    dice_cost = 1 - (2 * inside @ wanted.T + 1) / (inside.sum(1)[:, None] + wanted.sum(1)[None] + 1)
    queries, objects = linear_sum_assignment(2 * class_cost + 5 * mask_cost + 5 * dice_cost)
    order = np.argsort(queries)
    return queries[order], objects[order]


def class_loss(classes, labels):
    weights = np.ones(CLASSES + 1)
    weights[-1] = NO_OBJECT
    logits, labels = classes.reshape(-1, CLASSES + 1), labels.reshape(-1)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    each = -log_probability[np.arange(len(labels)), labels] * weights[labels]
    return each.sum() / weights[labels].sum()


def mask_losses(masks, truth, candidates, anywhere):
    """Cross-entropy and dice at the most uncertain candidates and anywhere, mean over objects."""
    uncertain = int(IMPORTANCE * NUM_POINTS)
    certainty = np.abs(point_sample(masks, candidates))
    index = np.argsort(certainty, axis=1, kind="stable")
    chosen = np.take_along_axis(candidates, index[:, :uncertain, None], 1)
    points = np.concatenate([chosen, anywhere], 1)
    predicted, wanted = point_sample(masks, points), point_sample(truth, points)
    entropy = (softplus(predicted) - predicted * wanted).sum() / (len(masks) * NUM_POINTS)
    inside = sigmoid(predicted)
    dice = 1 - (2 * (inside * wanted).sum(1) + 1) / (inside.sum(1) + wanted.sum(1) + 1)
    return entropy, dice.sum() / len(masks)


def rectangles(rng, count):
    masks = np.zeros((count, *MASK_SIZE))
    for mask in masks:
        y, x = rng.integers(0, MASK_SIZE[0] - 8), rng.integers(0, MASK_SIZE[1] - 10)
        mask[y : y + rng.integers(6, 9), x : x + rng.integers(6, 11)] = 1
    return masks


def problem(seed):
    rng = np.random.default_rng(seed)
    classes = rng.normal(size=(IMAGES, QUERIES, CLASSES + 1))
    embeddings = rng.normal(size=(IMAGES, QUERIES, CHANNELS))
    features = rng.normal(size=(IMAGES, CHANNELS, *SIZE))
    masks = np.einsum("bqc,bchw->bqhw", embeddings, features)
    truth = [rectangles(rng, count) for count in OBJECTS]
    labels = [rng.integers(0, CLASSES, count) for count in OBJECTS]
    matching = [rng.random((1, NUM_POINTS, 2)) for _ in OBJECTS]
    total, uncertain = sum(OBJECTS), int(IMPORTANCE * NUM_POINTS)
    candidates = rng.random((total, int(OVERSAMPLE * NUM_POINTS), 2))
    anywhere = rng.random((total, NUM_POINTS - uncertain, 2))
    pairs = [match(*of) for of in zip(classes, masks, labels, truth, matching)]
    all_labels = np.full((IMAGES, QUERIES), CLASSES)
    for row, (queries, objects), of_image in zip(all_labels, pairs, labels):
        row[queries] = of_image[objects]

    def losses(pairs):
        matched = np.concatenate([m[queries] for m, (queries, _) in zip(masks, pairs)])
        wanted = np.concatenate([t[objects] for t, (_, objects) in zip(truth, pairs)])
        return mask_losses(matched, wanted, candidates, anywhere)

    by_object = [tuple(side[np.argsort(objects)] for side in (queries, objects)) for queries, objects in pairs]
    (mask, dice), (other_mask, other_dice) = losses(pairs), losses(by_object)
    differs = abs(other_mask - mask) > 1e-2 * mask and abs(other_dice - dice) > 1e-3 * dice
    json_of = lambda x: np.asarray(x).tolist()
    return differs, {
        "comment": "by scripts/make_fixtures_mask2former.py",
        "num_points": NUM_POINTS,
        "oversample_ratio": OVERSAMPLE,
        "importance_sample_ratio": IMPORTANCE,
        "no_object_weight": NO_OBJECT,
        "classes": json_of(classes),
        "embeddings": json_of(embeddings),
        "mask_features": json_of(features),
        "labels": [json_of(of) for of in labels],
        "gt_masks": [t.astype(int).tolist() for t in truth],
        "matching": [json_of(of) for of in matching],
        "candidates": json_of(candidates),
        "anywhere": json_of(anywhere),
        "pairs": [[[int(q), int(o)] for q, o in zip(*of)] for of in pairs],
        "loss_cls": float(class_loss(classes, all_labels)),
        "loss_mask": float(mask),
        "loss_dice": float(dice),
        "loss_mask_by_rising_object": float(other_mask),
    }


def main():
    for seed in range(100):
        differs, fixture = problem(seed)
        if differs:
            OUT.parent.mkdir(exist_ok=True)
            OUT.write_text(json.dumps(fixture) + "\n")
            print(f"seed {seed}: {fixture['loss_mask']}, by rising object {fixture['loss_mask_by_rising_object']}")
            return
    raise SystemExit("the order of the pairs made no difference in any of 100 draws")


if __name__ == "__main__":
    main()
