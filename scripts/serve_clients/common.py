"""What the clients of this folder share: their arguments, and an image if none is given."""
import argparse
import io

import numpy as np
from PIL import Image


def arguments(description):
    """URL, token, image and point of the command line; the image as bytes, with its size."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("url", help="e.g. http://127.0.0.1:8008")
    parser.add_argument("--token", default="", help="the server's token")
    parser.add_argument("--image", help="a PNG or JPEG file; default: a grey image with a bright square")
    parser.add_argument("--point", nargs=2, type=int, metavar=("X", "Y"), help="default: the centre")
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    if args.image:
        args.bytes = open(args.image, "rb").read()
    else:
        pixels = np.full((120, 160), 20, np.uint8)
        pixels[30:60, 40:90] = 200
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        args.bytes = encoded.getvalue()
    args.pixels = np.asarray(Image.open(io.BytesIO(args.bytes)).convert("L"))
    args.height, args.width = args.pixels.shape
    args.x, args.y = args.point or (args.width // 2, args.height // 2)
    args.headers = {"Authorization": f"Token {args.token}"} if args.token else {}
    return args


def check_mask(mask, args, what):
    """Asserts that a mask has the image's size, and some of its pixels but not all."""
    assert mask.shape == (args.height, args.width), f"{what}: {mask.shape}"
    share = (mask > 0).mean()
    assert 0 < share < 1, f"{what}: the mask covers {share:.1%} of the image"
    print(f"{what}: {int((mask > 0).sum())} pixels, {share:.2%} of the image")
