"""The peer of benches/deformable.rs: the pure PyTorch formulation of mmcv and detectron2, as in
Hugging Face's Mask2Former."""

from functools import partial

import measure

LEVELS = [(16, 16), (32, 32), (64, 64)]


def centres(h, w):
    import torch

    y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    return torch.stack([x, y], -1).view(h * w, 2)


def attention(backward):
    import torch
    from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

    reference = torch.cat([centres(h, w) for h, w in LEVELS]).view(1, 5376, 1, 1, 1, 2)
    sizes = torch.tensor([float(w) for _, w in LEVELS]).view(1, 1, 1, 3, 1, 1)
    value = torch.randn(1, 5376, 8, 32)
    locations = reference + torch.randn(1, 5376, 8, 3, 4, 2) * 2 / sizes
    weights = torch.randn(1, 5376, 8, 12).softmax(-1).view(1, 5376, 8, 3, 4)
    towards = torch.randn(1, 5376, 256)
    leaves = [t.requires_grad_(backward) for t in (value, locations, weights)]

    def body():
        out = multi_scale_deformable_attention(value, LEVELS, locations, weights)
        if backward:
            for leaf in leaves:
                leaf.grad = None
            (out * towards).sum().backward()

    return body, 20


def points():
    """Masks at common points, repeated for every mask, as its matcher does."""
    import torch
    from transformers.models.mask2former.modeling_mask2former import sample_point

    masks = (torch.randn(20, 512, 512) > 0).to(torch.uint8)
    places = torch.rand(1, 12544, 2)

    def body():
        with torch.inference_mode():
            sample_point(masks[:, None].float(), places.repeat(20, 1, 1), align_corners=False)

    return body, 20


if __name__ == "__main__":
    measure.run({(case, "transformers"): make for case, make in {
        "deformable_forward_5376": partial(attention, False),
        "deformable_forward_backward_5376": partial(attention, True),
        "points_20_masks_common": points,
    }.items()})
