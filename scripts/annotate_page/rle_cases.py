"""Writes random masks and polygons with pycocotools' answers, for rle_test.mjs.

    python scripts/annotate_page/rle_cases.py > /tmp/cases.json
"""

import json
import sys

import numpy as np
from pycocotools import mask as coco


def masks(random):
    yield np.zeros((5, 7), np.uint8)
    yield np.ones((5, 7), np.uint8)
    yield np.ones((1, 1), np.uint8)
    yield np.zeros((300, 400), np.uint8)
    yield np.ones((2000, 2000), np.uint8)
    for row, column in [(0, 0), (0, 8), (6, 0), (6, 8)]:
        corner = np.zeros((7, 9), np.uint8)
        corner[row, column] = 1
        yield corner
    for _ in range(300):
        height, width = random.integers(1, 60, 2)
        yield (random.random((height, width)) < random.random()).astype(np.uint8)
    for _ in range(60):
        height, width = random.integers(20, 700, 2)
        y, x = np.mgrid[:height, :width]
        disc = np.zeros((height, width), np.uint8)
        for _ in range(random.integers(1, 4)):
            cy, cx, r = random.random() * height, random.random() * width, 1 + random.random() * height
            disc |= ((y - cy) ** 2 + (x - cx) ** 2 < r * r).astype(np.uint8)
        yield disc


def polygons(random):
    for _ in range(300):
        height, width = (int(v) for v in random.integers(3, 120, 2))
        corners = int(random.integers(3, 12))
        points = random.random((corners, 2)) * [width * 1.2, height * 1.2] - [width * 0.1, height * 0.1]
        if random.random() < 0.3:
            points = points.round()
        yield height, width, [float(v) for v in points.ravel()]


def main():
    random = np.random.default_rng(20)
    cases = {"masks": [], "polygons": []}
    for mask in masks(random):
        rle = coco.encode(np.asfortranarray(mask))
        pixels = "".join(map(str, mask.ravel())) if mask.size < 500_000 else None
        cases["masks"].append({"size": rle["size"], "counts": rle["counts"].decode(), "pixels": pixels})
    for height, width, points in polygons(random):
        rle = coco.frPyObjects([points], height, width)[0]
        # Decoded and encoded again: without the empty runs that frPyObjects may leave.
        rle = coco.encode(np.asfortranarray(coco.decode(rle)))
        cases["polygons"].append({"size": rle["size"], "points": points, "counts": rle["counts"].decode()})
    json.dump(cases, sys.stdout)


if __name__ == "__main__":
    main()
