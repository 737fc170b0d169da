"""The peer of benches/deformable.rs: the pure PyTorch formulation of mmcv and detectron2, as Hugging
Face's Mask2Former has it."""

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


def points(maps, points, common=False, masks=False, backward=False):
    import torch
    from transformers.models.mask2former.modeling_mask2former import sample_point

    side = 512 if masks else 128
    images = torch.randn(maps, side, side)
    images = (images > 0).to(torch.uint8) if masks else images.requires_grad_(backward)
    places = torch.rand(1 if common else maps, points, 2)

    def body():
        # As its matcher and loss do: common points are repeated for every map.
        at = places.repeat(maps, 1, 1) if common else places
        with torch.set_grad_enabled(backward):
            out = sample_point(images[:, None].float(), at, align_corners=False).squeeze(1)
        if backward:
            images.grad = None
            out.square().sum().backward()

    return body, 20


if __name__ == "__main__":
    measure.run({(case, "transformers"): make for case, make in {
        "deformable_forward_5376": partial(attention, False),
        "deformable_forward_backward_5376": partial(attention, True),
        "points_100_maps_common": partial(points, 100, 12544, common=True),
        "points_20_masks_common": partial(points, 20, 12544, common=True, masks=True),
        "points_1_map_own": partial(points, 1, 37632),
        "points_20_maps_own": partial(points, 20, 37632),
        "points_1_map_own_backward": partial(points, 1, 12544, backward=True),
        "points_20_maps_own_backward": partial(points, 20, 12544, backward=True),
    }.items()})
