"""Writes tests/fixtures/vit: tiny plain ViTs of timm and transformers with seeded random weights, their
features and gradients.

    python scripts/make_fixtures_vit.py        # needs torch, timm, transformers, safetensors

A case is NAME.io.safetensors and one NAME.CONVENTION.safetensors for each naming of its weights;
cases.json lists them with the keys of [backbone]. Namings of projects that are not on PyPI (DINOv2, DINOv3,
open_clip) are made from timm's and checked with timm's own converters.
"""

import json
import tempfile
from pathlib import Path

import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.layers import build_sincos2d_pos_embed
from timm.models import eva, vision_transformer
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "vit"
WIDTH, DEPTH, HEADS, HIDDEN, PATCH, SIZE = 16, 2, 2, 32, 4, 16
OTHER = (24, 16)
TIMM = dict(embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, patch_size=PATCH, img_size=SIZE, num_classes=0)
CONFIG = dict(type="vit", embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_dim=HIDDEN,
              patch_size=PATCH, image_size=SIZE)
HF = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS,
          intermediate_size=HIDDEN, image_size=SIZE, patch_size=PATCH)
cases = []


def randomize(module, generator):
    """Moves every parameter away from its special initial value."""
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "gamma" in name or "lambda" in name:
            parameter.data = 0.6 + 0.3 * noise
        elif parameter.dim() == 0:
            continue
        elif parameter.dim() == 1 and name.endswith("weight"):  # a norm's scale
            parameter.data = 1 + 0.2 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.2 * noise
        elif any(part in name for part in ("pos", "token", "table")):
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * (1.2 / parameter[0].numel()) ** 0.5


class Case:
    """One model: `blocks` are its modules, `tokens` computes the tokens after the final norm, `prefix` is the
    number of tokens before the patches."""

    def __init__(self, name, model, blocks, tokens, prefix, seed, pooled=None, other=None):
        self.name, self.tokens, self.prefix = name, tokens, prefix
        self.generator = torch.Generator().manual_seed(seed)
        self.model = model.eval()
        randomize(model, self.generator)
        self.blocks, self.pooled, self.other = blocks, pooled, other

    def map(self, tokens, size):
        h, w = size[0] // PATCH, size[1] // PATCH
        return tokens[:, self.prefix:].transpose(1, 2).reshape(tokens.shape[0], -1, h, w)

    def write(self, config, gradients, namings):
        """`gradients`: parameters by our name, several if they are one of ours. `namings`: tensors by convention."""
        io = {"images": torch.randn(2, 3, SIZE, SIZE, generator=self.generator)}
        hooks = [block.register_forward_hook(
                     lambda _m, _i, out, i=i: io.__setitem__(f"block.{i}", out[0] if isinstance(out, tuple) else out))
                 for i, block in enumerate(self.blocks)]
        images = io["images"].clone().requires_grad_()
        tokens = self.tokens(images)
        for hook in hooks:
            hook.remove()
        assert len([key for key in io if key.startswith("block")]) == DEPTH
        patches = self.map(tokens, (SIZE, SIZE))
        io["patch_tokens"] = patches
        if self.prefix:
            io["class_token"] = tokens[:, 0]
        if self.pooled:
            io.update(self.pooled(images))
        (patches.square().mean()).backward()
        io["grad.images"] = images.grad
        for name, parameters in gradients.items():
            parts = parameters if isinstance(parameters, list) else [parameters]
            io[f"grad.{name}"] = torch.cat([part.grad for part in parts])
        if self.other:
            io["other.images"] = torch.randn(1, 3, *OTHER, generator=self.generator)
            with torch.no_grad():
                io["other.patch_tokens"] = self.map(self.other(io["other.images"]), OTHER)
        plain = lambda tensors: {k: v.detach().float().contiguous().clone() for k, v in tensors.items()}
        save_file(plain(io), ROOT / f"{self.name}.io.safetensors")
        for convention, tensors in namings.items():
            save_file(plain(tensors), ROOT / f"{self.name}.{convention}.safetensors")
        cases.append({"name": self.name, "conventions": list(namings), "backbone": {**CONFIG, **config}})


def timm_gradients(model, *more):
    names = ["patch_embed.proj.weight", "cls_token", "blocks.0.attn.qkv.weight", "blocks.1.mlp.fc2.weight",
             "blocks.1.norm2.weight", *more]
    return {name: model.get_parameter(name) for name in names}


def same(ours, theirs):
    """Checks that timm's converter makes its names of a naming that was made from them."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value, theirs[key].reshape(value.shape)), key


def renamed(tensors, *pairs):
    out = {}
    for key, value in tensors.items():
        for old, new in pairs:
            key = key.replace(old, new)
        out[key] = value
    return out


def mae():
    model = timm.create_model("vit_base_patch16_224.mae", dynamic_img_size=True, mlp_ratio=2, **TIMM)
    forward = model.forward_features
    case = Case("mae", model, model.blocks, forward, 1, 1, other=forward)
    pretraining = {"mask_token": torch.zeros(1, 1, WIDTH), "decoder_embed.weight": torch.zeros(8, WIDTH),
                   "decoder_blocks.0.norm1.weight": torch.zeros(8)}
    case.write(dict(variant="mae", pos_embed_antialias=True), timm_gradients(model, "pos_embed"),
               {"timm_vit": {**model.state_dict(), **pretraining}})


def no_class_token():
    model = timm.create_model("vit_base_patch16_224", class_token=False, global_pool="avg", mlp_ratio=2, fc_norm=False,
                              qkv_bias=False, dynamic_img_size=True, **TIMM)
    forward = model.forward_features
    case = Case("no_class_token", model, model.blocks, forward, 0, 2, other=forward)
    gradients = timm_gradients_without_class(model)
    case.write(dict(variant="vit", class_token=False, qkv_bias="none"), gradients, {"timm_vit": model.state_dict()})


def timm_gradients_without_class(model):
    return {name: model.get_parameter(name) for name in ("pos_embed", "blocks.0.attn.qkv.weight")}


def to_dinov2(state, position):
    """Meta's names: the class token has a position there."""
    state = dict(state)
    state["register_tokens"] = state.pop("reg_token")
    state["cls_token"] = state["cls_token"] - position
    state["pos_embed"] = torch.cat([position, state["pos_embed"]], 1)
    state["mask_token"] = torch.zeros(1, WIDTH)
    return state


def dinov2_reg4():
    model = timm.create_model("vit_base_patch14_reg4_dinov2", dynamic_img_size=True, mlp_ratio=2, **TIMM)
    forward = model.forward_features
    case = Case("dinov2_reg4", model, model.blocks, forward, 5, 3, other=forward)
    state = {k: v for k, v in model.state_dict().items()}
    native = to_dinov2(state, torch.randn(1, 1, WIDTH, generator=case.generator))
    back = vision_transformer._convert_dinov2(dict(native), model)
    back["cls_token"] = state["cls_token"].clone()  # Equal up to rounding: position subtracted, and added again.
    same(state, back)
    chunked = {k.replace("blocks.1.", "blocks.1.1.").replace("blocks.0.", "blocks.0.0."): v for k, v in native.items()}
    chunked = {f"teacher.backbone.{k}": v for k, v in chunked.items()}
    gradients = timm_gradients(model, "reg_token", "blocks.1.ls1.gamma")
    config = dict(variant="dinov2", num_register_tokens=4)
    case.write(config, gradients, {"dinov2": native, "dinov2_chunked": chunked})
    # timm's own file: the class token without a position.
    save_file({k: v.detach().contiguous() for k, v in state.items()}, ROOT / "dinov2_reg4.timm_vit.safetensors")
    cases.append({"name": "dinov2_reg4", "conventions": ["timm_vit"],
                  "backbone": {**CONFIG, **config, "no_embed_class": True}})


def dinov2_swiglu():
    model = timm.create_model("vit_giant_patch14_reg4_dinov2", dynamic_img_size=True,
                              **{**TIMM, "mlp_ratio": 2 * HIDDEN / WIDTH})
    forward = model.forward_features
    case = Case("dinov2_swiglu", model, model.blocks, forward, 5, 4, other=forward)
    state = {k: v for k, v in model.state_dict().items()}
    native = renamed(to_dinov2(state, torch.zeros(1, 1, WIDTH)), ("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3"))
    same(state, vision_transformer._convert_dinov2(dict(native), model))
    gradients = {name.replace("fc1", "w12").replace("fc2", "w3"): parameter
                 for name, parameter in timm_gradients(model, "blocks.0.mlp.fc1.weight").items()}
    case.write(dict(variant="dinov2", num_register_tokens=4, mlp="swiglu"), gradients, {"dinov2": native})


def dinov2():
    """transformers' Dinov2Model, its positions resized as Meta's original does: by a scale with an offset."""
    config = {k: v for k, v in HF.items() if k != "intermediate_size"}
    model = transformers.Dinov2Model(transformers.Dinov2Config(**config, mlp_ratio=2, layer_norm_eps=1e-6))
    forward = lambda images: model(images).last_hidden_state
    blocks = model.encoder.layer if hasattr(model.encoder, "layer") else model.encoder.layers
    case = Case("dinov2", model, blocks, forward, 1, 5, other=forward)

    def original(embeddings, height, width):
        positions = model.embeddings.position_embeddings
        side = SIZE // PATCH
        if (height, width) == (SIZE, SIZE):
            return positions
        grid = positions[:, 1:].reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)
        scale = tuple((length // PATCH + 0.1) / side for length in (height, width))
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)

    model.embeddings.interpolate_pos_encoding = original
    gradients = hf_gradients(model, blocks)
    case.write(dict(variant="dinov2"), gradients, {"huggingface_dinov2": saved(model)})


def dinov2_registers():
    """transformers' version with registers and SwiGLU."""
    config = {k: v for k, v in HF.items() if k != "intermediate_size"}
    model = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(
        **config, mlp_ratio=4, use_swiglu_ffn=True, layer_norm_eps=1e-6))
    forward = lambda images: model(images).last_hidden_state
    blocks = model.encoder.layer if hasattr(model.encoder, "layer") else model.encoder.layers
    case = Case("dinov2_registers", model, blocks, forward, 5, 6, other=forward)
    hidden = (int(4 * WIDTH * 2 / 3) + 7) // 8 * 8
    case.write(dict(variant="dinov2", num_register_tokens=4, mlp="swiglu", mlp_dim=hidden),
               hf_gradients(model, blocks), {"huggingface_dinov2": saved(model)})


def to_dinov3(state):
    """Meta's names: a bias for queries, keys and values with a mask, and the periods of the rotation."""
    native = renamed(state, ("gamma_", "ls"), ("reg_token", "storage_tokens"), ("fc1_g", "w1"), ("fc1_x", "w2"))
    native = {k + ".gamma" if k.endswith((".ls1", ".ls2")) else k: v for k, v in native.items()}
    gated = any(".mlp.w1." in k for k in native)
    native = renamed(native, ("mlp.fc2", "mlp.w3")) if gated else native
    for i in range(DEPTH):
        q, v = (native.pop(f"blocks.{i}.attn.{part}_bias") for part in "qv")
        # What the mask hides must not matter.
        native[f"blocks.{i}.attn.qkv.bias"] = torch.cat([q, torch.full_like(q, 7.0), v])
        native[f"blocks.{i}.attn.qkv.bias_mask"] = torch.cat([torch.ones_like(q), 0 * q, torch.ones_like(v)])
    native["mask_token"] = torch.zeros(1, WIDTH)
    head = WIDTH // HEADS
    native["rope_embed.periods"] = 100 ** (2 * torch.arange(head // 4) / (head / 2))
    return native


def dinov3(plus):
    name = "vit_small_plus_patch16_dinov3_qkvb" if plus else "vit_small_patch16_dinov3_qkvb"
    model = timm.create_model(name, **TIMM, mlp_ratio=HIDDEN / WIDTH)
    forward = model.forward_features
    case = Case("dinov3_plus" if plus else "dinov3", model, model.blocks, forward, 5, 8 if plus else 7, other=forward)
    state = {k: v for k, v in model.state_dict().items()}
    native = to_dinov3(state)
    if not plus:
        same(state, eva.checkpoint_filter_fn(dict(native), model))
    gradients = {n: model.get_parameter(n) for n in ("reg_token", "blocks.0.attn.qkv.weight", "blocks.0.attn.q_bias",
                                                     "blocks.1.attn.v_bias", "blocks.1.norm2.weight")}
    if plus:
        gradients["blocks.0.mlp.w12.weight"] = [model.blocks[0].mlp.fc1_g.weight, model.blocks[0].mlp.fc1_x.weight]
    gradients["blocks.1.ls2.gamma"] = model.blocks[1].gamma_2
    mlp = dict(mlp="swiglu") if plus else {}
    timm_name = "timm_dinov3_plus" if plus else "timm_dinov3"
    case.write(dict(variant="dinov3", qkv_bias="query_value", **mlp), gradients, {timm_name: state})
    # The same network under Meta's names.
    save_file({k: v.detach().float().contiguous() for k, v in native.items()},
              ROOT / f"{case.name}.dinov3.safetensors")
    cases.append({"name": case.name, "conventions": ["dinov3"],
                  "backbone": {**CONFIG, "variant": "dinov3", **mlp}})


def dinov3_huggingface(gated):
    model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(
        **HF, num_register_tokens=4, use_gated_mlp=gated, hidden_act="silu" if gated else "gelu"))
    forward = lambda images: model(images).last_hidden_state
    blocks = find_blocks(model)
    name = "dinov3_huggingface_gated" if gated else "dinov3_huggingface"
    case = Case(name, model, blocks, forward, 5, 10 if gated else 9, other=forward)
    mlp = dict(mlp="swiglu") if gated else {}
    case.write(dict(variant="dinov3", qkv_bias="query_value", **mlp), hf_gradients(model, blocks),
               {"huggingface_dinov3_gated" if gated else "huggingface_dinov3": saved(model)})


def beit(shared):
    relative = dict(use_rel_pos_bias=not shared, use_shared_rel_pos_bias=shared)
    model = timm.create_model("beit_base_patch16_224", **TIMM, mlp_ratio=2, **relative)
    forward = model.forward_features
    pooled = lambda images: {"mean": model.forward_head(forward(images), pre_logits=True)}
    case = Case("beit_shared" if shared else "beit", model, model.blocks, forward, 1, 12 if shared else 11,
                pooled=pooled)
    names = ["blocks.0.attn.qkv.weight", "blocks.0.attn.q_bias", "blocks.1.attn.v_bias", "cls_token"]
    gradients = {name: model.get_parameter(name) for name in names}
    gradients["blocks.1.ls1.gamma"] = model.blocks[1].gamma_1
    table = "relative_position_bias_table"
    if shared:
        gradients[f"rel_pos_bias.{table}"] = model.rel_pos_bias.relative_position_bias_table
    else:
        gradients[f"blocks.1.attn.{table}"] = model.blocks[1].attn.relative_position_bias_table
    # BEiT's own files have the index and the mask token; SimMIM-style pretraining puts `encoder.` before.
    state = {**model.state_dict(), "mask_token": torch.zeros(1, 1, WIDTH)}
    if shared:
        state = {f"encoder.{key}": value for key, value in state.items()}
        state["decoder.0.weight"] = torch.zeros(4, 4)
    name = "beit_shared" if shared else "beit"
    case.write(dict(variant="beit", **(dict(rel_pos_bias="shared") if shared else {})), gradients, {name: state})


def beit_huggingface():
    model = transformers.BeitForImageClassification(transformers.BeitConfig(
        **HF, use_relative_position_bias=True, layer_norm_eps=1e-6))
    inner = model.beit
    forward = lambda images: inner(images).last_hidden_state
    blocks = find_blocks(inner)
    pooled = lambda images: {"mean": inner(images).pooler_output}
    case = Case("beit_huggingface", model, blocks, forward, 1, 13, pooled=pooled, other=forward)
    gradients = hf_gradients(inner, blocks)
    case.write(dict(variant="beit"), gradients, {"huggingface_beit": saved(model)})


def clip():
    model = timm.create_model("vit_base_patch16_clip_quickgelu_224", dynamic_img_size=True, mlp_ratio=2, **TIMM)
    forward = model.forward_features
    case = Case("clip", model, model.blocks, forward, 1, 14, other=forward)
    state = {k: v for k, v in model.state_dict().items()}
    native = renamed(state, ("patch_embed.proj", "conv1"), ("pos_embed", "positional_embedding"), ("norm_pre", "ln_pre"),
                     ("cls_token", "class_embedding"), ("blocks.", "transformer.resblocks."), ("norm1", "ln_1"),
                     ("norm2", "ln_2"), ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"),
                     ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("norm.", "ln_post."))
    native = {f"visual.{key}": value for key, value in native.items()}
    for name in ("visual.class_embedding", "visual.positional_embedding"):
        native[name] = native[name].squeeze()
    same(state, vision_transformer._convert_openai_clip(dict(native), model))
    native["visual.proj"] = torch.zeros(WIDTH, 8)
    native["positional_embedding"] = torch.zeros(7, 8)
    native["transformer.resblocks.0.ln_1.weight"] = torch.zeros(8)
    native["logit_scale"] = torch.zeros(())
    trunk = {f"visual.trunk.{key}": value for key, value in state.items()}
    trunk.update({"visual.head.proj.weight": torch.zeros(8, WIDTH), "text.proj.0.weight": torch.zeros(8, 8)})
    config = dict(variant="clip", mlp="quick_gelu")
    case.write(config, timm_gradients(model, "norm_pre.weight"),
               {"open_clip": native, "open_clip_timm": trunk, "timm_vit": state})


def clip_huggingface():
    model = transformers.CLIPModel(transformers.CLIPConfig(
        vision_config=dict(HF), text_config=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                                 intermediate_size=8, vocab_size=9, max_position_embeddings=7)))
    tower = model.vision_model
    forward = lambda images: tower.post_layernorm(tower(images).last_hidden_state)
    resized = lambda images: tower.post_layernorm(tower(images, interpolate_pos_encoding=True).last_hidden_state)
    blocks = tower.encoder.layers
    case = Case("clip_huggingface", model, blocks, forward, 1, 15, other=resized)
    case.write(dict(variant="clip", mlp="quick_gelu", pos_embed_antialias=False), hf_gradients(tower, blocks),
               {"huggingface_clip": saved(model)})


def vit_huggingface():
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**HF))
    inner = model.vit
    forward = lambda images: inner(images).last_hidden_state
    resized = lambda images: inner(images, interpolate_pos_encoding=True).last_hidden_state
    blocks = find_blocks(inner)
    case = Case("vit_huggingface", model, blocks, forward, 1, 16, other=resized)
    case.write(dict(variant="vit", norm_eps=1e-12, pos_embed_antialias=False), hf_gradients(inner, blocks),
               {"huggingface_vit": saved(model)})


def sincos():
    """MAE's fixed positions: timm's, in the order of MAE (axis, then sine and cosine; the column first)."""
    side = SIZE // PATCH
    grid = build_sincos2d_pos_embed([side, side], dim=WIDTH)
    grid = grid.reshape(side * side, 2, 2, WIDTH // 4).transpose(1, 2).flip(1)
    grid = grid.reshape(1, side * side, WIDTH)
    save_file({"pos_embed": torch.cat([torch.zeros(1, 1, WIDTH), grid], 1)}, ROOT / "sincos.safetensors")


def find_blocks(model):
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == DEPTH:
            return module
    raise AssertionError("no blocks")


def hf_gradients(model, blocks):
    by_name = dict(blocks[0].named_parameters())
    pick = lambda *parts: next(p for n, p in by_name.items() if all(part in n for part in parts))
    qkv = [pick(f".{part}", "weight") for part in ("q_proj", "k_proj", "v_proj")]
    gradients = {"blocks.0.attn.qkv.weight": qkv}
    if any("relative_position_bias_table" in name for name in by_name):
        gradients["blocks.0.attn.relative_position_bias_table"] = pick("relative_position_bias_table")
    return gradients


def saved(model):
    """What `save_pretrained` writes: the names of the files on the Hub."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


if __name__ == "__main__":
    torch.manual_seed(0)
    ROOT.mkdir(parents=True, exist_ok=True)
    for file in ROOT.iterdir():
        file.unlink()
    mae()
    no_class_token()
    dinov2_reg4()
    dinov2_swiglu()
    dinov2()
    dinov2_registers()
    for variant in (False, True):
        dinov3(variant)
        dinov3_huggingface(variant)
        beit(variant)
    beit_huggingface()
    clip()
    clip_huggingface()
    vit_huggingface()
    sincos()
    (ROOT / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
