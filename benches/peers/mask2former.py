"""The peer of benches/mask2former.rs: Hugging Face's Mask2FormerForUniversalSegmentation on its own
ResNet-50, with the sizes of the paper's model.

Its deformable attention is `grid_sample` level by level; masked attention is torch's
`MultiheadAttention`; there is no other implementation to choose. `channels_last` lets the
convolutions run in the layout that oneDNN prefers.
"""

import sys
import time
from functools import partial

import measure

SIDE = 512
CLASSES = 80


def build(channels_last):
    import torch
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig

    backbone = ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    # Its ten "layers" are nine: the prediction from the initial queries counts as one.
    config = Mask2FormerConfig(
        backbone_config=backbone, num_labels=CLASSES, num_queries=100, encoder_layers=6,
        decoder_layers=10, train_num_points=12544, dropout=0.0)
    model = Mask2FormerForUniversalSegmentation(config)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            module.requires_grad_(False)
    return model


def some_image(channels_last):
    import torch

    image = torch.randn(1, 3, SIDE, SIDE)
    return image.contiguous(memory_format=torch.channels_last) if channels_last else image


def some_objects(count):
    """Boxes of 60 × 50 pixels on a grid, with classes in turn."""
    import torch

    masks = torch.zeros(count, SIDE, SIDE)
    for i in range(count):
        top, left = 20 + 95 * (i // 5), 15 + 98 * (i % 5)
        masks[i, top : top + 50, left : left + 60] = 1
    return masks, torch.arange(count) % CLASSES


class Watch:
    """Seconds spent in a module's forward passes."""

    def __init__(self, module):
        self.seconds, self.calls, inner = 0.0, 0, module.forward

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start
                self.calls += 1

        module.forward = timed


def train_step(channels_last, count):
    import torch

    model = build(channels_last)
    variables = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(variables, lr=1e-4, weight_decay=1e-4)
    image, (masks, labels) = some_image(channels_last), some_objects(count)
    matcher = Watch(model.criterion.matcher)
    steps, whole = 0, 0.0

    def body():
        nonlocal steps, whole
        start = time.perf_counter()
        optimizer.zero_grad()
        model(pixel_values=image, mask_labels=[masks], class_labels=[labels]).loss.backward()
        torch.nn.utils.clip_grad_norm_(variables, 0.1)
        optimizer.step()
        steps, whole = steps + 1, whole + time.perf_counter() - start
        print(f"matching: {matcher.seconds / whole:.1%} of {steps} steps, "
              f"{1000 * matcher.seconds / steps:.0f} ms a step", file=sys.stderr)

    return body, 5


def matching(count):
    """Only the matcher, on predictions of all ten layers."""
    import torch

    matcher = build(False).criterion.matcher
    masks, labels = some_objects(count)
    classes, logits = torch.randn(1, 100, CLASSES + 1), torch.randn(1, 100, SIDE // 4, SIDE // 4)

    def body():
        for _ in range(10):
            matcher(logits, classes, [masks], [labels])

    return body, 5


def predict(channels_last):
    """All hundred masks of an image, as boolean maps at its size."""
    import torch
    from transformers import Mask2FormerImageProcessor

    model = build(channels_last).eval()
    processor = Mask2FormerImageProcessor()
    image = some_image(channels_last)

    def body():
        with torch.inference_mode():
            processor.post_process_instance_segmentation(
                model(pixel_values=image), threshold=0.0, target_sizes=[(SIDE, SIDE)],
                return_binary_maps=True)

    return body, 5


if __name__ == "__main__":
    cases = {}
    for peer, channels_last in (("huggingface", False), ("huggingface_channels_last", True)):
        for count, name in ((1, "1_object"), (20, "20_objects")):
            cases[f"mask2former_r50_step_{name}_512", peer] = partial(train_step, channels_last, count)
        cases["mask2former_r50_predict_512", peer] = partial(predict, channels_last)
    cases["mask2former_r50_matching_20_objects_512", "huggingface"] = partial(matching, 20)
    measure.run(cases)
