"""Asks many questions at once: python load.py URL [--token TOKEN] [--image FILE] [--requests 1000]
[--concurrency 16] [--fresh]

Prints how many were answered, and how long they took (median, 99th percentile), as JSON. Requests that are asked to
come back (503) do so after the time that the server says. With --fresh each request sends other pixels, so that no
embedding is reused. Needs numpy, pillow and requests.
"""
import io
import json
import sys
import threading
import time
from collections import Counter

import numpy as np
import requests
from common import arguments
from PIL import Image


def taken(flag, default):
    """The value of an option, removed from the command line."""
    if flag not in sys.argv:
        return default
    at = sys.argv.index(flag)
    value = int(sys.argv[at + 1])
    del sys.argv[at : at + 2]
    return value


count, concurrency = taken("--requests", 1000), taken("--concurrency", 16)
fresh = "--fresh" in sys.argv
if fresh:
    sys.argv.remove("--fresh")
args = arguments(__doc__)
model = requests.get(f"{args.url}/v1/model", headers=args.headers, timeout=60).json()
left, lock = iter(range(count)), threading.Lock()
seconds, statuses, retries = [], Counter(), 0


def picture(number):
    """The image, with some pixels changed if each request is to be another image."""
    if not fresh:
        return args.bytes
    pixels = args.pixels.copy()
    pixels[0, :4] = [number >> shift & 255 for shift in (0, 8, 16, 24)]
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def ask():
    global retries
    session = requests.Session()
    random = np.random.default_rng(threading.get_ident())
    while True:
        with lock:
            number = next(left, None)
        if number is None:
            return
        x, y = int(random.integers(args.width)), int(random.integers(args.height))
        prompts = [{"points": [{"x": x, "y": y}]}] if model["takes_prompts"] else []
        files, data = {"image": ("a.png", picture(number))}, {"prompts": json.dumps(prompts)}
        started = time.perf_counter()
        while True:
            reply = session.post(f"{args.url}/v1/predict", headers=args.headers, files=files, data=data, timeout=300)
            if reply.status_code != 503:
                break
            with lock:
                retries += 1
            time.sleep(float(reply.headers["Retry-After"]))
        with lock:
            seconds.append(time.perf_counter() - started)
            statuses[reply.status_code] += 1


started = time.perf_counter()
threads = [threading.Thread(target=ask) for _ in range(concurrency)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
total = time.perf_counter() - started
milliseconds = np.array(seconds) * 1000
print(json.dumps({
    "requests": count,
    "concurrency": concurrency,
    "statuses": dict(statuses),
    "retries": retries,
    "requests_per_second": round(count / total, 1),
    "p50_ms": round(float(np.percentile(milliseconds, 50)), 1),
    "p99_ms": round(float(np.percentile(milliseconds, 99)), 1),
    "max_ms": round(float(milliseconds.max()), 1),
}))
assert statuses == {200: count}, statuses
