"""Writes checkpoints as upstream packages write them, random weights, with what they compute.

    python scripts/upstream_checkpoints.py OUT [--tiny] [--no-features]

Needs torch, torchvision, segment_anything, transformers, mmengine and safetensors from PyPI.

OUT/<name>.pth or <name>/model.safetensors   the checkpoint
OUT/<name>.io.safetensors                    `images` [1, 3, H, W] and one tensor per feature level
OUT/checkpoints.json                         per checkpoint: its file, and per tensor the SHA-256 of
                                             its bytes, shape and dtype

Sizes are those of the published models (ViT-B at 1024, ResNet-50 at 224: 0.5 GB, 4 GB of memory);
with --tiny the same code on small ones. --no-features spares the forward passes.
"""

import argparse
import hashlib
import json
import pathlib

import segment_anything
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT

parser = argparse.ArgumentParser()
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--no-features", action="store_true")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
index = {}


def describe(file, state):
    """What reading the file must give."""
    tensors = {}
    for name, tensor in state.items():
        data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        tensors[name] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
        }
    return {"file": file, "tensors": tensors}


def spread(model):
    """Zeros and ones hide a mix-up; every parameter and statistic gets values of its own."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() <= 1 or "pos" in name:
                tensor.add_(torch.randn_like(tensor) * 0.02)
    return model.eval()


def features(name, images, compute):
    if not args.no_features:
        with torch.no_grad():
            tensors = {"images": images, **compute(images)}
        save_file({k: v.contiguous() for k, v in tensors.items()}, args.out / f"{name}.io.safetensors")


def sam_sizes():
    if args.tiny:
        return dict(width=64, depth=4, heads=2, image=128, window=7, global_at=(1, 3))
    return dict(width=768, depth=12, heads=12, image=1024, window=14, global_at=(2, 5, 8, 11))


def sam():
    """segment_anything's whole model; MedSAM's files are the same."""
    size = sam_sizes()
    model = segment_anything.sam_model_registry["vit_b"]()
    if args.tiny:
        norm = lambda width: torch.nn.LayerNorm(width, eps=1e-6)
        model.image_encoder = ImageEncoderViT(
            img_size=size["image"], embed_dim=size["width"], depth=size["depth"], num_heads=size["heads"],
            norm_layer=norm, use_rel_pos=True, window_size=size["window"], global_attn_indexes=size["global_at"],
        )
    spread(model)
    torch.save(model.state_dict(), args.out / "sam.pth")
    index["sam"] = describe("sam.pth", model.state_dict())

    def compute(images):
        levels = {}
        for number, block in enumerate(model.image_encoder.blocks):
            if number in (0, *size["global_at"]):
                hook = lambda _m, _i, out, number=number: levels.__setitem__(
                    f"block{number}", out.permute(0, 3, 1, 2)
                )
                block.register_forward_hook(hook)
        return {"embedding": model.image_encoder(images), **levels}

    features("sam", torch.randn(1, 3, size["image"], size["image"]), compute)


def huggingface_sam():
    size = sam_sizes()
    config = transformers.SamConfig(
        vision_config=dict(
            hidden_size=size["width"], num_hidden_layers=size["depth"], num_attention_heads=size["heads"],
            mlp_dim=4 * size["width"], image_size=size["image"], window_size=size["window"],
            global_attn_indexes=list(size["global_at"]),
        ),
        prompt_encoder_config=dict(image_size=size["image"], image_embedding_size=size["image"] // 16),
    )
    model = spread(transformers.SamModel(config))
    model.save_pretrained(args.out / "huggingface_sam")
    index["huggingface_sam"] = describe("huggingface_sam/model.safetensors", model.state_dict())
    # Tied weights are stored once.
    index["huggingface_sam"]["tied"] = ["prompt_encoder.shared_embedding.positional_embedding"]
    compute = lambda images: {"embedding": model.vision_encoder(images).last_hidden_state}
    features("huggingface_sam", torch.randn(1, 3, size["image"], size["image"]), compute)


def resnet():
    name = "resnet18" if args.tiny else "resnet50"
    model = spread(getattr(torchvision.models, name)(weights=None))
    torch.save(model.state_dict(), args.out / "resnet.pth")
    index["resnet"] = describe("resnet.pth", model.state_dict())

    def compute(images):
        x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
        levels = {}
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            levels[stage] = x = getattr(model, stage)(x)
        return levels

    features("resnet", torch.randn(1, 3, 224, 224), compute)


def mmengine_file():
    """The ResNet as an mmengine run leaves it: wrapped, half trained, with all that goes along."""
    from mmengine.logging import MessageHub
    from mmengine.runner import save_checkpoint

    backbone = torchvision.models.resnet18(weights=None)
    del backbone.fc
    state = {f"backbone.{k}": v for k, v in backbone.state_dict().items()}
    optimizer = torch.optim.AdamW(backbone.parameters())
    for parameter in backbone.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    hub = MessageHub.get_instance("upstream_checkpoints")
    for value in range(5):
        hub.update_scalar("train/loss", 1.0 / (1 + value))
    hub.update_info("iter", 5)
    checkpoint = dict(
        meta=dict(epoch=1, iter=5, experiment_name="upstream", seed=0),
        state_dict=state,
        message_hub=hub.state_dict(),
        optimizer=optimizer.state_dict(),
        param_schedulers=[],
    )
    save_checkpoint(checkpoint, str(args.out / "mmengine.pth"))
    index["mmengine"] = describe("mmengine.pth", state)


sam()
huggingface_sam()
resnet()
mmengine_file()
for name in ("sam", "resnet"):
    state = torch.load(args.out / f"{name}.pth", weights_only=True)
    torch.save(state, args.out / f"{name}_legacy.pth", _use_new_zipfile_serialization=False)
    index[f"{name}_legacy"] = {**index[name], "file": f"{name}_legacy.pth"}
(args.out / "checkpoints.json").write_text(json.dumps(index))
