"""Decode, resize the longest side to 1024, normalise, pad to a square: images per second of
torchvision, OpenCV and Pillow. The protocol is that of README.md in this folder.

    python decode.py --list
    python decode.py decode_png_reference torchvision

Also draws the images that both sides read, once: target/bench-images/{png,jpeg}, 958x533 and
1024x768, speckle with coloured overlays, encoded by Pillow (PNG at zlib's default level, JPEG at
quality 95 with 4:2:0 chroma).
"""

import json
import os
import sys
import time
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "target" / "bench-images"
IMAGES_PER_SIZE = 12
REPEATS = 5
SIZE = 1024
MEAN = [123.675, 116.28, 103.53]
STD = [58.395, 57.12, 57.375]
METHODS = {
    "reference": ["torchvision", "opencv"],
    "reference_float": ["torchvision", "opencv"],
    "antialias": ["torchvision", "pillow"],
}
CASES = {f"decode_{f}_{m}": (f, m, p) for f in ("png", "jpeg") for m, p in METHODS.items()}
THREADS = int(os.environ.get("SONOTUNE_BENCH_THREADS") or os.cpu_count())


def draw(height, width, rng):
    """Speckle that grows darker with depth, dark cysts, a tint and a coloured scale."""
    import cv2

    field = rng.standard_normal((2, height, width)).astype(np.float32)
    field = np.stack([cv2.GaussianBlur(f, (0, 0), 2.4, sigmaY=1.1) for f in field])
    envelope = np.hypot(*field) / field.std()
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(3):
        cy, cx, r = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width, rng.uniform(20, 90)
        envelope *= 1 - 0.8 / (1 + np.exp((np.hypot(y - cy, x - cx) - r) / 4))
    level = np.clip(95 + 40 * np.log(envelope + 0.05) - 60 * y / height, 0, 255)
    sector = np.abs(x - width / 2) < width * (0.15 + 0.33 * y / height)
    image = (level * sector)[..., None] * np.array([1.0, 0.97, 0.93])
    image[20:-20, 10:26] = np.linspace(255, 0, height - 40)[:, None, None] * [1, 0.7, 0.2]
    return image.astype(np.uint8)


def prepare():
    if FOLDER.exists():
        return
    from PIL import Image

    rng = np.random.default_rng(0)
    draft = FOLDER.with_name(f"bench-images.{os.getpid()}")
    for name in ("png", "jpeg"):
        (draft / name).mkdir(parents=True)
    for index in range(2 * IMAGES_PER_SIZE):
        image = Image.fromarray(draw(*[(533, 958), (768, 1024)][index % 2], rng))
        image.save(draft / "png" / f"{index:02}.png")
        image.save(draft / "jpeg" / f"{index:02}.jpg", quality=95)
    draft.rename(FOLDER)


def torchvision_pipeline():
    import torch
    from torchvision.io import ImageReadMode, decode_image
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    transform = v2.Compose(
        [
            v2.Resize(SIZE - 1, max_size=SIZE, antialias=True),
            v2.ToDtype(torch.float32),
            v2.Normalize(MEAN, STD),
        ]
    )

    def run(path):
        image = transform(decode_image(str(path), ImageReadMode.RGB))
        height, width = image.shape[-2:]
        return v2.functional.pad(image, [0, 0, SIZE - width, SIZE - height])

    return run


def opencv_pipeline(as_float):
    import cv2

    cv2.setNumThreads(1)
    mean, std = np.float32(MEAN), np.float32(STD)

    def run(path):
        image = cv2.imread(str(path))
        height, width = image.shape[:2]
        scale = SIZE / max(height, width)
        if as_float:
            image = image.astype(np.float32)
        image = cv2.resize(image, (int(width * scale + 0.5), int(height * scale + 0.5)))
        image = (cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) - mean) / std
        padded = np.zeros((SIZE, SIZE, 3), np.float32)
        padded[: image.shape[0], : image.shape[1]] = image
        return np.ascontiguousarray(padded.transpose(2, 0, 1))

    return run


def pillow_pipeline():
    from PIL import Image

    mean, std = np.float32(MEAN), np.float32(STD)

    def run(path):
        image = Image.open(path).convert("RGB")
        scale = SIZE / max(image.size)
        size = [int(side * scale + 0.5) for side in image.size]
        image = (np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) - mean) / std
        padded = np.zeros((SIZE, SIZE, 3), np.float32)
        padded[: image.shape[0], : image.shape[1]] = image
        return np.ascontiguousarray(padded.transpose(2, 0, 1))

    return run


def measure(case, peer):
    image_format, method, _ = CASES[case]
    if peer == "torchvision":
        run = torchvision_pipeline()
    elif peer == "opencv":
        run = opencv_pipeline(method == "reference_float")
    else:
        run = pillow_pipeline()
    paths = sorted((FOLDER / image_format).iterdir())
    assert run(paths[0]).shape[-2:] == (SIZE, SIZE)
    seconds = []
    with ThreadPool(THREADS) as pool:
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            for _ in pool.imap(run, paths):
                pass
            seconds.append((time.perf_counter() - start) / len(paths))
    seconds = sorted(seconds[1:])
    median = seconds[len(seconds) // 2]
    figures = {"seconds_min": seconds[0], "seconds_median": median, "images_per_second": 1 / median}
    print(json.dumps({"name": case, "peer": peer, **figures}))


prepare()
if "--list" in sys.argv:
    for case, (_, _, peers) in CASES.items():
        for peer in peers:
            print(case, peer)
else:
    measure(*[argument for argument in sys.argv[1:] if not argument.startswith("--")])
