"""Paired 512² PNGs to COCO: a Python loop with OpenCV and pycocotools. The protocol is in
README.md in this folder.

    python convert.py --list
    python convert.py convert_pairs_512 opencv_pycocotools

Also draws the pairs that both sides read, once: target/bench-pairs/NUMBER/{img,seg}, speckle and
masks of 0 and 255 with one to three blobs. SONOTUNE_BENCH_IMAGES sets the number, 10,000 by default.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np

from measure import memory_mib

CASE, PEER = "convert_pairs_512", "opencv_pycocotools"
SIDE = 512
COUNT = int(os.environ.get("SONOTUNE_BENCH_IMAGES") or 10_000)
FOLDER = Path(__file__).resolve().parents[2] / "target" / "bench-pairs" / str(COUNT)


def draw(index):
    """Speckle, and a mask of one to three ellipses that may touch."""
    rng = np.random.default_rng(index)
    field = rng.standard_normal((2, SIDE, SIDE), dtype=np.float32)
    field = np.stack([cv2.GaussianBlur(f, (0, 0), 2.4, sigmaY=1.1) for f in field])
    envelope = np.hypot(*field) / field.std()
    image = np.clip(95 + 40 * np.log(envelope + 0.05), 0, 255).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 4)):
        centre = [int(v) for v in rng.integers(80, SIDE - 80, 2)]
        axes = [int(v) for v in rng.integers(15, 80, 2)]
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    return image, mask


def prepare():
    if FOLDER.exists():
        return
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=FOLDER.parent))
    for name in ("img", "seg"):
        (draft / name).mkdir()

    def write(index):
        for name, pixels in zip(("img", "seg"), draw(index)):
            cv2.imwrite(str(draft / name / f"{index}.png"), pixels)

    with ThreadPool() as pool:
        pool.map(write, range(COUNT))
    draft.chmod(0o755)
    draft.rename(FOLDER)


def convert(out):
    from pycocotools import mask as coco_mask

    (out / "images").mkdir(parents=True)
    images, annotations = [], []
    for path in sorted((FOLDER / "img").iterdir(), key=lambda path: int(path.stem)):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        mask = cv2.imread(str(FOLDER / "seg" / path.name), cv2.IMREAD_GRAYSCALE)
        count, labels = cv2.connectedComponents((mask >= 128).astype(np.uint8), connectivity=8)
        name = f"Pairs__{path.name}"
        images.append({"id": len(images) + 1, "file_name": name, "height": SIDE, "width": SIDE})
        for label in range(1, count):
            rle = coco_mask.encode(np.asfortranarray(labels == label))
            annotations.append({
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": 1,
                "iscrowd": 0,
                "bbox": coco_mask.toBbox(rle).tolist(),
                "area": int(coco_mask.area(rle)),
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            })
        cv2.imwrite(str(out / "images" / name), image)
    categories = [{"id": 1, "name": "lesion"}]
    with open(out / "all.json", "w") as file:
        json.dump({"images": images, "annotations": annotations, "categories": categories}, file)
    os.sync()
    return len(annotations)


def measure():
    cv2.setNumThreads(1)  # a plain loop, as in conversion scripts
    out = Path(tempfile.mkdtemp(dir=FOLDER.parent))
    shutil.rmtree(out)
    started, start = time.process_time(), time.perf_counter()
    objects = convert(out)
    seconds, processor = time.perf_counter() - start, time.process_time() - started
    shutil.rmtree(out)
    print(f"{COUNT} images, {objects} objects, processor time {processor:.3f} s", file=sys.stderr)
    print(json.dumps({
        "name": CASE,
        "peer": PEER,
        "seconds_min": seconds,
        "seconds_median": seconds,
        "images_per_second": COUNT / seconds,
        "peak_mib": memory_mib("VmHWM"),  # of the entire process, on both sides
    }))


prepare()
if "--list" in sys.argv:
    print(CASE, PEER)
else:
    measure()
