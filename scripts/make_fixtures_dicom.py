"""Writes tests/fixtures/dicom: a DICOM file for each transfer syntax and colour model, and the display values
that pydicom gives for it.

    pip install pydicom numpy pillow pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pyjpegls
    python scripts/make_fixtures_dicom.py tests/fixtures/dicom

NAME.dcm is 32 x 40 pixels; NAME.npy has its frames as `compare_dicom.py` defines them, rounded to uint8.
"""

import io
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
from compare_dicom import expected
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian,
    JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless, RLELossless,
)
import jpeg_ls

OUT = Path(sys.argv[1])
HEIGHT, WIDTH = 32, 40
ROOT = "1.2.826.0.1.3680043.10.1500."


def tissue(frame=0, top=255):
    """Speckle within a sector, drawn again from the frame's number."""
    rng = np.random.default_rng(7 + frame)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    sector = np.hypot(y + 6.0, x - 16.0) < 26
    smooth = 0.5 + 0.4 * np.sin(x / 5.0 + frame) * np.cos(y / 4.0)
    return (sector * np.clip(smooth + rng.normal(0, 0.08, x.shape), 0, 1) * top).astype(np.int64)


def colour(frame=0):
    flow = tissue(frame).astype(np.uint8)
    red = np.roll(flow, 3, 1) // 2 + 60 * (np.indices(flow.shape)[0] > 12).astype(np.uint8)
    return np.stack([flow, red, 255 - flow], axis=-1).astype(np.uint8)


def region(data_type=1, spacing=0.031, left=0, right=WIDTH - 1):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, data_type, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, 2
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, 21
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = spacing, spacing * 2
    return item


def dataset(name, syntax, photometric, frames=1, bits=8, stored=None, signed=0):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    number = str(sum(name.encode()))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = ROOT + "3." + number
    ds.StudyInstanceUID, ds.SeriesInstanceUID = ROOT + "1", ROOT + "2"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "US", "Sonotune", "Phantom"
    ds.PatientID, ds.PatientName, ds.StudyID, ds.SeriesNumber = "P01", "Phantom", "1", 1
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.InstanceNumber = "20260101", "120000", "", number
    ds.Rows, ds.Columns = HEIGHT, WIDTH
    ds.PhotometricInterpretation = photometric
    grey = photometric.startswith(("MONO", "PALETTE"))
    ds.SamplesPerPixel = 1 if grey else 3
    if not grey:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored = bits, stored or bits
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, signed
    if frames > 1:
        ds.NumberOfFrames, ds.FrameTime = frames, 40.0
    return ds


def write(name, ds, data):
    """Writes the file, its pixels as bytes or as coded frames, and what pydicom shows."""
    if isinstance(data, list):
        # Two fragments per frame, without and with a table of offsets.
        per_frame = 2 if name == "jpeg_baseline" else 1
        ds.PixelData = encapsulate(data, fragments_per_frame=per_frame, has_bot=name != "rle_rgb")
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    else:
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    path = OUT / f"{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    _, frames = expected(path, 99)
    np.save(OUT / f"{name}.npy", np.floor(frames + 0.5).astype(np.uint8))


def lossless_jpeg(values, bits):
    """One component with predictor 1; its Huffman table has a code of 5 bits for every category."""
    head = struct.pack(">HHBHHBBBB", 0xFFC3, 11, bits, HEIGHT, WIDTH, 1, 1, 0x11, 0)
    table = struct.pack(">HHB16B", 0xFFC4, 2 + 17 + 17, 0, *([0] * 4 + [17] + [0] * 11)) + bytes(range(17))
    scan = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 1, 0, 0)
    out = ""
    for y in range(HEIGHT):
        for x in range(WIDTH):
            left = values[y, x - 1] if x else values[y - 1, 0] if y else 1 << (bits - 1)
            error = int(values[y, x]) - int(left)
            size = abs(error).bit_length()
            out += f"{size:05b}"
            if size:
                out += f"{error if error > 0 else error + (1 << size) - 1:0{size}b}"
    out += "1" * (-len(out) % 8)
    coded = int(out, 2).to_bytes(len(out) // 8, "big").replace(b"\xff", b"\xff\0")
    return b"\xff\xd8" + head + table + scan + coded + b"\xff\xd9"


def baseline_jpeg(rgb):
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=90, subsampling="4:2:2")
    return out.getvalue()


def packbits(plane):
    """Literals and runs of two bytes and more."""
    out, at = b"", 0
    while at < len(plane):
        run = 1
        while run < 128 and at + run < len(plane) and plane[at + run] == plane[at]:
            run += 1
        out += bytes([257 - run, plane[at]]) if run > 1 else bytes([0, plane[at]])
        at += run
    return out + b"\0" * (len(out) % 2)


def rle(planes):
    segments = [packbits(plane.tobytes()) for plane in planes]
    starts = [64 + sum(map(len, segments[:i])) for i in range(len(segments))]
    return struct.pack("<16L", len(segments), *starts, *([0] * (15 - len(starts)))) + b"".join(segments)


def native():
    ds = dataset("mono2", ExplicitVRLittleEndian, "MONOCHROME2", frames=3)
    ds.SequenceOfUltrasoundRegions = Sequence([region()])
    frames = np.stack([tissue(i) for i in range(3)])
    write("mono2", ds, frames.astype(np.uint8).tobytes())

    ds = dataset("mono1_12bit", ImplicitVRLittleEndian, "MONOCHROME1", bits=16, stored=12)
    ds.RescaleSlope, ds.RescaleIntercept = "2", "-1000"
    ds.WindowCenter, ds.WindowWidth = ["2500", "1"], ["5001", "2"]
    ds.PixelSpacing = ["0.2", "0.1"]
    write("mono1_12bit", ds, tissue(top=4095).astype("<u2").tobytes())

    ds = dataset("signed_big_endian", ExplicitVRBigEndian, "MONOCHROME2", bits=16, stored=16, signed=1)
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = "100", "9000", "SIGMOID"
    ds.SequenceOfUltrasoundRegions = Sequence([region(right=15), region(left=16, spacing=0.02)])
    write("signed_big_endian", ds, (tissue(top=30000) - 15000).astype(">i2").tobytes())

    ds = dataset("linear_exact", ExplicitVRLittleEndian, "MONOCHROME2", bits=16, stored=10, signed=1)
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = "20", "700", "LINEAR_EXACT"
    write("linear_exact", ds, (tissue(top=1023) - 512).astype("<i2").tobytes())

    ds = dataset("luts", ExplicitVRLittleEndian, "MONOCHROME2")
    modality, voi = Dataset(), Dataset()
    modality.LUTDescriptor, modality.ModalityLUTType = [200, 20, 16], "US"
    modality.LUTData = [min(4095, i * i // 10) for i in range(200)]
    voi.LUTDescriptor = [1024, 100, 10]
    voi.LUTData = [int(1023 * (i / 1023) ** 0.5) for i in range(1024)]
    for item in (modality, voi):
        item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    ds.ModalityLUTSequence, ds.VOILUTSequence = Sequence([modality]), Sequence([voi])
    write("luts", ds, tissue().astype(np.uint8).tobytes())

    bitmap = dataset("bits", ExplicitVRLittleEndian, "MONOCHROME2", frames=3, bits=1)
    packed = np.packbits(np.stack([tissue(i) > 90 for i in range(3)]).ravel(), bitorder="little")
    write("bits", bitmap, packed.tobytes())

    ds = dataset("rgb_planar", ExplicitVRLittleEndian, "RGB")
    ds.PlanarConfiguration = 1
    write("rgb_planar", ds, colour().transpose(2, 0, 1).tobytes())

    ds = dataset("rgb_deflated", DeflatedExplicitVRLittleEndian, "RGB", frames=2)
    write("rgb_deflated", ds, np.stack([colour(i) for i in range(2)]).tobytes())

    ds = dataset("ybr_full", ExplicitVRLittleEndian, "YBR_FULL")
    write("ybr_full", ds, colour().tobytes())

    ds = dataset("ybr_full_422", ExplicitVRLittleEndian, "YBR_FULL_422", frames=2)
    pairs = np.stack([colour(i) for i in range(2)]).reshape(-1, 2, 3)
    coded = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=-1)
    write("ybr_full_422", ds, coded.tobytes())


def palettes():
    ramp = np.arange(256)
    tables = [ramp * 257, np.sqrt(ramp / 255) * 65535, 65535 - ramp * 257]
    ds = dataset("palette", ExplicitVRLittleEndian, "PALETTE COLOR")
    for name, table in zip(("Red", "Green", "Blue"), tables):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", table.astype("<u2").tobytes())
    write("palette", ds, tissue().astype(np.uint8).tobytes())

    ds = dataset("palette_segmented", ExplicitVRLittleEndian, "PALETTE COLOR")
    segments = [
        [0, 1, 0, 1, 199, 65535],
        [0, 2, 9, 1000, 1, 198, 40000],
        # Repeats the first two segments once.
        [0, 1, 60000, 1, 99, 500, 2, 2, 0, 0],
    ]
    for name, table in zip(("Red", "Green", "Blue"), segments):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [200, 30, 16])
        setattr(ds, f"Segmented{name}PaletteColorLookupTableData", np.array(table, "<u2").tobytes())
    write("palette_segmented", ds, tissue().astype(np.uint8).tobytes())


def coded():
    ds = dataset("rle_rgb", RLELossless, "RGB", frames=2)
    ds.PlanarConfiguration = 1
    write("rle_rgb", ds, [rle(colour(i).transpose(2, 0, 1)) for i in range(2)])

    ds = dataset("rle_16bit", RLELossless, "MONOCHROME2", bits=16)
    wide = tissue(top=65535).astype(np.uint16)
    write("rle_16bit", ds, [rle([(wide >> 8).astype(np.uint8), (wide & 255).astype(np.uint8)])])

    ds = dataset("jpeg_baseline", JPEGBaseline8Bit, "YBR_FULL_422", frames=3)
    write("jpeg_baseline", ds, [baseline_jpeg(colour(i)) for i in range(3)])

    ds = dataset("jpeg_lossless", JPEGLosslessSV1, "MONOCHROME2", bits=16, stored=12)
    write("jpeg_lossless", ds, [lossless_jpeg(tissue(top=4095), 12)])

    ds = dataset("jpeg_ls", JPEGLSLossless, "MONOCHROME2", bits=16, stored=12, frames=2)
    write("jpeg_ls", ds, [jpegls(tissue(i, top=4095).astype(np.uint16), 12, 0, 0) for i in range(2)])

    for interleave, name in enumerate(("planes", "lines", "samples")):
        ds = dataset(f"jpeg_ls_{name}", JPEGLSLossless, "RGB")
        write(f"jpeg_ls_{name}", ds, [jpegls(colour(), 8, 0, interleave)])

    ds = dataset("jpeg_ls_near", JPEGLSNearLossless, "RGB")
    write("jpeg_ls_near", ds, [jpegls(colour(), 8, 3, 2)])

    ds = dataset("jpeg_2000", JPEG2000Lossless, "YBR_RCT")
    write("jpeg_2000", ds, [encode_array(colour(), photometric_interpretation=1, use_mct=True)])

    ds = dataset("jpeg_2000_signed", JPEG2000Lossless, "MONOCHROME2", bits=16, signed=1)
    write("jpeg_2000_signed", ds, [encode_array((tissue(top=30000) - 15000).astype(np.int16))])

    ds = dataset("jpeg_2000_lossy", JPEG2000, "YBR_ICT")
    lossy = encode_array(colour(), photometric_interpretation=1, use_mct=True, compression_ratios=[4])
    write("jpeg_2000_lossy", ds, [lossy])


def jpegls(array, bits, near, interleave):
    if interleave == 0 and array.ndim == 3:
        array = np.ascontiguousarray(array.transpose(2, 0, 1))
    options = {"lossy_error": near, "interleave_mode": interleave if array.ndim == 3 else None}
    return bytes(jpeg_ls.encode_array(array, **options))


def words():
    """Patient ids in several character sets, and a DICOMDIR of these files."""
    ids = {
        "utf8": ("ISO_IR 192", "Müller 東京"),
        "greek": ("ISO_IR 126", "Διονυσιος"),
        "chinese": ("GB18030", "王小东"),
        "japanese": (["", "ISO 2022 IR 87"], "東京"),
        "korean": (["", "ISO 2022 IR 149"], "김희중"),
    }
    for name, (charset, patient) in ids.items():
        ds = dataset(name, ExplicitVRLittleEndian, "MONOCHROME2")
        ds.SpecificCharacterSet, ds.PatientID, ds.IssuerOfPatientID = charset, patient, "HOSPITAL"
        write(f"charset_{name}", ds, tissue().astype(np.uint8).tobytes())
    files = FileSet()
    for name in ("mono2", "rgb_planar", "charset_utf8"):
        files.add(OUT / f"{name}.dcm")
    scratch = OUT / "scratch"
    files.write(scratch)
    (OUT / "DICOMDIR").write_bytes((scratch / "DICOMDIR").read_bytes())
    for path in sorted(scratch.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    scratch.rmdir()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    native()
    palettes()
    coded()
    words()
