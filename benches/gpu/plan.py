"""The order of the steps and their sizes."""

import os
from dataclasses import dataclass, field

import steps
from steps import CLASSES, SAM, Step

RESNET = "configs/bus-bra/classification-resnet50.toml"
MASK2FORMER = "configs/bus-bra/mask2former-resnet50.toml"


@dataclass(frozen=True)
class Size:
    """The published sizes."""

    side: int = 1024
    data_side: int = 1024
    images: int = 32
    batches: tuple = (8, 1, 16)
    # The batch of everything else.
    batch: int = 8
    # Timed steps of a dry run.
    steps: int = 20
    train_steps: int = 40
    log_every: int = 5
    warm_up_lines: int = 2
    parity_steps: int = 6
    attention: tuple = ("flash", "cudnn", "efficient", "math")
    precisions: tuple = ("bf16", "fp32", "tf32")
    peers: bool = True
    workers: int = field(default_factory=lambda: max(1, min(16, os.cpu_count() or 1)))
    # What makes the models smaller.
    tiny_vit: tuple = ()
    sam: tuple = ()
    resnet: tuple = ()
    mask2former: tuple = ()
    vit: dict = field(default_factory=dict)


VIT = (
    "preprocess.image_size=64", "backbone.image_size=64", "backbone.depth=2", "backbone.global_attn_indexes=[1]",
    "backbone.window_size=3", "backbone.num_heads=2")

# Shows within seconds that every step works; its figures say nothing about speed.
TINY = Size(
    side=64, data_side=64, images=20, batches=(2,), batch=2, steps=1, train_steps=3, log_every=1, warm_up_lines=1,
    parity_steps=2, attention=("flash",), precisions=("bf16",), peers=False, workers=1,
    tiny_vit=(*VIT, "backbone.embed_dim=32", "backbone.patch_size=8"),
    sam=(*VIT, "backbone.embed_dim=32"),
    resnet=("preprocess.image_size=64", "backbone.depth=18"),
    mask2former=(
        "preprocess.image_size=64", "backbone.depth=18", "task.num_queries=4", "task.feat_channels=32",
        "task.pixel_decoder.num_layers=1", "task.transformer_decoder.num_layers=1", "task.training.num_points=64"),
    vit={"dim": 32, "depth": 2, "global_blocks": 1, "window": 3})


def plan(size):
    found = [
        Step("data", "health", "phantoms", "sonotune", steps.phantoms, 3, 90),
        Step("doctor", "health", "doctor", "sonotune", steps.doctor, 3, 60)]
    for task in steps.PARITY_CONFIGS:
        found.append(Step(f"parity/{task}", "parity", task, "sonotune", steps.same_numbers(task), 8, 120))
    found += [sam(size, batch) for batch in size.batches]
    found.append(Step(
        "end_to_end", "end_to_end", f"SAM ViT-B, bf16, batch {size.batch}", "sonotune",
        steps.end_to_end("end_to_end", size.batch, size), 15, 90))
    found += [attention(size, backend) for backend in size.attention[:-1]]
    found += [resnet(size, size.precisions[0]), mask2former(size)]
    if size.peers:
        found += [peers_step(name, 8, compiled) for compiled in (False, True) for name in steps.PACKAGES]
        found += [peers_step(name, 1, False) for name in steps.PACKAGES]
    found += [resnet(size, precision) for precision in size.precisions[1:]]
    found.append(Step(
        "loader/1", "loading", f"PNG of {size.data_side}², one worker", "sonotune",
        steps.dry_run("loader/1", SAM, *steps.sam_keys(size, size.batch, "loader.num_workers=1")), 10, 60))
    found += [attention(size, backend) for backend in size.attention[-1:]]
    if size.peers:
        found += [peers_step(name, 1, True) for name in steps.PACKAGES]
    return found


def sam(size, batch):
    key = f"sam/{batch}"
    measure = steps.dry_run(key, SAM, *steps.sam_keys(size, batch), sam=True)
    return Step(key, "training", sam_case(batch), "sonotune", measure, 10, 75)


def sam_case(batch):
    return f"SAM ViT-B, bf16, batch {batch}"


def attention(size, backend):
    key = f"attention/{backend}"
    keys = steps.sam_keys(size, size.batch, f"{steps.ATTENTION_KEY}={backend}")
    case = f"{sam_case(size.batch)}, {backend} attention"
    measure = steps.dry_run(key, SAM, *keys, sam=True, newest=steps.ATTENTION_KEY)
    return Step(key, "training", case, "sonotune", measure, 10, 60)


def resnet(size, precision):
    key = f"resnet/{precision}"
    keys = [CLASSES, f"precision={precision}", f"loader.batch_size={size.batch}", *size.resnet]
    case = f"ResNet-50 classification, {precision}, batch {size.batch}"
    return Step(key, "training", case, "sonotune", steps.dry_run(key, RESNET, *keys), 10, 60)


def mask2former(size):
    key = "mask2former/bf16"
    keys = [CLASSES, "precision=bf16", f"loader.batch_size={size.batch}", *size.mask2former]
    case = f"Mask2Former R50, bf16, batch {size.batch}"
    return Step(key, "training", case, "sonotune", steps.dry_run(key, MASK2FORMER, *keys), 10, 75)


def peers_step(name, batch, compiled):
    package = name + (", torch.compile" if compiled else "")
    key = f"peers/{batch}/{package}"
    measure = steps.peer(name, batch, compiled)
    least, most = (40, 150) if compiled else (12, 60)
    return Step(key, "training", sam_case(batch), package, measure, least, most)
