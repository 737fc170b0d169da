"""Writes the hostile files of tests/fixtures/hostile: one folder per fuzz target.

    python scripts/make_fixtures_hostile.py tests/fixtures/hostile

Standard library only. Each file is small; large ones are generated in
tests/suite/hostile.rs. Files named `found_*` are fuzz findings: they are kept by hand.
"""

import gzip
import json
import pathlib
import struct
import sys
import zlib

OUT = pathlib.Path(sys.argv[1])


def put(target, name, content):
    folder = OUT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


# ---- zip and pickle -----------------------------------------------------------------------------


def zip_of(entries, overlap=()):
    """Stored entries (name, content); names in `overlap` point to the first entry's place."""
    body, directory = b"", b""
    for name, content in entries:
        place = 0 if name in overlap else len(body)
        name = name.encode()
        shared = struct.pack(
            "<5H3I2H", 20, 0, 0, 0, 0, zlib.crc32(content), len(content), len(content), len(name), 0
        )
        body += b"PK\x03\x04" + shared + name + content
        directory += b"PK\x01\x02\x14\0" + shared + bytes(10) + struct.pack("<I", place) + name
    end = struct.pack("<4H2IH", 0, 0, len(entries), len(entries), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def torch_zip(pickle, storages=("0",), overlap=()):
    entries = [("a/data.pkl", pickle)] + [(f"a/data/{key}", b"\x3f" * 64) for key in storages]
    return zip_of(entries, overlap)


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return b"X" + struct.pack("<I", len(value)) + value


def integer(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(values):
    return b"(" + b"".join(integer(v) for v in values) + b"t"


def tensor(shape=(4,), strides=None, offset=0, key="0", storage="FloatStorage", view=b""):
    if strides is None:
        strides = [1] * len(shape)
    place = b"(" + text("storage") + b"ctorch\n" + storage.encode() + b"\n"
    place += text(key) + text("cpu") + integer(16) + view + b"tQ"
    args = b"(" + place + integer(offset) + tuple_of(shape) + tuple_of(strides) + b"\x89Nt"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + args + b"R"


def state(**items):
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in items.items()) + b"u."


CALLS = {
    "os_system": b"cposix\nsystem\n(" + text("touch witness") + b"tR",
    "eval": b"c__builtin__\neval\n(" + text("open('witness', 'w')") + b"tR",
    "getattr": b"c__builtin__\ngetattr\n(c__builtin__\nprint\n" + text("__self__") + b"tR",
    "build": b"csubprocess\nPopen\n)\x81}(" + text("args") + text("touch witness") + b"ub",
    "instance": b"(" + text("touch witness") + b"iposix\nsystem\n",
    "object": b"(cposix\nsystem\n" + text("touch witness") + b"o",
    "stack_global": text("posix") + text("system") + b"\x93" + text("touch witness") + b"\x85R",
}

for name, call in CALLS.items():
    put("torch_pth", f"call_{name}.pth", torch_zip(state(weight=tensor(), evil=call)))
    put("pickle", f"call_{name}.pkl", state(evil=call))

BIG = 2**62
SHAPES = {
    "shape_2_62": tensor((BIG,)),
    "shape_product": tensor((2**31, 2**31, 2**31)),
    "shape_product_hidden": tensor((0, BIG, BIG)),
    "shape_negative": tensor((-4,)),
    "shape_beyond_64_bits": tensor((2**70,)),
    "shape_no_numbers": tensor().replace(tuple_of((4,)), b"(" + text("a") + b"t", 1),
    "stride_negative": tensor((4,), (-1,)),
    "stride_2_62": tensor((4, 4), (BIG, 1)),
    "strides_too_few": tensor((2, 2), (1,)),
    "offset_2_62": tensor((4,), (1,), BIG),
    "offset_negative": tensor((4,), (1,), -1),
    "behind_the_storage": tensor((17,)),
    "expanded": tensor((2**40,), (0,)),
    "storage_missing": tensor(key="9"),
    "storage_beyond_view": tensor(view=b"(" + text("0") + integer(BIG) + integer(BIG) + b"t"),
    "storage_complex": tensor(storage="ComplexFloatStorage"),
    "dimensions_65": tensor((1,) * 65),
    "arguments_missing": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
}
for name, bad in SHAPES.items():
    put("torch_pth", f"{name}.pth", torch_zip(state(weight=bad)))

good = state(weight=tensor())
put("torch_pth", "good.pth", torch_zip(good))
put("torch_pth", "name_with_nul.pth", torch_zip(state(**{"a\0b": tensor()})))
put("torch_pth", "name_twice.pth", torch_zip(b"\x80\x02}(" + (text("a") + tensor()) * 2 + b"u."))
put("torch_pth", "entries_overlap.pth", torch_zip(good, "0123", overlap=("a/data/2", "a/data/3")))
put("torch_pth", "two_pickles.pth", zip_of([("a/data.pkl", good), ("b/data.pkl", good)]))
put("torch_pth", "entry_twice.pth", zip_of([("a/data.pkl", good), ("a/data.pkl", good)]))
put("torch_pth", "zip_in_zip.pth", torch_zip(torch_zip(torch_zip(good))))
put("torch_pth", "path_outside.pth", zip_of([("../data.pkl", good), ("../data/0", b"\x3f" * 64)]))
put("torch_pth", "torchscript.pth", zip_of([("a/data.pkl", good), ("a/constants.pkl", good)]))
cut = torch_zip(good)
put("torch_pth", "cut.pth", cut[: len(cut) // 2])
put("torch_pth", "directory_elsewhere.pth", cut[:-6] + struct.pack("<IH", 0xFFFFFFF0, 0))
put("pickle", "long_announced.pkl", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.")
put("pickle", "memo_far.pkl", b"\x80\x02]r\xff\xff\xff\xffj\xff\xff\xff\xff.")
put("pickle", "tuples_deep.pkl", b"\x80\x02)" + b"\x85" * 2000 + b".")
put("pickle", "holds_itself.pkl", b"\x80\x02}q\0" + text("state_dict") + b"h\0s.")
put("pickle", "good.pkl", good)

# ---- safetensors --------------------------------------------------------------------------------


def safetensors(header, data=bytes(64), length=None):
    header = header if isinstance(header, (str, bytes)) else json.dumps(header)
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def info(shape=(4,), begin=0, end=16, dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


put("safetensors", "good.safetensors", safetensors({"a": info(), "b": info((3,), 16, 28)}))
BAD = {
    "overlap": {"a": info(), "b": info((4,), 8, 24)},
    "same_place": {"a": info(), "b": info()},
    "gap": {"a": info(), "b": info((4,), 32, 48)},
    "behind_the_end": {"a": info((16,), 32, 96)},
    "offset_2_62": {"a": info((4,), BIG, BIG + 16)},
    "backwards": {"a": info((4,), 16, 0)},
    "shape_2_62": {"a": info((BIG,), 0, 16)},
    "shape_product": {"a": info((2**31, 2**31, 2**31, 4), 0, 16)},
    "shape_product_hidden": {"a": info((0, 2**63, 2**63), 0, 0)},
    "shape_beyond_64_bits": {"a": info((2**64,), 0, 16)},
    "shape_negative": {"a": info((-4,), 0, 16)},
    "size_differs": {"a": info((5,), 0, 16)},
    "dimensions_65": {"a": info((1,) * 65, 0, 4)},
    "dtype_unknown": {"a": info((4,), 0, 16, "F31")},
    "metadata_no_text": {"__metadata__": {"a": 1}, "a": info()},
    "nothing": {},
}
for name, header in BAD.items():
    put("safetensors", f"{name}.safetensors", safetensors(header))
put("safetensors", "shape_nan.safetensors", safetensors(json.dumps({"a": info()}).replace("[4]", "[NaN]")))
put("safetensors", "shape_1e400.safetensors", safetensors(json.dumps({"a": info()}).replace("[4]", "[1e400]")))
twice = json.dumps({"a": info()})[:-1] + ", " + json.dumps({"a": info((3,), 16, 28)})[1:]
put("safetensors", "name_twice.safetensors", safetensors(twice))
put("safetensors", "name_with_nul.safetensors", safetensors({"a\0b": info()}))
put("safetensors", "not_utf8.safetensors", safetensors(json.dumps({"a": info()}).encode().replace(b'"a"', b'"\xff"')))
put("safetensors", "deep.safetensors", safetensors('{"__metadata__": {"a": ' + "[" * 9000 + "]" * 9000 + "}}"))
put("safetensors", "header_2_63.safetensors", safetensors({"a": info()}, length=2**63))
put("safetensors", "header_longer.safetensors", safetensors({"a": info()}, length=4096))
put("safetensors", "header_100_mb.safetensors", safetensors({"a": info()}, length=99_999_999))
put("safetensors", "header_empty.safetensors", safetensors("", length=0))
put("safetensors", "header_list.safetensors", safetensors("[1, 2]"))

# ---- COCO ---------------------------------------------------------------------------------------

IMAGES = '{"id": 1, "file_name": "a.png", "height": 2, "width": 3}'
OBJECT = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 0, 2, 2], "area": 3, "iscrowd": 0}
MASK = {"size": [2, 3], "counts": "231"}


def coco(annotation=None, images=IMAGES, categories='{"id": 1, "name": "benign"}', extra="", **keys):
    if annotation is None:
        annotation = json.dumps({**OBJECT, "segmentation": MASK, **keys})
    lists = f'"images": [{images}], "annotations": [{annotation}], "categories": [{categories}]'
    return "{" + extra + lists + "}"


DEEP = "[" * 2000 + "]" * 2000
FILES = {
    "good": coco(),
    "size_1e400": coco(images=IMAGES.replace('"height": 2', '"height": 1e400')),
    "size_nan": coco(images=IMAGES.replace('"height": 2', '"height": NaN')),
    "size_2_64": coco(images=IMAGES.replace('"height": 2', f'"height": {2**64}')),
    "size_huge": coco(segmentation=[], images=IMAGES.replace("2", "4294967295").replace("3", "4294967295")),
    "area_1e400": coco().replace('"area": 3', '"area": 1e400'),
    "area_of_huge_polygon": coco(area=None, segmentation=[[-1e308, 0, 1e308, 1e308, 3, -1e308]]),
    "box_of_huge_polygon": coco(bbox=None, segmentation=[[-1e308, 0, 1e308, 1e308, 3, -1e308]]),
    "polygon_1e308": coco(segmentation=[[-1e308, 0, 1e308, 1e308, 3, -1e308]]),
    "polygon_1e9": coco(segmentation=[[-1e9, -1e9, 1e9, 1e9, 1e9, -1e9]]),
    "polygon_1e400": coco(segmentation=[[1, 2, 3, 4, 5, 6]]).replace("[1, 2, 3", "[1e400, 2, 3"),
    "box_1e308": coco(segmentation=None, bbox=[-1e308, -1e308, 1e308, 1e308]),
    "counts_beyond_64_bits": coco(segmentation={"size": [2, 3], "counts": "o" * 40 + "0"}),
    "counts_sum_overflows": coco(segmentation={"size": [2, 3], "counts": [2**32 - 1] * 8}),
    "counts_of_4_gigapixels": coco(
        images=IMAGES.replace('2, "width": 3', '65535, "width": 65535'),
        segmentation={"size": [65535, 65535], "counts": [65535 * 65535]},
    ),
    "size_of_mask_2_32": coco(segmentation={"size": [2**32, 3], "counts": "231"}),
    "size_of_mask_0": coco(segmentation={"size": [0, 0], "counts": ""}),
    "deep_segmentation": coco('{"id": 1, "image_id": 1, "category_id": 1, "segmentation": ' + DEEP + "}"),
    "deep_extra": coco(extra='"info": {"a": ' + DEEP + "}, "),
    "deep_unknown_key": coco(extra='"a": ' + DEEP + ", "),
    "key_twice": coco().replace('"area": 3', '"area": 3, "area": 4'),
    "list_twice": coco(extra='"images": [], '),
    "name_with_nul": coco(images=IMAGES.replace("a.png", "a\\u0000.png")),
    "name_outside": coco(images=IMAGES.replace("a.png", "../../a.png")),
    "lone_surrogate": coco(images=IMAGES.replace("a.png", "\\ud800.png")),
    "id_128_bits": coco(images=IMAGES.replace('"id": 1', f'"id": {2**128}')),
    "id_negative": coco(images=IMAGES.replace('"id": 1', '"id": -1')),
}
for name, content in FILES.items():
    for target in ("coco_file", "coco_dataset"):
        put(target, f"{name}.json", content)
for target in ("coco_file", "coco_dataset"):
    put(target, "not_utf8.json", coco().encode().replace(b"benign", b"\xff\xfe"))

FOUND = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 0, 2, 2], "segmentation": MASK}


def found(**keys):
    return json.dumps([{**FOUND, **keys}])


RESULTS = {
    "good": found(),
    "score_1e400": found().replace("0.5", "1e400"),
    "score_nan": found().replace("0.5", "NaN"),
    "box_1e308": found(bbox=[-1e308, -1e308, 1e308, 1e308], segmentation=None),
    "polygon_1e308": found(segmentation=[[-1e308, 0, 1e308, 1e308, 3, -1e308]]),
    "counts_beyond_64_bits": found(segmentation={"size": [2, 3], "counts": "o" * 40 + "0"}),
    "deep": "[" * 20_000 + "]" * 20_000,
    "deep_unknown_key": found().replace('"score"', f'"a": {DEEP}, "score"'),
    "deep_segmentation": found(segmentation="X").replace('"X"', DEEP),
    "key_twice": found().replace('"score": 0.5', '"score": 0.5, "score": 0.6'),
}
for name, content in RESULTS.items():
    put("coco_results", f"{name}.json", content)

put("prompt_file", "deep.json", '{"images": [{"file_name": "a", "objects": ' + DEEP + "}]}")
put("prompt_file", "point_1e400.json", '{"images": [{"file_name": "a", "objects": [{"points": [[1e400, 1]]}]}]}')
put("prompt_file", "box_1e308.json", '{"images": [{"file_name": "a", "objects": [{"box": [-1e308, -1e308, 1e308, 1e308]}]}]}')
put("prompt_file", "mask.json", json.dumps({"images": [{"file_name": "a", "objects": [{"points": [[1, 1, 0]], "mask": MASK, "name": "x", "category": "c"}]}]}))
put("prompt_file", "points.csv", "image,name,category,x,y,label,x0,y0,x1,y1\na.png,n,c,1,2,1,,,,\na.png,n,c,,,,0,0,5,5\n")
put("prompt_file", "box_inf.csv", "image,x0,y0,x1,y1\na.png,-inf,0,inf,nan\n")
put("list_file", "names.txt", "# a comment\na b.png\tbenign\nc.png malignant,cyst\n")
put("list_file", "numbers.txt", "a.png 0\nb.png 3\nc.png 1,2\n")
put("list_file", "number_far.txt", "a.png 4294967295\n")
put("list_file", "name_with_nul.txt", b"a\0.png x\0y\n")
put("list_file", "not_utf8.txt", b"a.png \xff\n")

HEAD = "image_id,file_name,patient"
put("scores", "good.csv", f"{HEAD},part,field:device,dice,hd95\n1,a.png,p,x,\"A, B\",0.5,\n2,b.png,,,,1,3e-5\n")
put("scores", "good_classification.csv", f"{HEAD},label,predicted,p:a,p:b\n1,a.png,p,a,b,0.25,0.75\n")
put("scores", "column_twice.csv", f"{HEAD},dice,dice\n")
put("scores", "field_without_name.csv", f"{HEAD},field:,field:field:\n1,a,p,x,y\n")
put("scores", "infinite.csv", f"{HEAD},dice\n1,a,p,inf\n2,b,p,1e999\n")
put("scores", "image_twice.csv", f"{HEAD},dice\n1,a,p,0\n1,a,p,0\n")
put("scores", "quote_open.csv", f'{HEAD},dice\n1,"a,p,0\n')
put("scores", "not_utf8.csv", HEAD.encode() + b",dice\n1,\xff,p,0\n")

# ---- configs and specs --------------------------------------------------------------------------

CONFIG = """seed = 3
device = "cpu"
run_dir = "run"
[dataset]
type = "coco"
root = "data"
train = "train.json"
val = { annotations = "val.json", images = "images/val" }
[preprocess]
image_size = 64
[augment]
flip_probability = 0.5
[loader]
batch_size = 4
[backbone]
type = "sam_vit"
embed_dim = 32
depth = 2
num_heads = 2
window_size = 2
global_attn_indexes = [1]
image_size = 64
out_channels = 0
[task]
type = "classification"
[optimizer]
lr = 1e-3
groups = [{ name = "bias", pattern = "*.bias", weight_decay_multiplier = 0.0 }]
[train]
max_steps = 6
"""
CONFIGS = {
    "good": CONFIG,
    "inherits": 'extends = ["hostile_base.toml", "hostile_other.toml"]\nunset = "weights"\nseed = 4\n%%\n'
    + CONFIG
    + '\n%%\n[weights]\npath = "a.pth"\n%%\noptimizer.lr=1e-4\noptimizer.groups.0.freeze=true\n~augment\n',
    "extends_itself": 'extends = "hostile.toml"\n' + CONFIG,
    "extends_a_circle": 'extends = "hostile_base.toml"\n%%\nextends = "hostile.toml"\n',
    "extends_a_number": "extends = [1, 2]\n",
    "extends_many": "extends = [" + '"hostile_base.toml", ' * 300 + "]\n%%\nseed = 1\n",
    "extends_doubling": 'extends = ["hostile_base.toml", "hostile_base.toml"]\n%%\nextends = ["hostile_other.toml", "hostile_other.toml"]\n%%\nseed = 1\n',
    "arrays_deep": "a = " + "[" * 5000 + "]" * 5000 + "\n",
    "tables_deep": "a = " + "{a = " * 5000 + "1" + "}" * 5000 + "\n",
    "keys_deep": ".".join("a" * 5000) + " = 1\n",
    "header_deep": "[" + ".".join("a" * 5000) + "]\n",
    "override_deep": CONFIG + "\n%%\n\n%%\n\n%%\n" + ".".join("a" * 5000) + "=1\n",
    "override_arrays_deep": CONFIG + "\n%%\n\n%%\n\n%%\nseed=" + "[" * 5000 + "]" * 5000 + "\n",
    "key_twice": "seed = 1\nseed = 2\n",
    "number_beyond": CONFIG.replace("seed = 3", f"seed = {2**70}"),
    "number_nan": CONFIG.replace("1e-3", "nan"),
    "number_1e400": CONFIG.replace("1e-3", "1e400"),
    "numbers_largest": CONFIG.replace("batch_size = 4", f"batch_size = {2**63 - 1}").replace("max_steps = 6", f"max_steps = {2**63 - 1}").replace("image_size = 64", f"image_size = {2**31}"),
    "name_with_nul": CONFIG.replace('"train.json"', '"tr\\u0000ain.json"'),
    "date": CONFIG.replace("seed = 3", "seed = 1979-05-27T07:32:00Z"),
}
for name, content in CONFIGS.items():
    put("config", f"{name}.toml", content)
put("config", "not_utf8.toml", b"seed = 3\nrun_dir = \"\xff\"\n")
put("spec", "keys_deep.toml", ".".join("a" * 5000) + " = 1\n")
put("spec", "arrays_deep.toml", "a = " + "[" * 5000 + "]" * 5000 + "\n")

# ---- images -------------------------------------------------------------------------------------


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, data=b"", depth=8, colour=0):
    header = struct.pack(">2I5B", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bmp(width, height, bits=24, compression=0, data=b""):
    info = struct.pack("<I2i2H6I", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<3I", 54 + len(data), 0, 54) + info + data


def tiff(tags, data=b"\0" * 64):
    entries = b"".join(struct.pack("<2H2I", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def tiff_image(width, height, rows=None, count=1, compression=1):
    place = 8 + 2 + 9 * 12 + 4
    return tiff([
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression),
        (262, 3, 1, 1), (273, 4, count, place), (277, 3, 1, 1), (278, 4, 1, rows or height),
        (279, 4, count, 64),
    ])  # fmt: skip


def jpeg(width, height):
    quantise = b"\xff\xdb\0\x43\0" + bytes([1] * 64)
    frame = b"\xff\xc0\0\x0b\x08" + struct.pack(">2H", height, width) + b"\x01\x01\x11\0"
    huffman = b"".join(
        b"\xff\xc4\0\x14" + bytes([kind, 1] + [0] * 15 + [0]) for kind in (0, 0x10)
    )
    scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + b"\x00" * 8
    return b"\xff\xd8" + quantise + frame + huffman + scan + b"\xff\xd9"


def webp(width, height):
    bits = (width - 1) | (height - 1) << 14
    content = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", bits) + b"\0"
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


GIGA = 100_000
IMAGE_FILES = {
    "png_10_gigapixels": png(GIGA, GIGA),
    "png_2_31": png(2**31 - 1, 2**31 - 1, depth=16, colour=6),
    "png_no_pixels": png(0, 0),
    "png_bomb": png(500, 500, b"\0" * 4_000_000),
    "png_short_data": png(64, 64, b"\0" * 65),
    "png_good": png(3, 2, bytes([0, 1, 2, 3, 0, 4, 5, 6])),
    "bmp_10_gigapixels": bmp(GIGA, GIGA),
    "bmp_negative": bmp(-5, -5),
    "bmp_lowest": bmp(-(2**31), -(2**31)),
    "bmp_runs": bmp(60000, 1, 8, 1, b"\xff\x01" * 40),
    "bmp_good": bmp(2, 2, data=bytes(16)),
    "tiff_10_gigapixels": tiff_image(GIGA, GIGA),
    "tiff_2_32": tiff_image(2**32 - 1, 2**32 - 1),
    "tiff_strips": tiff_image(8, 8, 1, 2**31),
    "tiff_good": tiff_image(8, 8),
    "tiff_loops": b"II*\0" + struct.pack("<IHI", 8, 0, 8),
    "tiff_lzw": tiff_image(500, 500, compression=5),
    "tiff_packbits": tiff_image(500, 500, compression=32773),
    "tiff_deflate": tiff_image(500, 500, compression=8),
    "tiff_jpeg": tiff_image(500, 500, compression=7),
    "jpeg_4_gigapixels": jpeg(65500, 65500),
    "jpeg_good": jpeg(8, 8),
    "jpeg_no_rows": jpeg(8, 0),
    "webp_largest": webp(16384, 16384),
    "webp_small": webp(1, 1),
}
for name, content in IMAGE_FILES.items():
    put("images", name, content)

# ---- raw datasets -------------------------------------------------------------------------------


def nifti(dims, datatype=2, bits=8, offset=352.0, data=bytes(64)):
    dims = [len(dims), *dims] + [1] * (7 - len(dims))
    header = struct.pack("<i", 348) + bytes(36) + struct.pack("<8h", *dims) + bytes(14)
    header += struct.pack("<3h", datatype, bits, 0) + struct.pack("<8f", *[1.0] * 8)
    header += struct.pack("<3f", offset, 1.0, 0.0)
    return header.ljust(344, b"\0") + b"n+1\0" + bytes(4) + data


VOLUMES = {
    "nifti_good": nifti([4, 4, 4]),
    "nifti_largest": nifti([32767, 32767, 32767]),
    "nifti_product": nifti([32767] * 7, 64, 64),
    "nifti_negative": nifti([-4, 4, 4]),
    "nifti_offset_nan": nifti([4, 4, 4], offset=float("nan")),
    "nifti_offset_far": nifti([4, 4, 4], offset=3e38),
    "meta_good": b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n" + bytes(64),
    "meta_largest": b"ObjectType = Image\nNDims = 3\nDimSize = 4294967295 4294967295 4294967295\nElementType = MET_DOUBLE\nElementDataFile = LOCAL\n",
    "meta_outside": b"ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = ../../../../etc/passwd\n",
    "meta_itself": b"ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nElementDataFile = hostile.mha\n",
    "nrrd_good": b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nspacings: 1 2 nan\n\n" + bytes(64),
    "nrrd_largest": b"NRRD0004\ntype: double\ndimension: 3\nsizes: 4294967295 4294967295 4294967295\nencoding: raw\nendian: big\n\n",
    "nrrd_vectors": b"NRRD0005\ntype: uchar\ndimension: 3\nsizes: 4 4 3\nkinds: domain domain vector\nencoding: raw\nspace directions: (1,0) (0,1) none\n\n" + bytes(48),
    "nrrd_outside": b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: ../../../../etc/passwd\n",
    "nrrd_itself": b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: raw\nline skip: 99\ndata file: hostile.nii\n",
    "nrrd_packed": b"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 4\nencoding: gzip\n\n" + gzip.compress(bytes(16), mtime=0),
    "meta_packed": b"ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nCompressedData = True\nElementDataFile = LOCAL\n" + zlib.compress(bytes(16)),
}
for name, content in VOLUMES.items():
    put("volumes", name, content)


def npy(header, data=bytes(64)):
    header = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


ARRAYS = {
    "good": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4, 4), }"),
    "shape_2_62": npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({BIG},), }}"),
    "shape_product": npy("{'descr': '<f8', 'fortran_order': True, 'shape': (4294967296, 4294967296, 4), }"),
    "shape_negative": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 4, 4), }"),
    "shape_deep": npy("{'descr': '|u1', 'fortran_order': False, 'shape': " + "(" * 20 + ")" * 20 + ", }"),
    "object": npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }", state(structures=CALLS["os_system"])),
}
for name, content in ARRAYS.items():
    put("arrays", f"{name}.npy", content)



def riff(kind, content):
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def avi(width, height, frame=bytes(48), bits=24, compression=b"\0\0\0\0"):
    info = struct.pack("<I2i2H", 40, width, height, 1, bits) + compression + bytes(20)
    stream = riff(b"strh", b"vids" + b"DIB " + bytes(48)) + riff(b"strf", info)
    lists = riff(b"LIST", b"hdrl" + riff(b"LIST", b"strl" + stream))
    return riff(b"RIFF", b"AVI " + lists + riff(b"LIST", b"movi" + riff(b"00db", frame)))


def box(kind, content):
    return struct.pack(">I", len(content) + 8) + kind + content


def mp4(sizes=(0, 1, 4), chunks=(1, 8), runs=(1, 1, 1, 1), times=(1, 1, 1), edits=None, more=b""):
    numbers = lambda values: bytes(4) + struct.pack(f">{len(values)}I", *values)
    tables = box(b"stsd", bytes(8) + box(b"jpeg", bytes(78))) + box(b"stsz", numbers(sizes))
    tables += box(b"stco", numbers(chunks)) + box(b"stsc", numbers(runs)) + box(b"stts", numbers(times)) + more
    media = box(b"hdlr", bytes(8) + b"vide") + box(b"mdhd", numbers((0, 0, 10, 1)))
    media += box(b"minf", box(b"stbl", tables))
    track = box(b"mdia", media) + (box(b"edts", box(b"elst", numbers(edits))) if edits else b"")
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", numbers((0, 0, 10, 1))) + box(b"trak", track))


def gif(height, width, frames=1, end=b";"):
    screen = b"GIF89a" + struct.pack("<2H3B", width, height, 0x80, 0, 0) + bytes(6)
    return screen + frames * (b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0") + end


VIDEOS = {
    "avi_good": avi(4, 4),
    "avi_largest": avi(10_000, 10_000),
    "avi_no_pixels": avi(0, 0),
    "avi_lowest": avi(-(2**31), -(2**31)),
    "avi_lists_deep": riff(b"RIFF", b"AVI " + b"LIST\x0c\0\0\0hdrl" * 40),
    "avi_jpeg": avi(4, 4, jpeg(8, 8), compression=b"MJPG"),
    "avi_jpeg_of_4_gigapixels": avi(4, 4, jpeg(65500, 65500), compression=b"MJPG"),
    "mp4_frames": mp4(sizes=(1, 10_000_000), runs=(1, 1, 10_000_000, 1)),
    "mp4_frames_2_32": mp4(sizes=(1, 2**32 - 1), runs=(1, 1, 2**32 - 1, 1)),
    "mp4_chunks_2_32": mp4(chunks=(2**32 - 1, 8)),
    "mp4_good": mp4(),
    "mp4_times_2_32": mp4(times=(2**32 - 1, 1, 1)),
    "mp4_key_frame_0": mp4(more=box(b"stss", struct.pack(">3I", 0, 1, 0))),
    "mp4_offsets_negative": mp4(more=box(b"ctts", struct.pack(">4I", 0, 1, 2**32 - 1, 2**31))),
    "mp4_edit": mp4(edits=(1, 1, 0, 1 << 16)),
    "mp4_edits_2_32": mp4(edits=(2**32 - 1, 1, 0, 1 << 16)),
    "mp4_edits_repeated": mp4(edits=(1000, *(1, 0, 1 << 16) * 1000)),
    "mp4_edit_outside": mp4(edits=(1, 2**32 - 1, 2**31 - 1, 1 << 16)),
    "gif_good": gif(4, 4),
    "gif_largest": gif(65535, 65535),
    "gif_no_pixels": gif(0, 4),
    "gif_no_end": gif(4, 4, end=b""),
    "gif_1000_frames": gif(5, 5, 1000),
    "program_stream": b"\0\0\1\xba" + bytes(8) + b"\0\0\1\xb3" + bytes(8) + b"\0\0\1\xb5\x14\x8a",
}
for name, content in VIDEOS.items():
    put("video", name, content)


def dicom_element(group, element, vr, value):
    long = struct.pack("<2xI", len(value)) if vr in (b"OB", b"OW", b"SQ") else struct.pack("<H", len(value))
    return struct.pack("<HH", group, element) + vr + long + value


def dicom(syntax, tail, rows=2, columns=2, photometric=b"MONOCHROME2 ", frames=b"1 ", further=b""):
    def number(element, value):
        return dicom_element(0x28, element, b"US", struct.pack("<H", value))

    head = bytes(128) + b"DICM" + dicom_element(2, 0x10, b"UI", syntax + b"\0" * (len(syntax) % 2))
    image = number(2, 1 if photometric[:1] in b"MP" else 3) + dicom_element(0x28, 4, b"CS", photometric)
    image += dicom_element(0x28, 8, b"IS", frames) + number(0x10, rows) + number(0x11, columns)
    return head + image + number(0x100, 8) + number(0x101, 8) + number(0x103, 0) + further + tail


def fragments(*parts):
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part for part in (b"", *parts))
    return struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OB", 2**32 - 1) + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


EXPLICIT, BASELINE, JPEG_LS = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.80"
JPEG_2000, RLE = b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5"
PIXELS = dicom_element(0x7FE0, 0x10, b"OB", bytes(4))
SEQUENCE = struct.pack("<HH2s2xIHHI", 9, 0x1001, b"SQ", 2**32 - 1, 0xFFFE, 0xE000, 2**32 - 1)
PALETTE = b"".join(dicom_element(0x28, tag, b"US", struct.pack("<3H", 256, 0, 16)) for tag in (0x1101, 0x1102, 0x1103))
SIZ = b"\xff\x4f\xff\x51\0\x29\0\0" + struct.pack(">8IH", 60000, 800, 0, 0, 60000, 800, 0, 0, 1) + b"\x07\x01\x01"
LS = b"\xff\xd8\xff\xf7\0\x0b\x08" + struct.pack(">HH", 9000, 9000) + b"\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\0\0"
DICOM = {
    "good": dicom(EXPLICIT, PIXELS),
    "nested_1000": dicom(EXPLICIT, SEQUENCE * 1000),
    "length_of_4_gigabytes": dicom(EXPLICIT, struct.pack("<HH2s2xI", 9, 0x1001, b"OB", 2**32 - 2)),
    "gigapixels": dicom(EXPLICIT, PIXELS, rows=65535, columns=65535),
    "frames_2_31": dicom(EXPLICIT, PIXELS, frames=b"2147483647"),
    "palette_short": dicom(EXPLICIT, PIXELS, photometric=b"PALETTE COLOR ", further=PALETTE),
    "private": dicom(b"1.2.3.4.5", PIXELS),
    "deflate_bomb": dicom(b"1.2.840.10008.1.2.1.99", b"")[:162] + zlib.compress(bytes(1 << 22), 9)[2:-4],
    "jpeg_4_gigapixels": dicom(BASELINE, fragments(jpeg(65500, 65500)), rows=65500, columns=65500),
    "jpeg_80_megapixels": dicom(BASELINE, fragments(jpeg(9000, 9000)), rows=9000, columns=9000),
    "jpeg_other_size": dicom(BASELINE, fragments(jpeg(8, 8))),
    "jpeg_ls_80_megapixels": dicom(JPEG_LS, fragments(LS + b"\xff\xd9"), rows=9000, columns=9000),
    "jpeg_2000_48_megapixels": dicom(JPEG_2000, fragments(SIZ), rows=800, columns=60000),
    "rle_segments_2_32": dicom(RLE, fragments(b"\xff" * 64)),
}
for name, content in DICOM.items():
    put("dicom", name, content)

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HDF5 = {
    "signature.h5": SIGNATURE,
    "version_0.h5": SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0]) + bytes(4) + b"\xff" * 64,
    "version_2.h5": SIGNATURE + bytes([2, 8, 8, 0]) + bytes(8) + b"\xff" * 24 + bytes(4),
    "addresses_of_255_bytes.h5": SIGNATURE + bytes([3, 255, 255, 0]) + b"\xff" * 600,
}
for name, content in HDF5.items():
    put("hdf5", name, content)

put("archives", "outside.zip", zip_of([("../a.txt", b"a")]))
put("archives", "absolute.zip", zip_of([("/tmp/a.txt", b"a")]))
put("archives", "nul.zip", zip_of([("a\0b.txt", b"a")]))
put("archives", "overlap.zip", zip_of([("a", b"a"), ("b", b"a")], overlap=("b",)))
put("archives", "nested.zip", zip_of([("a/b.zip", zip_of([("c.zip", zip_of([("d.txt", b"d")]))]))]))
put("archives", "good.zip", zip_of([("a/b.txt", b"b"), ("c.txt", b"c")]))

put("rle", "small", bytes([255, 2, 3, 1, 3, 3, 2, 3, 1] + [0] * 40))
put("polygons", "small", bytes([255, 9, 9] + [30] * 60))
