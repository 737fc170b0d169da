"""Repeats a peer, measures time and memory, and prints them as README.md specifies."""

import json
import os
import sys
import time


def memory_mib(key):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(key))
    return int(line.split()[1]) / 1024


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
        seconds.sort()
        print(json.dumps({
            "name": case, "peer": peer, "seconds_min": seconds[0],
            "seconds_median": seconds[repeats // 2], "peak_mib": peak - before,
        }), flush=True)
