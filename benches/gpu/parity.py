"""Losses and scores of the same short training on the CPU and on the GPU, compared."""

import json
import math

# In fp32 with products of full precision, kernels that sum in another order differ in the seventh digit;
# six steps of AdamW raise that to the fifth. A wrong kernel, mask or sign is visible in the first digits.
LOSS_BOUND = 1e-3
# Scores of a few images move in steps: a mask that passes a threshold changes an mAP of nine images.
SCORE_BOUND = 0.05


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def losses(record):
    return {key: value for key, value in record.items() if key == "loss" or key.startswith("loss_")}


def scores(record):
    """Values in [0, 1]; distances in pixels and counts have no common scale."""
    leave_out = ("step", "split")
    return {key: value for key, value in record.items() if key not in leave_out and "hd95" not in key}


def difference(a, b, scale):
    """Infinite if only one of them is a number."""
    numbers = [isinstance(value, (int, float)) and math.isfinite(value) for value in (a, b)]
    if not all(numbers):
        return math.inf if any(numbers) else 0.0
    return abs(a - b) / scale


def compare(cpu, gpu):
    """Largest difference of losses, relative to the loss (its terms at least to a hundredth of the whole),
    and of scores, absolute; with the places of both."""
    by_key = {(record["split"], record["step"]): record for record in gpu}
    keys = {(record["split"], record["step"]) for record in cpu}
    if keys != set(by_key):
        raise ValueError(f"the CPU logged {sorted(keys)}, the GPU {sorted(by_key)}")
    worst_loss, worst_score = (0.0, "none"), (0.0, "none")
    for record in cpu:
        other = by_key[record["split"], record["step"]]
        if record["split"] == "train":
            whole = abs(record["loss"] or 0.0)
            for name, value in losses(record).items():
                scale = max(abs(value or 0.0), abs(other.get(name) or 0.0), 0.01 * whole, 1e-12)
                found = difference(value, other.get(name), scale), f"{name} of step {record['step']}"
                worst_loss = max(worst_loss, found, key=lambda pair: pair[0])
        else:
            for name, value in scores(record).items():
                found = difference(value, other.get(name), 1.0), f"{name} of step {record['step']}"
                worst_score = max(worst_score, found, key=lambda pair: pair[0])
    return {
        "loss_difference": worst_loss[0], "loss_place": worst_loss[1],
        "score_difference": worst_score[0], "score_place": worst_score[1],
        "first_loss_cpu": cpu[0]["loss"], "first_loss_gpu": by_key["train", cpu[0]["step"]]["loss"],
        "num_steps": sum(record["split"] == "train" for record in cpu),
        "within": worst_loss[0] <= LOSS_BOUND and worst_score[0] <= SCORE_BOUND,
    }
