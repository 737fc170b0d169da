"""Writes tests/fixtures/{sam_vit,resnet18,resnet50}: tiny backbones of segment_anything and
torchvision with seeded random weights, their features and gradients.

    python scripts/make_fixtures_backbone.py        # needs torch, torchvision, segment_anything, safetensors

The folders have the layout of a reference folder: weights.safetensors (upstream's key names),
io.safetensors, io.json with the sizes under "config".
"""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def write(folder, weights, io, config):
    folder = ROOT / folder
    folder.mkdir(parents=True, exist_ok=True)
    plain = lambda tensors: {k: v.detach().float().contiguous() for k, v in tensors.items()}
    save_file(plain(weights), folder / "weights.safetensors")
    save_file(plain(io), folder / "io.safetensors")
    (folder / "io.json").write_text(json.dumps({"config": {"backbone": config}}, indent=1) + "\n")


def randomize(module, generator):
    """Moves every parameter away from its special initial value."""
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1 and name.endswith("weight"):  # a norm's scale
            parameter.data = 1 + 0.2 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.1 * noise
        elif "rel_pos" in name or name == "pos_embed":
            parameter.data = 0.3 * noise
        else:
            parameter.data = noise * (1.2 / parameter[0].numel()) ** 0.5


def sam_vit(generator):
    config = dict(type="sam_vit", embed_dim=32, num_heads=2, depth=3, mlp_dim=64, window_size=3,
                  global_attn_indexes=[1], img_size=64, patch_size=16, out_channels=16)
    encoder = ImageEncoderViT(
        img_size=64, patch_size=16, embed_dim=32, depth=3, num_heads=2, mlp_ratio=2, out_chans=16,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=3,
        global_attn_indexes=(1,))
    randomize(encoder, generator)
    io = {"images": torch.randn(2, 3, 64, 64, generator=generator, requires_grad=False)}
    for i, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda _m, _i, out, i=i: io.__setitem__(f"block.{i}", out))
    images = io["images"].clone().requires_grad_()
    io["image_embeddings"] = encoder(images)
    io["image_embeddings"].square().mean().backward()
    io["grad.images"] = images.grad
    for name, parameter in encoder.named_parameters():
        if any(key in name for key in ("rel_pos", "qkv", "pos_embed", "norm1", "lin1.bias")):
            io["grad.image_encoder." + name] = parameter.grad
    weights = {"image_encoder." + k: v.clone() for k, v in encoder.state_dict().items()}

    # A grid of 3x6 tokens: bicubic position embedding as in mmpretrain, linear relative positions
    # as in segment_anything's own get_rel_pos.
    io["other_size.images"] = torch.randn(1, 3, 48, 96, generator=generator)
    resized = F.interpolate(encoder.pos_embed.permute(0, 3, 1, 2), size=(3, 6), mode="bicubic")
    encoder.pos_embed = nn.Parameter(resized.permute(0, 2, 3, 1))
    kept = dict(io)
    with torch.no_grad():
        kept["other_size.image_embeddings"] = encoder(io["other_size.images"])
    write("sam_vit", weights, kept, config)


class SmallResNet(nn.Module):
    """torchvision's blocks and names, narrower than its constructor allows."""

    def __init__(self, block, counts, base):
        super().__init__()
        self.conv1 = nn.Conv2d(3, base, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        inplanes = base
        for stage, count in enumerate(counts):
            planes, layers = base << stage, []
            for index in range(count):
                stride = 2 if stage and not index else 1
                downsample = None
                if stride != 1 or inplanes != planes * block.expansion:
                    downsample = nn.Sequential(
                        resnet.conv1x1(inplanes, planes * block.expansion, stride),
                        nn.BatchNorm2d(planes * block.expansion))
                layers.append(block(inplanes, planes, stride, downsample))
                inplanes = planes * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        levels = []
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
            levels.append(x)
        return levels


def resnet_of(depth, block, counts, generator):
    base = 4
    model = SmallResNet(block, counts, base)
    randomize(model, generator)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean = 0.1 * torch.randn(shape, generator=generator)
            module.running_var = 0.5 + torch.rand(shape, generator=generator)
    model.eval()
    io = {"images": torch.randn(2, 3, 64, 96, generator=generator)}
    levels = model(io["images"])
    io |= {f"level.{i}": level for i, level in enumerate(levels)}
    levels[3].square().mean().backward()
    named = dict(model.named_parameters())
    chosen = ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight",
              "layer2.0.downsample.0.weight", "layer2.0.downsample.1.weight",
              "layer3.1.conv2.weight", "layer3.1.bn2.weight", "layer3.1.bn2.bias",
              "layer4.1.bn1.weight"]
    io |= {"grad." + name: named[name].grad for name in chosen}
    weights = {k: v.clone() for k, v in model.state_dict().items() if "num_batches" not in k}
    if depth == 18:
        io |= in_training(model, io["images"], chosen)
    config = dict(type="resnet", depth=depth, base_channels=base, out_indices=[0, 1, 2, 3])
    write(f"resnet{depth}", weights, io, config)


def in_training(model, images, chosen):
    """Batch norms that normalise by the batch: levels, gradients, and the statistics after one pass."""
    model.train()
    model.zero_grad()
    levels = model(images)
    io = {f"train.level.{i}": level for i, level in enumerate(levels)}
    levels[3].square().mean().backward()
    named = dict(model.named_parameters())
    io |= {"train.grad." + name: named[name].grad for name in chosen}
    return io | {"train.after." + name: value.clone() for name, value in model.named_buffers()
                 if "running" in name}


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(20)
    sam_vit(generator)
    resnet_of(18, resnet.BasicBlock, [2, 2, 2, 2], generator)
    resnet_of(50, resnet.Bottleneck, [3, 4, 6, 3], generator)
