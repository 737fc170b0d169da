"""The peers of benches/vit.rs: segment_anything and Hugging Face's SamModel, both unmodified."""

from functools import partial

import measure


def segment_anything(embed_dim, depth, num_heads, window_size, global_attn_indexes, image_size):
    import torch
    from segment_anything.modeling import ImageEncoderViT

    return ImageEncoderViT(
        img_size=image_size, patch_size=16, embed_dim=embed_dim, depth=depth, num_heads=num_heads,
        mlp_ratio=4, out_chans=256, qkv_bias=True, use_rel_pos=True, window_size=window_size,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), global_attn_indexes=global_attn_indexes)


def huggingface(embed_dim, depth, num_heads, window_size, global_attn_indexes, image_size):
    from transformers import SamVisionConfig, SamVisionModel

    config = SamVisionConfig(
        hidden_size=embed_dim, num_hidden_layers=depth, num_attention_heads=num_heads,
        mlp_dim=4 * embed_dim, window_size=window_size, image_size=image_size,
        global_attn_indexes=list(global_attn_indexes))
    config._attn_implementation = "sdpa"  # its default
    model = SamVisionModel(config)
    assert "Sdpa" in type(model.vision_encoder.layers[0].attn).__name__
    return lambda images: model(images).last_hidden_state, model


def build(package, **sizes):
    """A function from images to the embedding, and the module with its parameters."""
    made = package(**sizes)
    return made if isinstance(made, tuple) else (made, made)


def autocast(bf16):
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)


def forward(package, bf16):
    import torch

    encode, _ = build(package, embed_dim=768, depth=12, num_heads=12, window_size=14,
                      global_attn_indexes=(2, 5, 8, 11), image_size=1024)
    images = torch.randn(1, 3, 1024, 1024)

    def body():
        with torch.no_grad(), autocast(bf16):
            encode(images)

    return body, 3


def train_step(package, bf16):
    import torch

    encode, module = build(package, embed_dim=192, depth=6, num_heads=6, window_size=7,
                           global_attn_indexes=(2, 5), image_size=256)
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, weight_decay=1e-4)
    images = torch.randn(8, 3, 256, 256)

    def body():
        optimizer.zero_grad()
        with autocast(bf16):
            loss = encode(images).float().square().mean()
        loss.backward()
        optimizer.step()

    return body, 6


if __name__ == "__main__":
    packages = {"segment_anything": segment_anything, "huggingface": huggingface}
    cases = {}
    for peer, package in packages.items():
        for precision in ("fp32", "bf16"):
            bf16 = precision == "bf16"
            cases[f"vit_b_forward_{precision}_1024", peer] = partial(forward, package, bf16)
            cases[f"vit_small_train_step_{precision}_256", peer] = partial(train_step, package, bf16)
    measure.run(cases)
