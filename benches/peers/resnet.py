"""The peers of benches/resnet.rs: torchvision's ResNet-50, with frozen batch-norm statistics (what
the Rust side computes) and by default, with those of the batch."""

from functools import partial

import measure


def step(frozen, bf16):
    import torch
    from torch.nn import functional as F
    from torchvision.models import resnet50

    model = resnet50(num_classes=2)
    model.train(not frozen)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)
    images, labels = torch.randn(2, 3, 1024, 1024), torch.tensor([0, 1])

    def body():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(images).float(), labels)
        loss.backward()
        optimizer.step()

    return body, 3


if __name__ == "__main__":
    measure.run({
        (f"resnet50_classifier_step_{precision}_1024", peer): partial(step, frozen, precision == "bf16")
        for precision in ("fp32", "bf16")
        for peer, frozen in (("torchvision_frozen_norm", True), ("torchvision", False))
    })
