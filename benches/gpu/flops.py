"""Floating-point operations of SAM as published: what a model has to compute, not what an implementation does.

A product of [m, k] and [k, n] counts 2·m·k·n; norms, activations, softmax and losses count nothing. A
training step counts three times its forward pass: the backward pass has two products for each one. The
windows are padded to a multiple of 14, as in segment_anything, and the padding is counted.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Vit:
    """SAM's image encoder; the defaults are those of ViT-B."""

    side: int = 1024
    patch: int = 16
    dim: int = 768
    depth: int = 12
    global_blocks: int = 4
    window: int = 14
    out_channels: int = 256


def attention(tokens, keys, dim, positions):
    """Scores and weighted sum of `keys` for each token, plus the products of queries with the relative
    positions of rows and columns (`positions` of each)."""
    return 4 * tokens * keys * dim + 2 * 2 * tokens * positions * dim


def encoder(vit):
    """One image, forward."""
    grid = vit.side // vit.patch
    tokens = grid * grid
    padded = (-(-grid // vit.window) * vit.window) ** 2
    mlp = 16 * tokens * vit.dim**2

    def projections(count):
        return 8 * count * vit.dim**2

    in_window = projections(padded) + attention(padded, vit.window**2, vit.dim, vit.window) + mlp
    in_image = projections(tokens) + attention(tokens, tokens, vit.dim, grid) + mlp
    patches = 2 * tokens * 3 * vit.patch**2 * vit.dim
    neck = 2 * tokens * (vit.dim * vit.out_channels + 9 * vit.out_channels**2)
    windows = vit.depth - vit.global_blocks
    return patches + windows * in_window + vit.global_blocks * in_image + neck


def decoder(vit, objects=1):
    """SAM's mask decoder for one image, forward, without the terms of the few prompt tokens: image tokens
    are projected five times (keys and values of two layers and the last attention, queries and outputs of
    two), to half the width, and enlarged to masks."""
    tokens, dim = (vit.side // vit.patch) ** 2, vit.out_channels
    projections = (2 * 2 + 2 * 2 + 2) * 2 * tokens * dim * dim // 2
    enlarged = 2 * tokens * dim * (dim // 4) * 4 + 2 * 4 * tokens * (dim // 4) * (dim // 8) * 4
    masks = 4 * 2 * 16 * tokens * (dim // 8)
    return objects * (projections + enlarged + masks)


def training(vit, objects=1):
    """One image, forward and backward, everything trained."""
    return 3 * (encoder(vit) + decoder(vit, objects))
