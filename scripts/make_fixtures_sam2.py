"""Writes tests/fixtures/{hiera,sam2}: a tiny image encoder and a tiny model of SAM 2.1 with seeded random
weights, their features, gradients and masks.

    python scripts/make_fixtures_sam2.py SAM2       # a clone of facebookresearch/sam2; needs torch, safetensors

The folders have the layout of a reference folder: weights.safetensors (upstream's key names), io.safetensors,
io.json with the sizes under "config".
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
SAM2 = Path(sys.argv[1]).resolve()

# The package's own start-up reads configs with hydra, which none of its modules needs.
package = types.ModuleType("sam2")
package.__path__ = [str(SAM2 / "sam2")]
sys.modules["sam2"] = package
file_io = types.ModuleType("iopath.common.file_io")
file_io.g_pathmgr = None
sys.modules |= {"iopath": types.ModuleType("iopath"), "iopath.common": types.ModuleType("iopath.common"),
                "iopath.common.file_io": file_io}

from sam2.modeling.backbones.hieradet import Hiera  # noqa: E402
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder  # noqa: E402
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer  # noqa: E402
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder  # noqa: E402
from sam2.modeling.position_encoding import PositionEmbeddingSine  # noqa: E402
from sam2.modeling.sam.mask_decoder import MaskDecoder  # noqa: E402
from sam2.modeling.sam.transformer import RoPEAttention, TwoWayTransformer  # noqa: E402
from sam2.modeling.sam2_base import SAM2Base  # noqa: E402
from sam2.sam2_image_predictor import SAM2ImagePredictor  # noqa: E402


def write(folder, weights, io, config):
    folder = ROOT / folder
    folder.mkdir(parents=True, exist_ok=True)
    plain = lambda tensors: {k: v.detach().contiguous() for k, v in tensors.items()}
    save_file(plain(weights), folder / "weights.safetensors")
    save_file(plain(io), folder / "io.safetensors")
    (folder / "io.json").write_text(json.dumps({"config": config}, indent=1) + "\n")


def randomize(module, generator):
    """Moves every parameter away from its special initial value, to numbers that bfloat16 holds: half the
    file."""
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1 and "norm" in name and name.endswith("weight"):
            noise = 1 + 0.2 * noise
        elif parameter.dim() == 1:
            noise = 0.1 * noise
        elif "pos_embed" in name or "embed" in name or "token" in name:
            noise = 0.3 * noise
        else:
            noise = noise * (1.2 / parameter[0].numel()) ** 0.5
        parameter.data = noise.bfloat16().float()


def positions(channels):
    return PositionEmbeddingSine(num_pos_feats=channels, normalize=True, scale=None, temperature=10000)


TRUNK = dict(embed_dim=4, num_heads=1, stages=[1, 2, 3, 2], global_att_blocks=[4], window_spec=[4, 2, 6, 3],
             window_pos_embed_bkg_spatial_size=[3, 3])


def image_encoder(channels, scalp):
    trunk = Hiera(**{k: tuple(v) if isinstance(v, list) else v for k, v in TRUNK.items()})
    neck = FpnNeck(positions(channels), channels, trunk.channel_list, fpn_top_down_levels=[2, 3],
                   fpn_interp_model="nearest")
    return ImageEncoder(trunk, neck, scalp=scalp)


def hiera(generator):
    encoder = image_encoder(8, scalp=0)
    randomize(encoder, generator)
    io = {"images": torch.randn(2, 3, 64, 64, generator=generator)}
    images = io["images"].clone().requires_grad_()
    stages = encoder.trunk(images)
    levels, _ = encoder.neck(stages)
    io |= {f"stage.{i}": x for i, x in enumerate(stages)} | {f"level.{i}": x for i, x in enumerate(levels)}
    sum(level.square().mean() for level in levels[:3]).backward()
    io["grad.images"] = images.grad
    io |= {"grad.image_encoder." + name: p.grad for name, p in encoder.named_parameters()}
    with torch.no_grad():
        io["other_size.images"] = torch.randn(1, 3, 32, 96, generator=generator)
        io |= {f"other_size.level.{i}": x for i, x in enumerate(encoder(io["other_size.images"])["backbone_fpn"])}
    weights = {"image_encoder." + k: v.bfloat16() for k, v in encoder.state_dict().items()}
    write("hiera", weights, io, {"backbone": dict(type="hiera", out_channels=8, **TRUNK)})


def model(dim, memory_dim, image_size):
    """SAM 2.1 with all its parts and options, and small widths."""
    attention = lambda **more: RoPEAttention(embedding_dim=dim, num_heads=1, downsample_rate=1, dropout=0.0,
                                             feat_sizes=[4, 4], **more)
    layer = MemoryAttentionLayer("relu", attention(rope_k_repeat=True, kv_in_dim=memory_dim), dim, 8, 0.0, False,
                                 True, False, attention())
    memory_encoder = MemoryEncoder(
        memory_dim, MaskDownSampler(embed_dim=dim, kernel_size=3, stride=2, padding=1, total_stride=4),
        Fuser(CXBlock(dim, kernel_size=3, padding=1), 1), positions(memory_dim), in_dim=dim)
    sam = SAM2Base(
        image_encoder(dim, scalp=1), MemoryAttention(dim, True, layer, 1), memory_encoder, image_size=image_size,
        directly_add_no_mem_embed=True, no_obj_embed_spatial=True, use_high_res_features_in_sam=True,
        multimask_output_in_sam=True, iou_prediction_use_sigmoid=True, use_obj_ptrs_in_encoder=True,
        add_tpos_enc_to_obj_ptrs=True, proj_tpos_enc_in_obj_ptrs=True, use_signed_tpos_enc_to_obj_ptrs=True,
        pred_obj_scores=True, pred_obj_scores_mlp=True, fixed_no_obj_ptr=True, use_mlp_for_obj_ptr_proj=True,
        use_multimask_token_for_obj_ptr=True)
    # SAM 2's own decoder with a smaller transformer; the options are those of the published models.
    sam.sam_mask_decoder = MaskDecoder(
        transformer_dim=dim, transformer=TwoWayTransformer(2, dim, num_heads=2, mlp_dim=16),
        use_high_res_features=True, iou_prediction_use_sigmoid=True, pred_obj_scores=True,
        pred_obj_scores_mlp=True, use_multimask_token_for_obj_ptr=True, dynamic_multimask_via_stability=True,
        dynamic_multimask_stability_delta=0.05, dynamic_multimask_stability_thresh=0.98)
    return sam


def answers(sam, features, coords, labels, masks, multimask):
    """What the image predictor asks of the model, for prompts in input pixels."""
    points = None if coords is None else (coords, labels)
    sparse, dense = sam.sam_prompt_encoder(points=points, boxes=None, masks=masks)
    logits, iou, _, score = sam.sam_mask_decoder(
        image_embeddings=features[2], image_pe=sam.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=multimask,
        repeat_image=sparse.shape[0] > 1, high_res_features=features[:2])
    return {"logits": logits, "iou": iou, "object_score": score}


def sam2(generator):
    dim, image_size = 16, 64
    sam = model(dim, 8, image_size)
    randomize(sam, generator)
    # Logits around 100, so that some masks are stable and others are not.
    sam.sam_mask_decoder.output_hypernetworks_mlps[0].layers[2].weight.data *= 64
    sam.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.copy_(
        torch.randn(2, dim // 2, generator=generator).bfloat16())
    weights = {k: v.bfloat16() for k, v in sam.state_dict().items()}
    sam.eval()
    io = {"images": torch.randn(1, 3, image_size, image_size, generator=generator)}
    with torch.no_grad():
        _, features, _, sizes = sam._prepare_backbone_features(sam.forward_image(io["images"]))
        features[-1] = features[-1] + sam.no_mem_embed
        features = [x.permute(1, 2, 0).view(1, -1, *size) for x, size in zip(features, sizes)]
        io["image_embed"] = features[2]
        # Three objects; a box is two points with labels of their own.
        io["points"] = 64 * torch.rand(3, 2, 2, generator=generator)
        io["point_labels"] = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.int32)
        corner = 30 * torch.rand(3, 1, 2, generator=generator)
        io["boxes"] = torch.cat([corner, corner + 5 + 25 * torch.rand(3, 1, 2, generator=generator)], 1)
        io["mask_input"] = 4 * torch.randn(3, 1, 16, 16, generator=generator)
        box_labels = torch.tensor([[2, 3]] * 3, dtype=torch.int32)
        cases = {
            "box": (io["boxes"], box_labels, None),
            "points": (io["points"], io["point_labels"], None),
            "mask": (None, None, io["mask_input"]),
            "all": (torch.cat([io["boxes"], io["points"]], 1), torch.cat([box_labels, io["point_labels"]], 1),
                    io["mask_input"]),
        }
        for case, prompts in cases.items():
            for kind, multimask in (("single", False), ("multi", True)):
                got = answers(sam, features, *prompts, multimask)
                io |= {f"{case}.{kind}.{name}": value for name, value in got.items()}
        # In training, one mask is always the first token's.
        sam.train()
        for case, prompts in cases.items():
            io[f"{case}.train.logits"] = answers(sam, features, *prompts, False)["logits"]
            pairs = zip(io[f"{case}.train.logits"], io[f"{case}.single.logits"])
            unstable = sum(not torch.equal(a, b) for a, b in pairs)
            print(f"{case}: stability chose another mask for {unstable} of 3 objects")
    io |= predictor(sam.eval(), generator)
    backbone = dict(type="hiera", out_channels=dim, **TRUNK)
    decoder = dict(num_heads=2, mlp_dim=16)
    write("sam2", weights, io, {"backbone": backbone, "task": {"type": "sam_prompt", "decoder": decoder}})


def predictor(sam, generator):
    """From an image's pixels and prompts in them to masks of its size: smaller than the input on both sides, so
    that torchvision's antialiasing has nothing to do."""
    asked = SAM2ImagePredictor(sam)
    side = sam.image_size
    asked._bb_feat_sizes = [(side // 4, side // 4), (side // 8, side // 8), (side // 16, side // 16)]
    height, width = 40, 56
    image = (255 * torch.rand(height, width, 3, generator=generator)).byte()
    asked.set_image(image.numpy())
    io = {"file.image": image}
    cases = {"click": dict(point_coords=[[20.0, 11.0]], point_labels=[1]), "box": dict(box=[5.0, 8.0, 40.0, 31.0]),
             "both": dict(point_coords=[[20.0, 11.0], [50.0, 35.0]], point_labels=[1, 0],
                          box=[5.0, 8.0, 40.0, 31.0])}
    for case, prompt in cases.items():
        prompt = {k: np.array(v, dtype=np.float32) for k, v in prompt.items()}
        for kind, multimask in (("single", False), ("multi", True)):
            masks, iou, _ = asked.predict(**prompt, multimask_output=multimask, return_logits=True)
            best = int(iou.argmax())
            io[f"file.{case}.{kind}.logits"] = torch.from_numpy(masks[best])
            io[f"file.{case}.{kind}.iou"] = torch.tensor([float(iou[best])])
    return io


if __name__ == "__main__":
    generator = torch.Generator().manual_seed(21)
    hiera(generator)
    sam2(generator)
