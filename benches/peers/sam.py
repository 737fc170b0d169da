"""The peers of benches/sam.rs: segment_anything and Hugging Face's SamModel, both unmodified.

A peer is a pair of functions around one model: `embed` makes embeddings of images, `decode` makes
low-resolution logits and predicted IoU from them for boxes `[N, 4]`; `enlarge` resizes logits to 1024².
"""

from functools import partial

import measure

SIDE = 1024


class SegmentAnything:
    def __init__(self):
        import segment_anything

        self.model = segment_anything.sam_model_registry["vit_b"]()
        self.embed = self.model.image_encoder
        self.decoder = [self.model.prompt_encoder, self.model.mask_decoder]

    def decode(self, features, boxes, multimask):
        sparse, dense = self.model.prompt_encoder(points=None, boxes=boxes, masks=None)
        return self.model.mask_decoder(
            image_embeddings=features, image_pe=self.model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=multimask)

    def decode_each(self, features, boxes):
        """One box per image. The package's decoder takes the boxes of one image at a time."""
        import torch

        decoded = [self.decode(f[None], b[None], True) for f, b in zip(features, boxes)]
        return tuple(torch.cat(parts) for parts in zip(*decoded))

    def enlarge(self, logits):
        return self.model.postprocess_masks(logits, (SIDE, SIDE), (SIDE, SIDE)) > 0.0


class HuggingFace:
    def __init__(self, attention):
        from transformers import SamConfig, SamImageProcessor, SamModel

        self.model = SamModel(SamConfig(attn_implementation=attention))
        layer = type(self.model.vision_encoder.layers[0].attn).__name__
        assert ("Sdpa" in layer) == (attention == "sdpa"), layer
        self.embed = lambda images: self.model.vision_encoder(images).last_hidden_state
        self.decoder = [self.model.prompt_encoder, self.model.mask_decoder]
        self.processor = SamImageProcessor()

    def decode(self, features, boxes, multimask):
        out = self.model(image_embeddings=features, input_boxes=boxes[None], multimask_output=multimask)
        return out.pred_masks[0], out.iou_scores[0]

    def decode_each(self, features, boxes):
        out = self.model(image_embeddings=features, input_boxes=boxes[:, None], multimask_output=True)
        return out.pred_masks[:, 0], out.iou_scores[:, 0]

    def enlarge(self, logits):
        return self.processor.post_process_masks([logits], [[SIDE, SIDE]], [[SIDE, SIDE]])[0]


def autocast(bf16, device="cpu"):
    import torch

    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=bf16)


def some_boxes(objects):
    import torch

    corner = torch.tensor([100.0, 200.0]) + torch.arange(objects)[:, None] * torch.tensor([5.0, 3.0])
    return torch.cat([corner, corner + torch.tensor([300.0, 200.0])], 1)


def some_targets(objects):
    import torch

    targets = torch.zeros(objects, SIDE // 4, SIDE // 4)
    targets[:, 50:100, 25:100] = 1
    return targets


def losses(logits, predicted, targets):
    """Focal (20), dice and the error of the predicted IoU, for the mask with the best IoU."""
    import torch
    import torch.nn.functional as F

    logits, predicted = logits.float(), predicted.float()
    with torch.no_grad():
        inside, truth = logits > 0, targets[:, None] > 0.5
        iou = (inside & truth).sum((2, 3)) / (inside | truth).sum((2, 3)).clamp(min=1e-6)
        best = iou.argmax(1)
    n = torch.arange(len(targets), device=targets.device)
    logits, predicted, iou = logits[n, best], predicted[n, best], iou[n, best]
    p = logits.sigmoid()
    miss = (1 - p) * targets + p * (1 - targets)
    weight = 0.25 * targets + 0.75 * (1 - targets)
    focal = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight * miss**2
    dice = 1 - 2 * (p * targets).sum((1, 2)) / (p.square().sum((1, 2)) + targets.sum((1, 2)) + 2)
    return 20 * focal.mean() + dice.mean() + F.mse_loss(predicted, iou)


def train_step(package, bf16):
    import torch

    peer = package()
    peer.model.train()
    optimizer = torch.optim.AdamW(peer.model.parameters(), lr=1e-4, weight_decay=1e-4)
    images, boxes, targets = torch.randn(1, 3, SIDE, SIDE), some_boxes(1), some_targets(1)

    def body():
        optimizer.zero_grad()
        with autocast(bf16):
            logits, predicted = peer.decode(peer.embed(images), boxes, True)
            loss = losses(logits, predicted, targets)
        loss.backward()
        optimizer.step()

    return body, 1


def batch_step(package, batch, compiled):
    """What `sonotune train configs/bus-bra/prompt-box-sam.toml` does in a step: images as bytes to the device,
    normalised there; one box per image; losses, backward, clipping, AdamW. With `compiled`, the image
    encoder is compiled, which has all but half a percent of the products."""
    import torch

    device = measure.device()
    on_gpu = device.startswith("cuda")
    peer = package()
    peer.model.train().to(device)
    embed = torch.compile(peer.embed) if compiled else peer.embed
    variables = list(peer.model.parameters())
    optimizer = torch.optim.AdamW(variables, lr=1e-4, weight_decay=1e-4, fused=on_gpu)
    images = torch.randint(0, 256, (batch, 3, SIDE, SIDE), dtype=torch.uint8)
    images = images.pin_memory() if on_gpu else images
    boxes, targets = some_boxes(batch).to(device), some_targets(batch).to(device)
    mean = torch.tensor([123.675, 116.28, 103.53], device=device).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375], device=device).view(3, 1, 1)

    def body():
        optimizer.zero_grad(set_to_none=True)
        pixels = (images.to(device, non_blocking=True).float() - mean) / std
        with autocast(True, device):
            logits, predicted = peer.decode_each(embed(pixels), boxes)
            loss = losses(logits, predicted, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(variables, 0.1)
        optimizer.step()

    return body, 20 if on_gpu else 1


def decoder_step(package, bf16, objects):
    """From an embedding in memory."""
    import torch

    peer = package()
    peer.model.train()
    variables = [p for module in peer.decoder for p in module.parameters()]
    optimizer = torch.optim.AdamW(variables, lr=1e-4, weight_decay=1e-4)
    features, boxes, targets = torch.randn(1, 256, 64, 64), some_boxes(objects), some_targets(objects)

    def body():
        optimizer.zero_grad()
        with autocast(bf16):
            logits, predicted = peer.decode(features, boxes, True)
            loss = losses(logits, predicted, targets)
        loss.backward()
        optimizer.step()

    return body, 3 if objects > 1 else 10


def decode(package, objects):
    import torch

    peer = package()
    peer.model.eval()
    features, boxes = torch.randn(1, 256, 64, 64), some_boxes(objects)

    def body():
        with torch.no_grad():
            logits, _ = peer.decode(features, boxes, False)
            peer.enlarge(logits)

    return body, 2 if objects > 1 else 20


if __name__ == "__main__":
    packages = {
        "segment_anything": SegmentAnything,
        "huggingface_sdpa": partial(HuggingFace, "sdpa"),
        "huggingface_eager": partial(HuggingFace, "eager"),
    }
    cases = {}
    for peer, package in packages.items():
        for precision in ("fp32", "bf16"):
            bf16 = precision == "bf16"
            cases[f"sam_train_step_{precision}_1024", peer] = partial(train_step, package, bf16)
            if peer != "huggingface_eager":
                for objects, name in ((1, "1_object"), (20, "20_objects")):
                    cases[f"sam_decoder_step_{precision}_{name}", peer] = partial(
                        decoder_step, package, bf16, objects)
        for objects, name in ((1, "1_object"), (20, "20_objects"), (100, "100_objects")):
            if peer != "huggingface_eager":
                cases[f"sam_box_decode_{name}", peer] = partial(decode, package, objects)
        # Next to the program itself, on a GPU: benches/gpu.
        for batch, compiled in ((1, False), (8, False), (1, True), (8, True)):
            name = f"{peer}_compiled" if compiled else peer
            cases[f"sam_train_step_bf16_1024_batch_{batch}", name] = partial(
                batch_step, package, batch, compiled)
    measure.run(cases)
