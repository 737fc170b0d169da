"""Writes a small Mask2Former with random weights under every naming it is published in.

    python scripts/mask2former_checkpoints.py OUT

Needs torch, transformers, numpy and safetensors from PyPI. One model in four files:

OUT/huggingface/model.safetensors   as transformers saves it
OUT/detectron2.pkl                  as facebookresearch/Mask2Former publishes: arrays in a pickle
OUT/mmdet3.pth, OUT/mmdet2.pth      as mmdetection 3 and 2 name it
OUT/io.safetensors                  `images` and, per layer i, `classes.i` and `masks.i`, in float64
"""

import collections
import pathlib
import pickle
import re
import sys

import torch
from safetensors.torch import save_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

OUT = pathlib.Path(sys.argv[1])
OUT.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)


def tiny():
    """A ResNet-50 with 8 base channels; the rest is 64 wide."""
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[3, 4, 6, 3],
                            out_features=stages)
    config = Mask2FormerConfig(
        backbone_config=backbone, num_labels=5, num_queries=12, feature_size=64, mask_feature_size=64,
        hidden_dim=64, encoder_layers=2, encoder_feedforward_dim=128, decoder_layers=5,
        dim_feedforward=96, dropout=0.0, output_auxiliary_logits=True)
    model = Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and "empty_weight" not in name:
                # Zeros and ones would hide a mix-up; every tensor gets its own values.
                tensor.add_(torch.randn_like(tensor) * 0.02)
    return model.eval()


STEM = "model.pixel_level_module.encoder.embedder.embedder."
STAGE = r"model\.pixel_level_module\.encoder\.encoder\.stages\.(\d)\.layers\.(\d+)\."
PIXELS = r"model\.pixel_level_module\.decoder\."
LAYER = r"model\.transformer_module\.decoder\.layers\.(\d+)\."
ENCODER_LAYER = PIXELS + r"encoder\.layers\.(\d+)\."


def apply(rules, name):
    for pattern, replacement in rules:
        new, count = re.subn(f"^{pattern}$", replacement, name)
        if count:
            return new
    raise KeyError(name)


def joined(state):
    """Joins the three matrices of each self-attention, named like those of the cross-attention."""
    state, out = dict(state), {}
    for name, tensor in state.items():
        found = re.match(r"(.*self_attn)\.([qkv])_proj\.(weight|bias)$", name)
        if not found:
            out[name] = tensor
        elif found[2] == "q":
            parts = [state[f"{found[1]}.{letter}_proj.{found[3]}"] for letter in "qkv"]
            out[f"{found[1]}.in_proj_{found[3]}"] = torch.cat(parts)
    return out


def detectron2(state):
    stage = lambda match: f"backbone.res{int(match[1]) + 2}.{match[2]}."
    conv = lambda match: stage(match) + f"conv{int(match[3]) + 1}."
    head, predictor = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
    encoder = head + r"transformer.encoder.layers.\1."
    rules = [
        (re.escape(STEM) + r"convolution\.(.*)", r"backbone.stem.conv1.\1"),
        (re.escape(STEM) + r"normalization\.(.*)", r"backbone.stem.conv1.norm.\1"),
        (STAGE + r"layer\.(\d)\.convolution\.(.*)", lambda m: conv(m) + m[4]),
        (STAGE + r"layer\.(\d)\.normalization\.(.*)", lambda m: conv(m) + "norm." + m[4]),
        (STAGE + r"shortcut\.convolution\.(.*)", lambda m: stage(m) + "shortcut." + m[3]),
        (STAGE + r"shortcut\.normalization\.(.*)", lambda m: stage(m) + "shortcut.norm." + m[3]),
        (PIXELS + r"level_embed", head + "transformer.level_embed"),
        (PIXELS + r"input_projections\.(.*)", head + r"input_proj.\1"),
        (PIXELS + r"mask_projection\.(.*)", head + r"mask_features.\1"),
        (PIXELS + r"(adapter_1|layer_1)\.0\.(.*)", head + r"\1.\2"),
        (PIXELS + r"(adapter_1|layer_1)\.1\.(.*)", head + r"\1.norm.\2"),
        (ENCODER_LAYER + r"self_attn_layer_norm\.(.*)", encoder + r"norm1.\2"),
        (ENCODER_LAYER + r"final_layer_norm\.(.*)", encoder + r"norm2.\2"),
        (ENCODER_LAYER + r"fc(\d)\.(.*)", encoder + r"linear\2.\3"),
        (ENCODER_LAYER + r"(self_attn\..*)", encoder + r"\2"),
        (LAYER + r"(self_attn\..*)", predictor + r"transformer_self_attention_layers.\1.\2"),
        (LAYER + r"cross_attn\.(.*)", predictor + r"transformer_cross_attention_layers.\1.multihead_attn.\2"),
        (LAYER + r"self_attn_layer_norm\.(.*)", predictor + r"transformer_self_attention_layers.\1.norm.\2"),
        (LAYER + r"cross_attn_layer_norm\.(.*)", predictor + r"transformer_cross_attention_layers.\1.norm.\2"),
        (LAYER + r"fc(\d)\.(.*)", predictor + r"transformer_ffn_layers.\1.linear\2.\3"),
        (LAYER + r"final_layer_norm\.(.*)", predictor + r"transformer_ffn_layers.\1.norm.\2"),
        (r"model\.transformer_module\.decoder\.layernorm\.(.*)", predictor + r"decoder_norm.\1"),
        (r".*mask_embedder\.(\d)\.0\.(.*)", predictor + r"mask_embed.layers.\1.\2"),
        (r"model\.transformer_module\.queries_embedder\.weight", predictor + "query_embed.weight"),
        # The published files use this older name.
        (r"model\.transformer_module\.queries_features\.weight", predictor + "static_query.weight"),
        (r"model\.transformer_module\.level_embed\.weight", predictor + "level_embed.weight"),
        (r"class_predictor\.(.*)", predictor + r"class_embed.\1"),
        (r"(criterion\.empty_weight)", r"\1"),
    ]
    # Its frozen norms do not count batches.
    names = [name for name in state if not name.endswith("num_batches_tracked")]
    return {apply(rules, name): state[name] for name in names}


def mmdet(state, version):
    layer = lambda match: f"backbone.layer{int(match[1]) + 1}.{match[2]}."
    head = "panoptic_head."
    ffn, encoder_attention, cross, own = {
        3: ("ffn.layers", "self_attn", "cross_attn", "self_attn"),
        2: ("ffns.0.layers", "attentions.0", "attentions.0", "attentions.1"),
    }[version]
    encoder = head + r"pixel_decoder.encoder.layers.\1."
    decoder = head + r"transformer_decoder.layers.\1."
    rules = [
        (re.escape(STEM) + r"convolution\.(.*)", r"backbone.conv1.\1"),
        (re.escape(STEM) + r"normalization\.(.*)", r"backbone.bn1.\1"),
        (STAGE + r"layer\.(\d)\.convolution\.(.*)", lambda m: layer(m) + f"conv{int(m[3]) + 1}.{m[4]}"),
        (STAGE + r"layer\.(\d)\.normalization\.(.*)", lambda m: layer(m) + f"bn{int(m[3]) + 1}.{m[4]}"),
        (STAGE + r"shortcut\.convolution\.(.*)", lambda m: layer(m) + "downsample.0." + m[3]),
        (STAGE + r"shortcut\.normalization\.(.*)", lambda m: layer(m) + "downsample.1." + m[3]),
        (PIXELS + r"level_embed", head + "pixel_decoder.level_encoding.weight"),
        (PIXELS + r"input_projections\.(\d)\.0\.(.*)", head + r"pixel_decoder.input_convs.\1.conv.\2"),
        (PIXELS + r"input_projections\.(\d)\.1\.(.*)", head + r"pixel_decoder.input_convs.\1.gn.\2"),
        (PIXELS + r"mask_projection\.(.*)", head + r"pixel_decoder.mask_feature.\1"),
        (PIXELS + r"adapter_1\.0\.(.*)", head + r"pixel_decoder.lateral_convs.0.conv.\1"),
        (PIXELS + r"adapter_1\.1\.(.*)", head + r"pixel_decoder.lateral_convs.0.gn.\1"),
        (PIXELS + r"layer_1\.0\.(.*)", head + r"pixel_decoder.output_convs.0.conv.\1"),
        (PIXELS + r"layer_1\.1\.(.*)", head + r"pixel_decoder.output_convs.0.gn.\1"),
        (ENCODER_LAYER + r"self_attn_layer_norm\.(.*)", encoder + r"norms.0.\2"),
        (ENCODER_LAYER + r"final_layer_norm\.(.*)", encoder + r"norms.1.\2"),
        (ENCODER_LAYER + r"fc1\.(.*)", encoder + ffn + r".0.0.\2"),
        (ENCODER_LAYER + r"fc2\.(.*)", encoder + ffn + r".1.\2"),
        (ENCODER_LAYER + r"self_attn\.(.*)", encoder + encoder_attention + r".\2"),
        (LAYER + r"self_attn\.(.*)", decoder + own + r".attn.\2"),
        (LAYER + r"cross_attn\.(.*)", decoder + cross + r".attn.\2"),
        (LAYER + r"cross_attn_layer_norm\.(.*)", decoder + r"norms.0.\2"),
        (LAYER + r"self_attn_layer_norm\.(.*)", decoder + r"norms.1.\2"),
        (LAYER + r"final_layer_norm\.(.*)", decoder + r"norms.2.\2"),
        (LAYER + r"fc1\.(.*)", decoder + ffn + r".0.0.\2"),
        (LAYER + r"fc2\.(.*)", decoder + ffn + r".1.\2"),
        (r"model\.transformer_module\.decoder\.layernorm\.(.*)", head + r"transformer_decoder.post_norm.\1"),
        (r".*mask_embedder\.(\d)\.0\.(.*)", lambda m: head + f"mask_embed.{2 * int(m[1])}.{m[2]}"),
        (r"model\.transformer_module\.queries_embedder\.weight", head + "query_embed.weight"),
        (r"model\.transformer_module\.queries_features\.weight", head + "query_feat.weight"),
        (r"model\.transformer_module\.level_embed\.weight", head + "level_embed.weight"),
        (r"class_predictor\.(.*)", head + r"cls_embed.\1"),
    ]
    names = [name for name in state if name != "criterion.empty_weight"]
    return collections.OrderedDict((apply(rules, name), state[name]) for name in names)


model = tiny()
model.save_pretrained(OUT / "huggingface")
state = joined(model.state_dict())
arrays = {name: tensor.numpy() for name, tensor in detectron2(state).items()}
saved = pickle.dumps({"model": arrays, "__author__": "third_party"}, 3)
(OUT / "detectron2.pkl").write_bytes(saved.replace(b"cnumpy._core.", b"cnumpy.core."))
for version in (2, 3):
    torch.save({"meta": {}, "state_dict": mmdet(state, version)}, OUT / f"mmdet{version}.pth")

images = torch.randn(2, 3, 96, 160, dtype=torch.float64)
with torch.no_grad():
    out = model.double()(pixel_values=images, output_auxiliary_logits=True)
layers = [*out.auxiliary_logits, out]
tensors = {"images": images}
for i, layer in enumerate(layers):
    get = layer.get if isinstance(layer, dict) else lambda key: getattr(layer, key)
    tensors[f"classes.{i}"], tensors[f"masks.{i}"] = get("class_queries_logits"), get("masks_queries_logits")
save_file({k: v.contiguous() for k, v in tensors.items()}, OUT / "io.safetensors")
