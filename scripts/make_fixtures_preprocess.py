"""Writes tests/fixtures/preprocess: small images in every format, and the results of OpenCV and
Pillow on them.

    python scripts/make_fixtures_preprocess.py   # needs opencv-python-headless, pillow, safetensors

`expected.safetensors` holds, under `decode/FILE`, `cv2.imread(FILE)` as [H, W, 3] RGB, and under
`resize/NAME/HxW` OpenCV's and Pillow's results for the source of that name.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "preprocess"
rng = np.random.default_rng(0)


def picture(height, width, channels, levels=256):
    """Smooth, with noise and a hard edge: everything that affects resampling and compression."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for c in range(channels):
        wave = np.sin(x / (7 + 3 * c)) * np.cos(y / (9 - 2 * c))
        plane = 0.5 + 0.3 * wave + 0.1 * rng.standard_normal((height, width))
        plane[height // 4 : height // 2, width // 3 : width // 2] = 0.9 - 0.3 * c
        planes.append(plane)
    values = np.clip(np.stack(planes, -1), 0, 1) * (levels - 1)
    return values.astype(np.uint16 if levels > 256 else np.uint8)


def images():
    color, grey = picture(37, 53, 3), picture(37, 53, 1)[..., 0]
    deep, deep_grey = picture(37, 53, 3, 65536), picture(37, 53, 1, 65536)[..., 0]
    alpha = picture(37, 53, 1)
    Image.fromarray(color).save(ROOT / "rgb8.png")
    Image.fromarray(grey).save(ROOT / "grey8.png")
    Image.fromarray(grey > 127).save(ROOT / "grey1.png")
    Image.fromarray(np.concatenate([color, alpha], -1)).save(ROOT / "rgba8.png")
    Image.fromarray(np.stack([grey, alpha[..., 0]], -1), "LA").save(ROOT / "grey_alpha8.png")
    Image.fromarray(color).quantize(200).save(ROOT / "palette.png")
    palette = Image.fromarray(color).quantize(16)
    palette.save(ROOT / "palette_transparent.png", transparency=3)
    cv2.imwrite(str(ROOT / "rgb16.png"), deep)
    cv2.imwrite(str(ROOT / "grey16.png"), deep_grey)
    opacity = picture(37, 53, 1, 65536)
    cv2.imwrite(str(ROOT / "rgba16.png"), np.concatenate([deep, opacity], -1))
    Image.fromarray(color).save(ROOT / "rgb8.bmp")
    Image.fromarray(color).save(ROOT / "rgb8.webp", lossless=True)
    Image.fromarray(color).save(ROOT / "lzw.tiff", compression="tiff_lzw")
    Image.fromarray(grey).save(ROOT / "grey8.tiff")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(color).save(ROOT / f"exif{orientation}.png", exif=exif)
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = cv2.GaussianBlur(color, (0, 0), 2)
    Image.fromarray(smooth).save(ROOT / "exif6.jpg", exif=exif, quality=95)
    Image.fromarray(smooth).save(ROOT / "420.jpg", quality=95, subsampling=2)
    Image.fromarray(smooth).save(ROOT / "progressive.jpg", quality=90, progressive=True)
    Image.fromarray(smooth[..., 0]).save(ROOT / "grey.jpg", quality=95)


def resized(expected):
    sizes = [(71, 127), (13, 20), (48, 32), (95, 63), (1, 1)]
    for name, source in [("rgb", picture(96, 64, 3)), ("grey", picture(96, 64, 1)[..., 0])]:
        Image.fromarray(source).save(ROOT / f"source_{name}.png")
        for height, width in sizes:
            key, size = f"resize/{name}/{height}x{width}", (width, height)
            expected[f"{key}/linear_u8"] = cv2.resize(source, size)
            expected[f"{key}/linear_f32"] = cv2.resize(source.astype(np.float32), size)
            pillow = Image.fromarray(source).resize(size, Image.Resampling.BILINEAR)
            expected[f"{key}/pillow"] = np.asarray(pillow)
            if name == "grey":
                nearest = cv2.resize(source, size, interpolation=cv2.INTER_NEAREST)
                expected[f"{key}/nearest"] = nearest


ROOT.mkdir(parents=True, exist_ok=True)
images()
expected = {}
for path in sorted(ROOT.iterdir()):
    if path.suffix != ".safetensors" and not path.name.startswith("source_"):
        expected[f"decode/{path.name}"] = cv2.imread(str(path))[..., ::-1]
resized(expected)
save_file({k: np.ascontiguousarray(v) for k, v in expected.items()}, ROOT / "expected.safetensors")
