"""Repeats a peer, measures time and memory, and prints them as README.md specifies."""

import json
import os
import sys
import time


def memory_mib(key):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(key))
    return int(line.split()[1]) / 1024


def device():
    """Where peers are measured: `--device=cuda`, else the CPU."""
    return next((a.split("=", 1)[1] for a in sys.argv if a.startswith("--device=")), "cpu")


def run(cases):
    """`cases` maps (case, peer) to a function that prepares and returns the function to repeat."""
    if "--list" in sys.argv:
        for case, peer in cases:
            print(case, peer)
        return
    import torch

    torch.set_num_threads(int(os.environ.get("SONOTUNE_BENCH_THREADS", os.cpu_count())))
    wanted = [a for a in sys.argv[1:] if not a.startswith("--")]
    chosen = [key for key in cases if list(key[: len(wanted)]) == wanted]
    if not chosen:
        sys.exit("no such case; --list shows them")
    for case, peer in chosen:
        torch.manual_seed(0)
        body, repeats = cases[case, peer]()
        if device().startswith("cuda"):
            figures = on_gpu(body, repeats)
        else:
            figures = on_cpu(body, repeats)
        print(json.dumps({"name": case, "peer": peer, **figures}), flush=True)


def on_cpu(body, repeats):
    before = memory_mib("VmRSS")
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # resets VmHWM: building the model is not measured
    body()
    seconds, started = [], time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        body()
        seconds.append(time.perf_counter() - start)
    peak = memory_mib("VmHWM")
    each = (time.process_time() - started) / repeats
    print(f"whole process at its peak: {peak:.0f} MiB; processor time {each:.3f} s a repetition",
          file=sys.stderr)
    return {**times(seconds), "peak_mib": peak - before}


def on_gpu(body, repeats):
    """Each repetition is waited for. The peak is that of all tensors, the model's included, in the measured
    part; compiling and the choice of algorithms happen before it."""
    import torch

    for _ in range(3):
        body()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        body()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**20
    return {**times(seconds), "seconds_mean": sum(seconds) / repeats, "peak_mib": peak}


def times(seconds):
    seconds = sorted(seconds)
    return {"seconds_min": seconds[0], "seconds_median": seconds[len(seconds) // 2]}
