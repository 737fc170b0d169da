"""What a person would have clicked, from what `clicks` (src/run/examples/clicks.rs) printed.

    python annotation_clicks.py COCO.json NAME=FILE.jsonl …

For each file: the share of objects that reach an IoU of 0.9, the mean number of prompts (objects that never do count
as many as were tried), the mean IoU after the first ones, and seconds an object. For the polygon: the smallest number of
corners with which the outline's simplification (Douglas-Peucker) still has an IoU of 0.9. Seconds are the model's,
measured, plus those of a hand, assumed: 2.5 for a click, 5 for a box, 1.7 for a corner of a polygon. Intervals are
95 %, from 2,000 resamples of the images. Needs numpy, opencv-python-headless and pycocotools.
"""

import json
import sys
from collections import defaultdict

import cv2
import numpy as np
from pycocotools.coco import COCO

CLICK, BOX, CORNER = 2.5, 5.0, 1.7
GOOD = 0.9


def corners(mask):
    """The fewest corners that keep an IoU of 0.9, over all parts of the mask."""
    mask = np.ascontiguousarray(mask)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for tolerance in np.geomspace(64, 0.25, 49):
        drawn = np.zeros_like(mask)
        parts = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
        for part in parts:
            if len(part) > 2:
                cv2.fillPoly(drawn, [part], 1)
        union = np.count_nonzero(mask | drawn)
        if np.count_nonzero(mask & drawn) / union >= GOOD:
            return sum(len(part) for part in parts if len(part) > 2)
    return sum(len(contour) for contour in contours)


def interval(by_image):
    """Mean over objects and its interval over images."""
    groups = [np.asarray(values, float) for values in by_image.values()]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        chosen = [groups[i] for i in rng.integers(0, len(groups), len(groups))]
        means.append(np.concatenate(chosen).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.concatenate(groups).mean():.2f} [{low:.2f}, {high:.2f}]"


def main():
    coco = COCO(sys.argv[1])
    by_image = defaultdict(list)
    for annotation in coco.loadAnns(coco.getAnnIds()):
        by_image[annotation["image_id"]].append(corners(coco.annToMask(annotation)))
    seconds = {image: [CORNER * n for n in numbers] for image, numbers in by_image.items()}
    print(f"polygon: corners {interval(by_image)}, seconds {interval(seconds)}")
    for argument in sys.argv[2:]:
        name, path = argument.split("=", 1)
        by_box = "box" in name
        columns = {key: defaultdict(list) for key in ("reached", "prompts", "first", "third", "seconds")}
        for line in open(path):
            row = json.loads(line)
            ious, milliseconds = row["ious"], row["milliseconds"]
            # The first answer may have waited for the image; the page prepares it while the one before is drawn.
            answers = sum(min(ms, np.median(milliseconds)) for ms in milliseconds) / 1e3
            hand = (BOX if by_box else CLICK) + CLICK * (len(ious) - 1)
            of_image = row["file"]
            columns["reached"][of_image].append(ious[-1] >= GOOD)
            columns["prompts"][of_image].append(len(ious))
            columns["first"][of_image].append(ious[0])
            columns["third"][of_image].append(ious[min(2, len(ious) - 1)])
            columns["seconds"][of_image].append(hand + answers)
        print(name + ": " + ", ".join(f"{key} {interval(value)}" for key, value in columns.items()))


if __name__ == "__main__":
    main()
