"""Runs exported models. Reads a job as JSON from stdin.

{"packages": [...]}: prints {"versions": [[name, version], ...], "missing": [...]}.
{"steps": [{"file", "method", "inputs": [{"name", "npy"}], "outputs": [...]}]}: runs each step and writes its
outputs as .npy files.
"""

import importlib
import json
import sys

job = json.load(sys.stdin)

if "packages" in job:
    versions, missing = [["Python", sys.version.split()[0]]], []
    for name in job["packages"]:
        try:
            module = importlib.import_module(name)
            versions.append([name, getattr(module, "__version__", "?")])
        except ImportError:
            missing.append(name)
    print(json.dumps({"versions": versions, "missing": missing}))
    sys.exit(0)

import numpy

loaded = {}


def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(step):
    path, method = step["file"], step["method"]
    arrays = [(i["name"], numpy.load(i["npy"])) for i in step["inputs"]]
    if method == "onnx":
        if path not in loaded:
            loaded[path] = session(path)
        return loaded[path].run(None, dict(arrays))
    import torch

    if path not in loaded:
        loaded[path] = torch.jit.load(path, map_location="cpu")
    with torch.inference_mode():
        result = getattr(loaded[path], method)(*[torch.from_numpy(a) for _, a in arrays])
    result = result if isinstance(result, tuple) else (result,)
    return [tensor.numpy() for tensor in result]


for step in job["steps"]:
    results = run(step)
    if len(results) < len(step["outputs"]):
        sys.exit(f"{step['file']}: {len(results)} outputs, expected {len(step['outputs'])}")
    for result, path in zip(results, step["outputs"]):
        numpy.save(path, numpy.ascontiguousarray(result))
