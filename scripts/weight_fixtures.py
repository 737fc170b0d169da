"""Writes the small checkpoints of tests/fixtures/weights, and the expected results of reading them.

    python scripts/weight_fixtures.py tests/fixtures/weights

Needs torch, numpy, safetensors and mmengine from PyPI. Every file is written by the library whose
files it represents; only the tar format, which PyTorch has not written since 2016, is assembled here.
"""

import collections
import io
import pathlib
import pickle
import struct
import sys
import tarfile

import numpy as np
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(sys.argv[1])
OUT.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)


def layouts():
    """One tensor per layout and number format."""
    base = torch.randn(6, 5)
    state = collections.OrderedDict()
    state["plain"] = base
    state["shared"] = base
    state["transposed"] = base.t()
    state["sliced"] = base[1:5:2, 2:4]
    state["expanded"] = torch.arange(3.0).reshape(3, 1).expand(3, 4)
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(torch.randn(3))
    state["nested.float64"] = torch.randn(4, dtype=torch.float64)
    state["nested.float16"] = torch.randn(4).half()
    state["nested.bfloat16"] = torch.randn(4).bfloat16()
    state["int8"] = torch.tensor([-128, 0, 127], dtype=torch.int8)
    state["uint8"] = torch.tensor([0, 128, 255], dtype=torch.uint8)
    state["int16"] = torch.tensor([-(2**15), 1], dtype=torch.int16)
    state["int32"] = torch.tensor([-(2**31), 1], dtype=torch.int32)
    state["int64"] = torch.tensor([-(2**63), 1], dtype=torch.int64)
    state["bool"] = torch.tensor([True, False, True])
    return state


class Unknown:
    """A class unknown to the reader, holding a tensor."""

    def __init__(self):
        self.tensor = torch.zeros(2)


class OwnDict(dict):
    """A subclass of dict, like configs."""


def oddities():
    """Everything a training framework may leave beside the weights."""
    counts = collections.defaultdict(list)
    counts["loss"].append(torch.tensor(0.5))
    return {
        None: "a key that is None",
        True: "a key that is a bool",
        0.5: "a key that is a float",
        ("a", 1): "a key that is a tuple",
        "defaultdict": counts,
        "deque": collections.deque([1, torch.ones(1)], maxlen=3),
        "counter": collections.Counter("abca"),
        "own": OwnDict(a=torch.ones(1)),
        "unknown": Unknown(),
        "set": {1, 2},
        "frozenset": frozenset({3}),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scalar": np.float64(1.5),
        "big": 2**80,
        "negative": -(2**40),
        "bytes": b"\x00\xff",
        "text": "µ",
        "complex": 1 + 2j,
        "slice": slice(1, 2),
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "path": pathlib.PurePosixPath("a/b"),
    }


def recursive():
    loop = []
    loop.append(loop)
    return loop


def tar(path, state):
    """The format of 2016: storages, tensors and the object in three members."""

    class Key(pickle.Pickler):
        def persistent_id(self, value):
            return str(id(value)) if isinstance(value, torch.Tensor) else None

    classes = {torch.float32: torch.FloatStorage, torch.int64: torch.LongStorage}
    roots = {}
    for tensor in state.values():
        roots.setdefault(tensor.untyped_storage().data_ptr(), tensor)
    storages = io.BytesIO()
    pickle.dump(len(roots), storages, 2)
    for address, tensor in roots.items():
        pickle.dump((address, "cpu", classes[tensor.dtype]), storages, 2)
        data = bytes(tensor.untyped_storage().tolist())
        storages.write(struct.pack("<q", len(data) // tensor.element_size()) + data)
    # A view of the second half of the first storage.
    first, root = next(iter(roots.items()))
    half = root.untyped_storage().nbytes() // root.element_size() // 2
    pickle.dump([(1, first, half, half)], storages, 2)
    tensors = io.BytesIO()
    view = torch.as_strided(root, (half,), (1,), half).clone()
    pickle.dump(len(state) + 1, tensors, 2)
    for tensor, key in [(t, t.untyped_storage().data_ptr()) for t in state.values()] + [(view, 1)]:
        pickle.dump((id(tensor), key, type(tensor)), tensors, 2)
        offset = 0 if tensor is view else tensor.storage_offset()
        tensors.write(struct.pack("<ii", tensor.dim(), 0))
        tensors.write(struct.pack(f"<{tensor.dim()}q", *tensor.shape))
        tensors.write(struct.pack(f"<{tensor.dim()}q", *tensor.stride()))
        tensors.write(struct.pack("<q", offset))
    state = dict(state, view=view)
    saved = io.BytesIO()
    Key(saved, 2).dump(collections.OrderedDict(state))
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, member in [("sys_info", None), ("storages", storages), ("tensors", tensors), ("pickle", saved)]:
            if member is None:
                member = io.BytesIO()
                pickle.dump({"protocol_version": 1000, "little_endian": True}, member, 2)
            info = tarfile.TarInfo(name)
            info.size = len(member.getvalue())
            member.seek(0)
            archive.addfile(info, member)
    return state


def numpy_pickle(path, state, protocol):
    """As detectron2 publishes weights: arrays in a dict, with its notes beside them."""
    arrays = {name: tensor.detach().numpy() for name, tensor in state.items() if tensor.dtype != torch.bfloat16}
    arrays["transposed"] = np.asfortranarray(arrays["transposed"])
    # NumPy 2 renamed its modules; the published files have the old names.
    saved = {"model": arrays, "__author__": "third_party", "matching_heuristics": True, "iteration": 3}
    saved["big_endian"], saved["objects"] = np.arange(3, dtype=">f4"), np.array(["text", None])
    data = pickle.dumps(saved, protocol)
    if protocol < 4:
        data = data.replace(b"cnumpy._core.", b"cnumpy.core.")
    path.write_bytes(data)


class Block(torch.nn.Module):
    """Names of a ViT block in mmpretrain."""

    def __init__(self, width):
        super().__init__()
        self.ln1 = torch.nn.LayerNorm(width)
        self.attn = torch.nn.Module()
        self.attn.qkv = torch.nn.Linear(width, 3 * width)
        self.attn.proj = torch.nn.Linear(width, width)
        self.attn.rel_pos_h = torch.nn.Parameter(torch.randn(3, width // 2))
        self.attn.rel_pos_w = torch.nn.Parameter(torch.randn(3, width // 2))
        self.ln2 = torch.nn.LayerNorm(width)
        self.ffn = torch.nn.Module()
        self.ffn.layers = torch.nn.Sequential(
            torch.nn.Sequential(torch.nn.Linear(width, 2 * width), torch.nn.GELU()),
            torch.nn.Linear(2 * width, width),
        )


def tiny_vit(width=8):
    model = torch.nn.Module()
    model.backbone = torch.nn.Module()
    model.backbone.pos_embed = torch.nn.Parameter(torch.randn(1, 2, 2, width))
    model.backbone.patch_embed = torch.nn.Module()
    model.backbone.patch_embed.projection = torch.nn.Conv2d(3, width, 4, 4)
    model.backbone.layers = torch.nn.ModuleList([Block(width), Block(width)])
    model.head = torch.nn.Module()
    model.head.fc = torch.nn.Linear(width, 3)
    model.head.loss = lambda x: model.head.fc(x).square().mean()
    return model


def mmengine_checkpoint(path):
    """Trains two steps with mmengine's own runner and keeps the file it writes."""
    import tempfile

    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    class Wrapper(BaseModel):
        def __init__(self):
            super().__init__()
            model = tiny_vit()
            self.backbone, self.head = model.backbone, model.head

        def forward(self, inputs, mode="tensor"):
            features = self.backbone.patch_embed.projection(inputs).mean((2, 3))
            for block in self.backbone.layers:
                features = block.attn.proj(block.ln1(features)) + features
            return {"loss": self.head.fc(features).square().mean()}

    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=Wrapper(),
            work_dir=folder,
            train_dataloader=dict(
                batch_size=2,
                dataset=[{"inputs": torch.randn(3, 8, 8)} for _ in range(4)],
                sampler=dict(type="DefaultSampler", shuffle=True),
                collate_fn=dict(type="default_collate"),
            ),
            train_cfg=dict(by_epoch=False, max_iters=2),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
            param_scheduler=dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=2),
            default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2)),
            randomness=dict(seed=0),
        )
        runner.train()
        data = (pathlib.Path(folder) / "iter_2.pth").read_bytes()
    path.write_bytes(data)
    return torch.load(path, weights_only=False)["state_dict"]


def expect(name, state):
    """The expected result of reading a file: contiguous, one storage per tensor."""
    save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, OUT / f"{name}.safetensors")


state = layouts()
expect("layouts", state)
torch.save(state, OUT / "zip.pth")
torch.save(state, OUT / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save({"model": {"state_dict": state}, **oddities(), "loop": recursive()}, OUT / "oddities.pth")
torch.save(
    {"model": {"state_dict": state}, **oddities(), "loop": recursive()},
    OUT / "oddities_legacy.pth",
    _use_new_zipfile_serialization=False,
    pickle_protocol=4,
)
numpy_pickle(OUT / "numpy.pkl", state, 3)
numpy_pickle(OUT / "numpy_protocol5.pkl", state, 5)
torch.save(tiny_vit().backbone.layers, OUT / "module.pth")
small = collections.OrderedDict(
    plain=torch.randn(4, 3), transposed=torch.randn(4, 3).t(), counter=torch.tensor([7, -7])
)
expect("tar", tar(OUT / "tar.pth", small))
expect("mmengine", mmengine_checkpoint(OUT / "mmengine.pth"))
