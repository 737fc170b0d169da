"""What is measured, the most valuable first. A step returns its figures, or raises Skip or Failed."""

import importlib.util
import json
import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import budget
import flops
import gpus
import parity

ROOT = Path(__file__).resolve().parents[2]
SAM = "configs/bus-bra/prompt-box-sam.toml"
# One box per object and one pass, as the peers do it.
SAM_KEYS = ("task.convention=segment_anything", "task.training.box_probability=1")
CLASSES = 'dataset.categories=["cyst","benign","malignant"]'
PARITY_CONFIGS = {
    "classification": "configs/demo/classification-random.toml",
    "sam_prompt": "configs/demo/prompt.toml",
    "mask2former": "configs/demo/mask2former-random.toml",
}
# The config key that chooses the attention kernel on a GPU.
ATTENTION_KEY = "attention_backend"
# The module that a package is imported as, and what to install.
PACKAGES = {
    "segment_anything": ("segment_anything", "segment-anything==1.0"),
    "huggingface_sdpa": ("transformers", "transformers"),
}


@dataclass(frozen=True)
class Step:
    key: str
    # The table it belongs to: "health", "parity", "training", "loading", "end_to_end".
    table: str
    case: str
    package: str
    measure: object
    # Seconds that it takes at the least, and at the most.
    least: float
    most: float


class Context:
    """Where and with what to measure."""

    def __init__(self, program, device, size, out, env):
        self.program, self.device, self.size, self.env = program, device, size, env
        self.out, self.data, self.runs = out, out / "data", out / "runs"
        self.gpu_name = None
        # The whole reports, by step.
        self.raw = {}

    def sonotune(self, arguments, limit):
        return budget.run([*self.program, *arguments], limit, self.env, ROOT)

    def json(self, key, arguments, limit):
        said = self.sonotune(arguments, limit)
        try:
            self.raw[key] = json.loads(said)
        except json.JSONDecodeError as error:
            raise budget.Failed(f"printed something other than JSON ({error}): {said[:200]!r}")
        return self.raw[key]

    def keys(self, key, *more):
        """Overrides of each training."""
        return [
            f"device={self.device}", f"dataset.root={self.data}", "dataset.images=", "~weights",
            "logging.num_images=0", f"loader.num_workers={self.size.workers}", f"run_dir={self.runs / key}", *more]


def phantoms(ctx, limit):
    size = ctx.size
    ctx.sonotune(
        ["data", "phantom", ctx.data, "--num-images", size.images, "--image-size", size.data_side,
         "--images-per-patient", "1", "--overwrite"], limit)
    return {"note": f"{size.images} phantoms of {size.data_side}², one lesion each"}


def doctor(ctx, limit):
    try:
        said, failed = ctx.sonotune(["doctor", "--device", ctx.device, "--json"], limit), None
    except budget.Failed as error:
        # A check that failed ends it with an error, after the report.
        said, failed = error.said, error
        if not said.strip():
            raise
    report = ctx.raw["doctor"] = json.loads(said)
    environment = report["environment"]
    # Else the name is that of the processor.
    ctx.gpu_name = environment.get("device_name") if environment["device"].startswith("cuda") else None
    problems = [f"{check['name']}: {check['found']}" for check in report["checks"] if check["status"] != "ok"]
    if failed:
        raise budget.Failed("; ".join(problems) or str(failed))
    products = report.get("speed") or {}
    return {
        "note": "; ".join(problems) or "all checks passed", "device_name": ctx.gpu_name,
        "bf16_tflops": products.get("bf16_gflops", 0) / 1000, "fp32_tflops": products.get("fp32_gflops", 0) / 1000}


def same_numbers(task):
    def measure(ctx, limit):
        records = []
        for device in ("cpu", ctx.device):
            key = f"parity-{task}-{device.replace(':', '')}-{len(records)}"
            keys = [
                f"device={device}", f"dataset.root={ctx.data}", "precision=fp32", "loader.batch_size=4",
                f"train.max_steps={ctx.size.parity_steps}", "logging.every_steps=1", "schedule.warmup.steps=2",
                f"evaluation.every_steps={ctx.size.parity_steps}", "logging.num_images=0",
                f"run_dir={ctx.runs / key}", *ctx.size.tiny_vit]
            ctx.sonotune(["train", PARITY_CONFIGS[task], *keys, "--overwrite"], limit / 2)
            records.append(parity.read(ctx.runs / key / "metrics.jsonl"))
        ctx.raw[f"parity/{task}"] = records
        return parity.compare(*records)

    return measure


def dry_run(key, config, *more, sam=False, newest=None):
    """Steps on one batch without the loader. Their mean: each of them is waited for, and the first is left
    out. `newest` is a config key that an older program, given by --program, may lack."""

    def measure(ctx, limit):
        size = ctx.size
        arguments = ["train", config, *ctx.keys(key.replace("/", "-"), *more),
                     "--dry-run", "--dry-run-steps", size.steps, "--json"]
        try:
            report = ctx.json(key, arguments, limit)
        except budget.Failed as failed:
            if newest and f"unknown key `{newest}`" in str(failed):
                raise budget.Skip(f"this version of Sonotune has no key {newest}")
            raise
        step = report["step"]
        if step is None:
            raise budget.Failed("; ".join(report["problems"]) or "the batch was not run")
        figures = {
            "step_seconds": step["seconds"], "first_seconds": step["first_seconds"],
            "images_per_second": step["images_per_second"], "peak_bytes": report["memory"]["peak_bytes"],
            "loader_images_per_second": (report["loading"] or {}).get("images_per_second"),
            "input_size": report["batch"]["input_size"]}
        if sam:
            images = report["batch"]["num_images"]
            objects = report["batch"]["num_objects"] / images
            each = flops.training(flops.Vit(side=size.side, **size.vit), objects)
            figures.update(speed(each * images / step["seconds"], ctx.gpu_name))
        return figures

    return measure


def speed(flops_per_second, gpu_name):
    tflops = flops_per_second / 1e12
    return {"tflops": tflops, "mfu": gpus.utilisation(tflops, gpu_name)}


def sam_keys(ctx_size, batch, *more):
    return [*SAM_KEYS, *ctx_size.sam, "precision=bf16", f"loader.batch_size={batch}", "evaluation.batch_size=1", *more]


def end_to_end(key, batch, size):
    """A real training: loader, logging, validation and checkpoint; the first lines of the log are left out."""

    def measure(ctx, limit):
        keys = sam_keys(size, batch, f"train.max_steps={size.train_steps}", f"logging.every_steps={size.log_every}")
        ctx.json(key, ["train", SAM, *ctx.keys(key, *keys), "--overwrite", "--json"], limit)
        records = parity.read(ctx.runs / key / "metrics.jsonl")
        ctx.raw[f"{key}/metrics"] = records
        lines = [record for record in records if record["split"] == "train"][size.warm_up_lines:]
        if not lines:
            raise budget.Failed("the run logged no step after its warm-up")
        total = sum(line["time/step"] for line in lines)
        return {
            "images_per_second": statistics.median(line["time/images_per_second"] for line in lines),
            "step_seconds": statistics.median(line["time/step"] for line in lines),
            "data_wait": sum(line["time/data"] for line in lines) / total,
            "peak_bytes": max(line.get("memory/peak", 0) for line in lines) or None}

    return measure


def c_compiler(env):
    path = env.get("PATH")
    return next(filter(None, (shutil.which(name, path=path) for name in (env.get("CC"), "cc", "gcc", "clang") if name)), None)


def peer(name, batch, compiled):
    def measure(ctx, limit):
        for module, requirement in (("torch", "torch==2.11.0"), PACKAGES[name]):
            if importlib.util.find_spec(module) is None:
                raise budget.Skip(f"{sys.executable} has no module {module} (pip install {requirement})")
        if compiled and c_compiler(ctx.env) is None:
            raise budget.Skip("torch.compile needs a C compiler, with which Triton builds what starts its kernels; "
                              "none of CC, cc, gcc and clang is here")
        script = ROOT / "benches/peers/sam.py"
        case = f"sam_train_step_bf16_1024_batch_{batch}"
        command = [sys.executable, script, case, name + ("_compiled" if compiled else ""), f"--device={ctx.device}"]
        said = budget.run(command, limit, ctx.env, ROOT).strip().splitlines()
        if not said:
            raise budget.Failed("it printed no figures")
        figures = json.loads(said[-1])
        ctx.raw[f"{case}/{name}/{'compiled' if compiled else 'eager'}"] = figures
        seconds = figures.get("seconds_mean", figures["seconds_median"])
        each = flops.training(flops.Vit())
        return {
            "step_seconds": seconds, "images_per_second": batch / seconds,
            "peak_bytes": figures["peak_mib"] * 2**20, **speed(each * batch / seconds, ctx.gpu_name)}

    return measure
