"""faster-coco-eval on 5,000 images with 100 detections each, the entire process from start to end;
and IoU, Dice and 95 % Hausdorff distance of two large masks with SciPy. The protocol is that of
README.md in this folder.

    python coco_eval.py --list
    python coco_eval.py coco_eval_bbox_5000x100 faster-coco-eval

The files come from Sonotune's side, which must have been measured before; the twelve figures must
equal those it wrote.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "target" / "bench-coco"
REPEATS = 3
CASES = {
    ("coco_eval_bbox_5000x100", "faster-coco-eval"): "bbox",
    ("coco_eval_segm_5000x100", "faster-coco-eval"): "segm",
    ("overlap_1024", "scipy"): None,
}

# What a user of the package writes; then the process's own peak memory.
EVALUATE = """
import json, sys
from faster_coco_eval import COCO, COCOeval_faster
truth = COCO("gt.json")
evaluation = COCOeval_faster(truth, truth.loadRes(f"dt_{sys.argv[1]}.json"), sys.argv[1])
evaluation.evaluate()
evaluation.accumulate()
evaluation.summarize()
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
print(json.dumps({"stats": list(evaluation.stats)[:12], "peak": peak}))
"""


def evaluate(iou_type):
    start = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-c", EVALUATE, iou_type], cwd=FOLDER, check=True, capture_output=True
    )
    seconds = time.perf_counter() - start
    record = json.loads(said.stdout.splitlines()[-1])
    ours = json.loads((FOLDER / f"figures_{iou_type}.json").read_text())["stats"]
    worst = max(abs(a - b) for a, b in zip(ours, record["stats"], strict=True))
    assert worst < 1e-12, f"the figures differ by {worst}"
    return seconds, record["peak"]


def measure_process(iou_type):
    evaluate(iou_type)
    before = os.times()
    runs = [evaluate(iou_type) for _ in range(REPEATS)]
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"processor time {spent / REPEATS:.2f} s", file=sys.stderr)
    return [seconds for seconds, _ in runs], max(peak for _, peak in runs)


def measure_overlap():
    import numpy as np
    from pycocotools import mask
    from scipy.ndimage import binary_erosion, distance_transform_edt

    first, second = (mask.decode(rle).astype(bool) for rle in json.loads((FOLDER / "overlap.json").read_text()))

    def overlap():
        shared = np.logical_and(first, second).sum()
        areas = first.sum() + second.sum()
        borders = [m ^ binary_erosion(m) for m in (first, second)]
        to = [distance_transform_edt(~border) for border in borders]
        directed = np.percentile(to[1][borders[0]], 95), np.percentile(to[0][borders[1]], 95)
        return shared / (areas - shared), 2 * shared / areas, max(directed)

    overlap()
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        overlap()
        seconds.append(time.perf_counter() - start)
    return seconds, None


def main():
    if "--list" in sys.argv:
        for case, peer in CASES:
            print(case, peer)
        return
    wanted = [a for a in sys.argv[1:] if not a.startswith("--")]
    chosen = [key for key in CASES if list(key[: len(wanted)]) == wanted]
    if not chosen:
        sys.exit("no such case; --list shows them")
    for case, peer in chosen:
        line = {"name": case, "peer": peer}
        if not (FOLDER / "overlap.json").is_file():
            print(json.dumps({**line, "skipped": "Sonotune's side makes the files: measure it first"}))
            continue
        iou_type = CASES[case, peer]
        seconds, peak = measure_process(iou_type) if iou_type else measure_overlap()
        seconds.sort()
        line |= {"seconds_min": seconds[0], "seconds_median": seconds[len(seconds) // 2]}
        if peak:
            line["peak_mib"] = peak
        print(json.dumps(line), flush=True)


main()
