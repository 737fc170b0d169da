"""Writes checkpoints as upstream packages write them, with random weights, and the models' outputs.

    python scripts/upstream_checkpoints.py OUT [--tiny] [--no-features]

Needs torch, torchvision, segment_anything, transformers, mmengine and safetensors from PyPI.

OUT/<name>.pth or <name>/model.safetensors   the checkpoint
OUT/<name>.io.safetensors                    `images` [1, 3, H, W] and one tensor per feature level;
                                             for SAM also prompts (`boxes`, `points`, `labels`,
                                             `mask_input`), sizes, and per case and number of masks
                                             `CASE.single|multi.logits|iou|enlarged`
OUT/checkpoints.json                         per checkpoint: its file, and per tensor the SHA-256 of
                                             its bytes, shape and dtype

Sizes are those of the published models (ViT-B at 1024, ResNet-50 at 224: 0.5 GB, 4 GB of memory);
with --tiny the same code on small ones. --no-features skips the forward passes.
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
from segment_anything.modeling import ImageEncoderViT, PromptEncoder

parser = argparse.ArgumentParser()
parser.add_argument("out", type=pathlib.Path)
parser.add_argument("--tiny", action="store_true")
parser.add_argument("--no-features", action="store_true")
args = parser.parse_args()
args.out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
index = {}


def describe(file, state):
    """The expected result of reading the file."""
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
    """Zeros and ones would hide a mix-up; every parameter and statistic gets its own values."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() <= 1 or "pos" in name:
                tensor.add_(torch.randn_like(tensor) * 0.02)
            elif "hypernetworks" in name and name.endswith(("layers.2.weight", "proj_out.weight")):
                # Logits of about 10, as in trained models; transformers starts smaller.
                tensor.mul_(30 if "layers" in name else 600)
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


def prompts(image):
    """Two objects with a box, two points and a mask each; the image fills three quarters of the input."""
    unit = image / 64
    mask = torch.randn(2, 1, image // 64, image // 64) * 4
    return {
        "boxes": torch.tensor([[5.0, 9.0, 40.0, 30.0], [20.0, 3.0, 63.0, 47.0]]) * unit,
        "points": torch.tensor([[[12.0, 20.0], [33.0, 41.0]], [[50.0, 10.0], [1.0, 46.0]]]) * unit,
        "labels": torch.tensor([[1, 0], [1, 1]]),
        "mask_input": torch.nn.functional.interpolate(mask, scale_factor=16, mode="bicubic"),
        "input_size": torch.tensor([image * 3 // 4, image]),
        "original_size": torch.tensor([image * 9 // 16, image * 3 // 4]),
    }


# The prompts of each case.
CASES = {"box": "b", "points": "p", "mask": "m", "all": "pbm"}


def answers(prompts, decode, enlarge):
    """`decode` makes [n, M, 4h, 4w] logits and [n, M] IoU, `enlarge` logits of the original size."""
    out = dict(prompts)
    for case, kinds in CASES.items():
        given = {
            "points": prompts["points"] if "p" in kinds else None,
            "labels": prompts["labels"] if "p" in kinds else None,
            "boxes": prompts["boxes"] if "b" in kinds else None,
            "mask_input": prompts["mask_input"] if "m" in kinds else None,
        }
        for name, multimask in (("single", False), ("multi", True)):
            logits, iou = decode(multimask=multimask, **given)
            out[f"{case}.{name}.logits"], out[f"{case}.{name}.iou"] = logits, iou
            out[f"{case}.{name}.enlarged"] = enlarge(logits)
    return out


def sam():
    """segment_anything's complete model; MedSAM's files are the same."""
    size = sam_sizes()
    model = segment_anything.sam_model_registry["vit_b"]()
    if args.tiny:
        norm = lambda width: torch.nn.LayerNorm(width, eps=1e-6)
        model.image_encoder = ImageEncoderViT(
            img_size=size["image"], embed_dim=size["width"], depth=size["depth"], num_heads=size["heads"],
            norm_layer=norm, use_rel_pos=True, window_size=size["window"], global_attn_indexes=size["global_at"],
        )
        grid = size["image"] // 16
        model.prompt_encoder = PromptEncoder(256, (grid, grid), (size["image"], size["image"]), 16)
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
        embedding = model.image_encoder(images)

        def decode(points, labels, boxes, mask_input, multimask):
            points = None if points is None else (points, labels)
            sparse, dense = model.prompt_encoder(points=points, boxes=boxes, masks=mask_input)
            if not sparse.shape[0] == dense.shape[0]:  # a mask alone counts as one object
                sparse = sparse.expand(dense.shape[0], -1, -1)
            return model.mask_decoder(embedding, model.prompt_encoder.get_dense_pe(), sparse, dense, multimask)

        given = prompts(size["image"])
        sizes = [tuple(given[key].tolist()) for key in ("input_size", "original_size")]
        enlarge = lambda logits: model.postprocess_masks(logits, *sizes)
        return {"embedding": embedding, **levels, **answers(given, decode, enlarge)}

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
        # SAM's own, with which the published weights were trained; transformers' default is 1e-6.
        mask_decoder_config=dict(layer_norm_eps=1e-5),
    )
    model = spread(transformers.SamModel(config))
    model.save_pretrained(args.out / "huggingface_sam")
    index["huggingface_sam"] = describe("huggingface_sam/model.safetensors", model.state_dict())
    # Only one of two tied weights is stored; the files on the Hub have both.
    twice = {k: v.clone() for k, v in model.state_dict().items()}
    save_file(twice, args.out / "huggingface_sam" / "tied_twice.safetensors", {"format": "pt"})
    index["huggingface_sam"]["tied"] = ["prompt_encoder.shared_embedding.positional_embedding"]

    def compute(images):
        embedding = model.get_image_embeddings(images)

        def decode(points, labels, boxes, mask_input, multimask):
            # Masks belong to an image here, not to an object; so each object gets its own copy of the image.
            out = [
                model(
                    image_embeddings=embedding,
                    input_points=None if points is None else points[i][None, None],
                    input_labels=None if labels is None else labels[i][None, None],
                    input_boxes=None if boxes is None else boxes[i][None, None],
                    input_masks=None if mask_input is None else mask_input[i][None],
                    multimask_output=multimask,
                )
                for i in range(2)
            ]
            return torch.cat([o.pred_masks[0] for o in out]), torch.cat([o.iou_scores[0] for o in out])

        given = prompts(size["image"])
        sizes = [[given[key].tolist()] for key in ("original_size", "input_size")]
        padded = {"height": size["image"], "width": size["image"]}
        process = transformers.SamImageProcessor().post_process_masks
        enlarge = lambda logits: process([logits], *sizes, binarize=False, pad_size=padded)[0]
        return {"embedding": embedding, **answers(given, decode, enlarge)}

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
    """The ResNet as saved by an mmengine run: wrapped, half trained, with everything stored beside it."""
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
