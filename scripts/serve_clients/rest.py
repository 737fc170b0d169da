"""Asks the plain REST API for a mask: python rest.py URL [--token TOKEN] [--image FILE]

Needs numpy, pillow, pycocotools and requests.
"""
import base64
import json

import requests
from common import arguments, check_mask
from pycocotools import mask as coco

args = arguments(__doc__)
model = requests.get(f"{args.url}/v1/model", headers=args.headers, timeout=60)
assert model.status_code == 200, model.text
print("model:", model.json()["name"], model.json()["task"])
prompts = []
if model.json()["takes_prompts"]:
    prompts = [{"points": [{"x": args.x, "y": args.y, "positive": True}]}]

form = requests.post(
    f"{args.url}/v1/predict",
    headers=args.headers,
    files={"image": ("image.png", args.bytes)},
    data={"prompts": json.dumps(prompts), "masks": "both"},
    timeout=120,
)
assert form.status_code == 200, form.text
body = {"image": base64.b64encode(args.bytes).decode(), "prompts": prompts, "masks": "both"}
again = requests.post(f"{args.url}/v1/predict", headers=args.headers, json=body, timeout=120)
assert again.status_code == 200, again.text
assert again.json()["objects"] == form.json()["objects"]
assert again.json()["was_prepared"], "the embedding was not reused"
for found in form.json()["objects"]:
    mask = coco.decode({"size": found["mask"]["size"], "counts": found["mask"]["counts"].encode()})
    check_mask(mask, args, f"{found['category']} {found['score']:.2f}")
    drawn = coco.merge(coco.frPyObjects(found["polygons"], args.height, args.width))
    assert (coco.decode(drawn) >= mask).all(), "the outlines do not contain the mask"
assert form.json()["objects"] or not prompts
