"""Compares the DICOM reader with pydicom, over every file of some folders.

    pip install pydicom pydicom-data deid-data pylibjpeg[all] pyjpegls pillow
    cargo build --release -p sonotune-formats --example dump_dicom
    python scripts/compare_dicom.py [--binary PATH] [--frames N] [FOLDER ...]

Without folders, the files that come with the Python packages pydicom, pydicom-data and deid-data are compared.
The expected display values are pydicom's own: `pixel_array` in RGB, `apply_color_lut`, and for grey
`apply_modality_lut` and `apply_voi_lut`, whose range becomes 0 to 255.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

LOSSY = {
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91",
}
ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.3", "1.2.840.10008.5.1.4.1.1.6")


def folders():
    """Where the Python packages keep their files."""
    import data_store
    import deid_data

    packages = [Path(pydicom.__file__).parent / "data", Path(deid_data.__file__).parent]
    return packages + [Path(data_store.__file__).parent]


def files(roots):
    for root in roots:
        for path in sorted(Path(root).rglob("*")):
            if path.is_file() and path.suffix not in {".py", ".pyc", ".json", ".md", ".txt", ".zip"}:
                yield path


def grey(array, ds):
    """Display values of one frame, 0 to 255, before rounding."""
    stored = ds.BitsStored
    low, high = (0, 2**stored - 1) if ds.PixelRepresentation == 0 else (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1)
    values = apply_modality_lut(array, ds)
    if ds.get("ModalityLUTSequence"):
        low, high = 0, 2 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    elif "RescaleSlope" in ds and "RescaleIntercept" in ds:
        low, high = (end * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for end in (low, high))
    window = ds.get("WindowWidth")
    window = window[0] if isinstance(window, pydicom.multival.MultiValue) else window
    if ds.get("VOILUTSequence") and "LUTData" in ds.VOILUTSequence[0]:
        values = apply_voi_lut(values, ds)
        low, high = 0, 2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif window is not None and window >= 1 and ds.get("WindowCenter") is not None:
        values = apply_voi_lut(values, ds)
    else:
        low, high = min(low, high), max(low, high)
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255
    return 255 - share if ds.PhotometricInterpretation == "MONOCHROME1" else share


def to_8bit(array, bits):
    array = array.astype(np.int64) & (2**bits - 1)
    if bits > 8:
        return array >> (bits - 8)
    return array if bits == 8 else (array * 255 + (2**bits - 1) // 2) // (2**bits - 1)


def palette(array, ds):
    colours = apply_color_lut(array, ds)[..., :3]
    deep = ds.RedPaletteColorLookupTableDescriptor[2] == 16 and colours.dtype == np.uint16 and colours.max() > 255
    return colours >> 8 if deep else colours


def expected(path, most):
    """The frames as pydicom decodes them."""
    ds = pydicom.dcmread(path, force=True)
    if "PixelData" not in ds:
        raise ValueError("no pixel data")
    # libjpeg-turbo; the other decoder, libjpeg, interpolates colours in a way of its own.
    plugin = "pillow" if ds.file_meta.get("TransferSyntaxUID") == "1.2.840.10008.1.2.4.50" else ""
    frames = []
    for index in range(min(most, int(ds.get("NumberOfFrames") or 1))):
        array = pixel_array(ds, index=index, decoding_plugin=plugin)
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            frames.append(palette(array, ds))
        elif ds.SamplesPerPixel == 1:
            frames.append(grey(array, ds))
        else:
            frames.append(to_8bit(array, ds.BitsStored))
    return ds, np.stack(frames).astype(np.float64)


def ours(binary, path, most, scratch):
    out = Path(scratch) / "out.bin"
    line = f"{path}\t{out}\t{most}\n"
    subprocess.run([binary], input=line.encode(), check=True)
    head, _, data = out.read_bytes().partition(b"\n")
    head = json.loads(head)
    if "error" in head:
        return head, None
    shape = (head["frames"], head["height"], head["width"], head["channels"])
    array = np.frombuffer(data, np.uint8).reshape(shape)
    return head, array[..., 0] if head["channels"] == 1 else array


def compare(binary, path, most, scratch):
    """A verdict and its details for one file."""
    head, got = ours(binary, path, most, scratch)
    try:
        ds, want = expected(path, most)
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        return ("neither reads" if got is None else "pydicom does not", what, head.get("error", ""))
    if got is None:
        return ("not read", head["error"], "")
    if got.shape != want.shape:
        return ("differs", f"shape {got.shape}, pydicom's {want.shape}", "")
    syntax = ds.file_meta.get("TransferSyntaxUID") if hasattr(ds, "file_meta") else None
    difference = np.abs(got.astype(np.float64) - want)
    # pydicom's values are not rounded; half a level is rounding.
    largest = float(np.maximum(difference - 0.5, 0).max())
    if largest <= 1e-6:
        return ("equal", "", "")
    if syntax in LOSSY and largest <= 2:
        return ("lossy, close", f"{largest:.1f}", "")
    return ("differs", f"by up to {largest:.1f}, mean {difference.mean():.3f}", str(syntax))


def describe(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        except Exception:
            return False, "?"
    sop = str(ds.get("SOPClassUID", ""))
    return ds.get("Modality") == "US" or sop.startswith(ULTRASOUND), str(ds.get("PhotometricInterpretation", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/examples/dump_dicom")
    parser.add_argument("--frames", type=int, default=4, help="compare at most N frames of each file")
    parser.add_argument("--verbose", action="store_true", help="also print files that are equal")
    parser.add_argument("folders", nargs="*", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    counts = {True: Counter(), False: Counter()}
    with tempfile.TemporaryDirectory() as scratch:
        for path in files(args.folders or folders()):
            head = path.open("rb").read(132)
            if head[128:] != b"DICM" and path.suffix.lower() not in {".dcm", ""}:
                continue
            ultrasound, photometric = describe(path)
            verdict, *details = compare(args.binary, path, args.frames, scratch)
            counts[ultrasound][verdict] += 1
            if args.verbose or verdict not in {"equal", "lossy, close", "neither reads"}:
                kind = "US " if ultrasound else "   "
                print(f"{kind}{verdict:16} {path.name} {photometric} {' | '.join(filter(None, details))}", flush=True)
    for ultrasound, name in ((True, "ultrasound"), (False, "other")):
        print(name, dict(counts[ultrasound]))
    return 1 if any(counts[True][bad] for bad in ("differs", "not read")) else 0


if __name__ == "__main__":
    sys.exit(main())
