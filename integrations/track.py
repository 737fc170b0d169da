#!/usr/bin/env python3
"""Sends a run of Sonotune to MLflow or Weights & Biases: config, environment, metrics by step, scores, report.

    pip install mlflow   # or wandb
    python track.py mlflow RUN_DIR [--follow] [--project NAME]
    python track.py wandb  RUN_DIR [--follow] [--project NAME]

Reads the run folder only; where to send is said as these packages document it (MLFLOW_TRACKING_URI,
WANDB_MODE, …). With --follow it goes on until the run ends. Python 3.11 or newer. docs/tracking.md has more.
"""

import argparse
import hashlib
import json
import math
import re
import sys
import time
import tomllib
from pathlib import Path

FILES = ["report.html", "config.toml", "env.json", "data.json", "weights.json", "summary.json"]


class Run:
    """The files of a run folder."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        if not (self.folder / "config.toml").is_file():
            sys.exit(f"error: {self.folder} is not a run folder: it has no config.toml")
        with open(self.folder / "config.toml", "rb") as file:
            self.config = flat(tomllib.load(file))
        self.environment = self.json("env.json")
        # The same for every call about this run, another one after `train --overwrite`.
        start = f"{self.folder} {self.environment.get('start_time')}"
        self.id = hashlib.sha256(start.encode()).hexdigest()[:16]

    def json(self, name):
        path = self.folder / name
        return json.loads(path.read_text()) if path.is_file() else {}

    def lines(self, known, follow):
        """Yields (step, split, {name: value}), without steps up to `known[split]`, in the file's order."""
        path, place = self.folder / "metrics.jsonl", 0
        while True:
            is_over = self.is_over()  # before reading: what is written later is read next time
            text = path.read_bytes() if path.is_file() else b""
            place = 0 if len(text) < place else place  # a resumed run has dropped lines
            end = text.rfind(b"\n") + 1  # a line may be half written
            for line in text[place:end].splitlines():
                values = json.loads(line)
                step, split = values.pop("step"), values.pop("split")
                if step > known.get(split, -1):
                    known[split] = step
                    # null is a value that was not finite.
                    yield step, split, {k: math.nan if v is None else v for k, v in values.items()}
            place = max(end, place)
            if not follow or is_over:
                return
            time.sleep(2)

    def is_over(self):
        """Whether the summary is newer than the last metrics: a resumed run writes metrics again."""
        summary, metrics = self.folder / "summary.json", self.folder / "metrics.jsonl"
        return summary.is_file() and (
            not metrics.is_file() or summary.stat().st_mtime >= metrics.stat().st_mtime
        )

    def scores(self, known):
        """Yields (split, step, {name: value}) of each `sonotune eval` newer than `known[file]`."""
        for path in sorted(self.folder.glob("eval-*.json")):
            time = path.stat().st_mtime
            if known.get(path.name) != time:
                known[path.name] = time
                record = self.json(path.name)
                values = {m["name"]: m["value"] for m in record["report"]["metrics"]}
                # An undefined score is null.
                values = {name: value for name, value in values.items() if value is not None}
                yield record["split"], record["step"], values

    def files(self):
        every = [self.folder / name for name in FILES] + sorted(self.folder.glob("eval-*.json"))
        return [path for path in every if path.is_file()]


def flat(table, prefix=""):
    """{"train": {"max_steps": 9}} as {"train.max_steps": 9}."""
    out = {}
    for key, value in table.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = value
    return out


def to_mlflow(run, project, follow):
    import mlflow
    from mlflow.entities import Metric, Param

    client, tag = mlflow.MlflowClient(), "sonotune.run"
    experiment = mlflow.set_experiment(project).experiment_id
    found = client.search_runs([experiment], f"tags.`{tag}` = '{run.id}'")
    if found:
        target = found[0].info.run_id
        known = json.loads(found[0].data.tags.get("sonotune.sent", "{}"))
    else:
        created = client.create_run(experiment, run_name=run.folder.name, tags={tag: run.id})
        target, known = created.info.run_id, {}
        params = [Param(key, str(value)[:6000]) for key, value in run.config.items()]
        for at in range(0, len(params), 100):
            client.log_batch(target, params=params[at : at + 100])
    for key, value in run.environment.items():
        client.set_tag(target, f"env.{key}", str(value)[:5000])

    def log(split, step, values):
        now = int(time.time() * 1000)
        # What MLflow does not take in a name, such as a category's parentheses, becomes `_`.
        names = {name: re.sub(r"[^\w\-. :/]", "_", f"{split}/{name}") for name in values}
        metrics = [Metric(names[name], value, now, step) for name, value in values.items()]
        client.log_batch(target, metrics=metrics)

    client.update_run(target, status="RUNNING")
    for step, split, values in run.lines(known, follow):
        log(split, step, values)
        client.set_tag(target, "sonotune.sent", json.dumps(known))
    for split, step, values in run.scores(known):
        log(f"scores/{split}", step, values)
    client.set_tag(target, "sonotune.sent", json.dumps(known))
    for path in run.files():
        client.log_artifact(target, str(path))
    status = run.json("summary.json").get("status")
    client.set_tag(target, "sonotune.status", status or "running")
    ended = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}.get(status)
    if ended:
        client.set_terminated(target, ended)
    print(f"MLflow run {target} in experiment {project} of {mlflow.get_tracking_uri()}")


def to_wandb(run, project, follow):
    import wandb

    config = run.config | {"env": run.environment}
    target = wandb.init(
        project=project, id=run.id, name=run.folder.name, resume="allow", config=config
    )
    # A server that knows the run has these steps already; W&B takes them in ascending order only.
    known = dict.fromkeys(("train", "val"), target.starting_step - 1)
    for step, split, values in run.lines(known, follow):
        target.log({f"{split}/{name}": value for name, value in values.items()}, step=step)
    for split, step, values in run.scores({}):
        target.summary.update({f"scores/{split}/{name}": value for name, value in values.items()})
        target.summary[f"scores/{split}/step"] = step
    summary = run.json("summary.json")
    target.summary.update({f"sonotune/{key}": summary.get(key) for key in ("status", "steps", "best")})
    artifact = wandb.Artifact(f"run-{run.id}", type="run")
    for path in run.files():
        artifact.add_file(str(path))
    target.log_artifact(artifact)
    place = target.dir
    target.finish(exit_code=1 if summary.get("status") == "failed" else 0)
    print(f"W&B run {run.id} of project {project}; local files: {Path(place).parent}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tracker", choices=["mlflow", "wandb"])
    parser.add_argument("run", metavar="RUN_DIR", help="folder of a run")
    parser.add_argument("--project", default="sonotune", help="experiment (MLflow) or project (W&B)")
    parser.add_argument("--follow", action="store_true", help="go on until the run ends")
    args = parser.parse_args()
    send = {"mlflow": to_mlflow, "wandb": to_wandb}[args.tracker]
    try:
        send(Run(args.run), args.project, args.follow)
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}: pip install {args.tracker}")


if __name__ == "__main__":
    main()
