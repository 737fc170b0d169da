"""Asks as Label Studio does, and checks the answer by its own SDK: python label_studio.py URL [--token TOKEN]

Needs numpy, pillow, requests and label-studio-sdk (2.1).
"""
import base64

import numpy as np
import requests
from common import arguments, check_mask
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface

args = arguments(__doc__)
names = [
    category["name"]
    for category in requests.get(f"{args.url}/v1/model", headers=args.headers, timeout=60).json()["categories"]
]
labels = "".join(f'<Label value="{name}"/>' for name in names)
config = f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="brush" toName="image">{labels}</BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true">{labels}</KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true">{labels}</RectangleLabels>
</View>"""
# Label Studio knows user and password only.
auth = ("sonotune", args.token) if args.token else None


def post(path, body):
    reply = requests.post(f"{args.url}{path}", json=body, auth=auth, timeout=120)
    assert reply.status_code == 200, reply.text
    return reply.json()


health = requests.get(f"{args.url}/health", timeout=60).json()
assert health["status"] == "UP"
setup = {"project": "1.1700000000", "schema": config, "hostname": "http://localhost:8080", "access_token": "x"}
print("model version:", post("/setup", setup)["model_version"])
size = {"original_width": args.width, "original_height": args.height, "image_rotation": 0}
point = {
    **size,
    "type": "keypointlabels",
    "is_positive": 1,
    "value": {
        "x": 100 * (args.x + 0.5) / args.width,
        "y": 100 * (args.y + 0.5) / args.height,
        "width": 0.5,
        "keypointlabels": [names[-1]],
    },
}
box = {
    **size,
    "type": "rectanglelabels",
    "value": {"x": 20, "y": 20, "width": 40, "height": 40, "rotation": 0, "rectanglelabels": [names[0]]},
}
image = "data:image/png;base64," + base64.b64encode(args.bytes).decode()
for what, regions in [("a point", [point]), ("a box", [box]), ("no prompt", None)]:
    body = {
        "tasks": [{"id": 1, "data": {"image": image}}],
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": regions and {"result": regions}},
    }
    prediction = post("/predict", body)["results"][0]
    assert LabelInterface(config).validate_prediction(prediction), "the SDK refuses the prediction"
    for region in prediction["result"]:
        decoded = decode_rle(region["value"]["rle"])
        mask = np.reshape(decoded, [region["original_height"], region["original_width"], 4])[:, :, 3]
        check_mask(mask, args, f"{what}: {region['value']['brushlabels']}")
    assert prediction["result"] or regions is None
