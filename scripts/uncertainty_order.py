"""Whether annotating the least certain images first teaches a model more than any order, on phantoms.

    python uncertainty_order.py SONOTUNE FOLDER [SEEDS]

For each seed: a small promptable model is trained on 10 images; `sonotune annotate --order uncertainty` ranks the other 200;
then one model is trained on the 10 and the 40 least certain, one on the 10 and 40 drawn at random, with the same number of
steps, and both are scored on 100 other images (mean Dice from the centre of each object). Prints a line a seed, and the
mean difference. Needs nothing but Python.
"""

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PROGRAM, FOLDER = sys.argv[1], Path(sys.argv[2]).resolve()
SEEDS = int(sys.argv[3]) if len(sys.argv) > 3 else 3
FIRST, POOL, MORE, TEST, STEPS = 10, 200, 40, 100, 300

CONFIG = """
run_dir = "runs/x"
device = "cpu"
[dataset]
type = "coco"
root = "{root}"
train = "train.json"
val = "test.json"
test = "test.json"
[preprocess]
image_size = 64
[augment]
flip_probability = 0.5
[loader]
batch_size = 4
[backbone]
type = "sam_vit"
embed_dim = 64
depth = 4
num_heads = 4
window_size = 2
global_attn_indexes = [1, 3]
image_size = 64
patch_size = 8
out_channels = 64
[task]
type = "sam_prompt"
convention = "segment_anything"
decoder = {{ num_heads = 4, mlp_dim = 128 }}
[task.evaluation]
protocols = ["center_point"]
multimask = "never"
[task.everything]
points_per_side = 4
[optimizer]
lr = 1e-3
[train]
max_steps = {steps}
[evaluation]
every_steps = {steps}
"""


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments}: {done.stderr[-2000:]}")
    return done.stdout


def subset(coco, names, path):
    images = [image for image in coco["images"] if image["file_name"] in names]
    ids = {image["id"] for image in images}
    objects = [one for one in coco["annotations"] if one["image_id"] in ids]
    path.write_text(json.dumps({**coco, "images": images, "annotations": objects}))


def whole(data):
    """The phantoms of all splits in one file."""
    merged = {"images": [], "annotations": []}
    for split in ("train", "val", "test"):
        path = data / "annotations" / f"{split}.json"
        if not path.exists():
            continue
        coco = json.loads(path.read_text())
        shift = len(merged["images"]) + 1_000_000 * len(merged["images"])
        for image in coco["images"]:
            merged["images"].append({**image, "id": image["id"] + shift})
        for one in coco["annotations"]:
            merged["annotations"].append({**one, "id": len(merged["annotations"]) + 1, "image_id": one["image_id"] + shift})
        merged["categories"] = coco["categories"]
    return merged


def ranked(model, pool):
    """Names of the images in `pool`, the least certain first."""
    command = [PROGRAM, "annotate", str(pool), "--run", str(model), "--order", "uncertainty", "--no-browser", "--json",
               "--annotations", str(pool.with_suffix(".json"))]
    session = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url, token = json.loads(session.stdout.readline())["url"].split("?token=")
    request = urllib.request.Request(f"{url}api/session", headers={"Authorization": f"Token {token}"})
    while True:
        images = json.loads(urllib.request.urlopen(request).read())["images"]
        if all(image["uncertainty"] is not None for image in images):
            break
        time.sleep(1)
    session.terminate()
    session.wait()
    return [image["name"] for image in sorted(images, key=lambda image: -image["uncertainty"])]


def main():
    data = FOLDER / "data"
    run("data", "phantom", data, "--num-images", FIRST + POOL + TEST, "--image-size", 64, "--seed", 11, "--overwrite")
    coco = whole(data)
    differences = []
    for seed in range(SEEDS):
        names = sorted(image["file_name"] for image in coco["images"])
        random.Random(seed).shuffle(names)
        first, pool, test = names[:FIRST], names[FIRST : FIRST + POOL], names[FIRST + POOL :]
        subset(coco, set(test), data / "test.json")
        config = FOLDER / "config.toml"
        config.write_text(CONFIG.format(root=data, steps=STEPS))

        def trained(name, chosen):
            subset(coco, set(chosen), data / "train.json")
            folder = FOLDER / f"run-{seed}-{name}"
            run("train", config, "--overwrite", f"run_dir={folder}", f"seed={seed}")
            report = json.loads(run("eval", "--run", folder, "--split", "test", "--json"))
            scores = {metric["name"]: metric["value"] for metric in report["report"]["metrics"]}
            return folder, scores["center_point/dice"]

        model, before = trained("first", first)
        folder = FOLDER / f"pool-{seed}"
        folder.mkdir(exist_ok=True)
        for name in pool:
            link = folder / Path(name).name
            if not link.exists():
                os.link(data / name, link)
        by_name = {Path(name).name: name for name in pool}
        order = [by_name[name] for name in ranked(model, folder)]
        _, uncertain = trained("uncertain", first + order[:MORE])
        _, drawn = trained("random", first + random.Random(1000 + seed).sample(pool, MORE))
        differences.append(uncertain - drawn)
        print(f"seed {seed}: 10 images {before:.4f}, 40 least certain {uncertain:.4f}, 40 at random {drawn:.4f}", flush=True)
    mean = sum(differences) / len(differences)
    print(f"least certain minus random: {mean:+.4f} on average; {', '.join(f'{one:+.4f}' for one in differences)}")


if __name__ == "__main__":
    main()
