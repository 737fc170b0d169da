#!/usr/bin/env python3
"""Measures Sonotune on this machine's GPU, next to other packages, in less than nine minutes.

    python3 benches/gpu/bench.py [--out FOLDER] [--budget SECONDS] [--only TEXT]

Needs Python 3.9 with torch 2.11, whose libtorch Sonotune uses; no compiler, no network. Packages to compare
with are used if this Python has them (segment-anything, transformers). Writes FOLDER/results.md, ready for
docs/results.md, and FOLDER/results.json with all reports, after every step. Started again with the same
FOLDER, it measures only what is missing.
"""

import argparse
import json
import math
import os
import platform
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True  # the bundle may be read-only

import budget
import plan
import steps
import table

# Nine minutes, less what ending a process and writing take.
BUDGET_SECONDS = 520
# Steps that the others need.
ALWAYS = ("data", "doctor")


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-bench"), help="folder for results and runs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--program", help="command of Sonotune [default: the bundle's]")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, metavar="SECONDS", help="time of all steps")
    parser.add_argument("--only", default="", metavar="TEXT", help="steps whose name contains this")
    parser.add_argument("--tiny", action="store_true", help="everything at sizes that say nothing about speed")
    parser.add_argument("--list", action="store_true", help="print the steps and end")
    return parser.parse_args(given)


def program(given):
    if given:
        return shlex.split(given)
    places = [steps.ROOT / "sonotune", steps.ROOT / "target/release/sonotune"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        sys.exit(f"Sonotune is none of {', '.join(map(str, places))}: run this from a bundle "
                 "(cargo xtask bundle), or name the program with --program")
    return [str(found)]


def environment():
    env = dict(os.environ)
    if "LIBTORCH" not in env:
        # The launcher then takes the torch of the Python that runs this.
        env.setdefault("SONOTUNE_PYTHON", sys.executable)
    return env


def earlier(path, tiny):
    """Results to be completed."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        sys.exit(f"{path}: not a result of this bench ({error}); choose another folder with --out")
    if result.get("tiny") != tiny:
        sys.exit(f"{path} holds the results of {'tiny' if result.get('tiny') else 'full'} sizes; "
                 "choose another folder with --out")
    return result


def machine(ctx, clock):
    versions = []
    for module in ("torch", "segment_anything", "transformers"):
        version = package_version(module.replace("_", "-"))
        if version:
            versions.append(f"{module} {version}")
    return {
        "GPU": ctx.gpu_name or ("none" if ctx.device == "cpu" else "a device without a name"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}",
        "packages": ", ".join(versions), "date": time.strftime("%Y-%m-%d", clock)}


def package_version(name):
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def measure(step, ctx, limits):
    """The row of a step, whatever happens in it."""
    row = {"key": step.key, "table": step.table, "case": step.case, "package": step.package}
    begin = time.monotonic()
    try:
        row["figures"] = step.measure(ctx, limits.limit(step.least, step.most))
        row["status"] = "measured"
    except budget.Skip as skip:
        row.update(status="skipped", why=str(skip))
    except Exception as error:  # a step never ends the bench
        name = "" if isinstance(error, budget.Failed) else f"{type(error).__name__}: "
        row.update(status="failed", why=f"{name}{error}")
    row["seconds"] = time.monotonic() - begin
    return row


def summary(row):
    if row["status"] != "measured":
        return f"{row['status']}: {row['why']}"
    figures = row["figures"]
    names = ("images_per_second", "tflops", "loss_difference", "score_difference", "data_wait", "note")
    parts = [f"{name} {figures[name]:.4g}" if isinstance(figures[name], float) else str(figures[name])
             for name in names if figures.get(name) is not None]
    return ", ".join(parts)


def plain(value):
    """JSON has no infinity and no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def write(out, result):
    for name, text in (
        ("results.json", json.dumps(plain(result), indent=1, default=str)), ("results.md", table.markdown(result))):
        partial = out / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(out / name)


def run(chosen, everything, ctx, limits, result, done):
    """Measures each chosen step that is not done, and writes the results after each."""
    begin, clock = time.monotonic(), time.gmtime()
    for step in everything:
        # Without data and the name of the GPU, the others could not be completed.
        kept = done.get(step.key) if step.key not in ALWAYS or step not in chosen else None
        if kept is None and step not in chosen:
            continue
        row = kept or measure(step, ctx, limits)
        result["rows"].append(row)
        result.update(machine=machine(ctx, clock), seconds=time.monotonic() - begin)
        write(ctx.out, result)
        print(f"{result['seconds']:6.1f} s  {step.key}: {summary(row)}", file=sys.stderr, flush=True)


def main(given=None):
    args = arguments(given)
    everything = plan.plan(plan.TINY if args.tiny else plan.Size())
    chosen = [step for step in everything if args.only in step.key or step.key in ALWAYS]
    if args.list:
        for step in chosen:
            print(f"{step.key:40} {step.package:32} {step.case}")
        return 0
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    before = earlier(out / "results.json", args.tiny)
    ctx = steps.Context(
        program(args.program), args.device, plan.TINY if args.tiny else plan.Size(), out, environment())
    ctx.raw = before.get("raw", {})
    done = {row["key"]: row for row in before.get("rows", []) if row["status"] == "measured"}
    result = {
        "tiny": args.tiny, "command": shlex.join(["python3", *sys.argv]), "raw": ctx.raw, "rows": [],
        "machine": {}, "seconds": 0.0}
    try:
        run(chosen, everything, ctx, budget.Budget(args.budget), result, done)
    finally:
        for folder in (ctx.runs, ctx.data):  # checkpoints of gigabytes; the phantoms are made anew
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{table.markdown(result)}\nwritten to {out}/results.md and {out}/results.json")
    return 1 if any(is_wrong(row) for row in result["rows"]) else 0


def is_wrong(row):
    return row["status"] == "failed" or row.get("figures", {}).get("within") is False


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM; the results so far are written"))
    sys.exit(main())
