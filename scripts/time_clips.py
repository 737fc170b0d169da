"""Processor seconds of decoding H.264 clips to RGB on one thread: Sonotune's own decoder beside FFmpeg.

    cargo build --release -p sonotune-formats --features h264 --example frames
    python scripts/time_clips.py target/release/examples/frames FFMPEG FOLDER

Takes the least of three turns for each MP4 and MOV below FOLDER that both decode, and prints each ratio and that of the sums.
FFmpeg's own start is part of its time, about 0.01 s a clip.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

TURNS = 3


def processor_seconds(command):
    """None if the command fails."""
    least = None
    for _ in range(TURNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "SONOTUNE_FFMPEG": ""})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if ended.returncode != 0:
            return None
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        least = seconds if least is None else min(least, seconds)
    return least


def main(frames, ffmpeg, folder):
    sums = [0.0, 0.0]
    count = 0
    for path in sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".mp4", ".mov")):
        ours = processor_seconds([frames, path, "--without-ffmpeg"])
        output = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        theirs = ours and processor_seconds([ffmpeg, "-v", "error", "-threads", "1", "-i", path, *output])
        if not theirs:
            continue
        count += 1
        sums = [sums[0] + ours, sums[1] + theirs]
        print(f"{ours:.3f} s, FFmpeg {theirs:.3f} s, ratio {ours / theirs:.2f}: {path.name}")
    if not count:
        sys.exit(f"no clip below {folder} is decoded by both")
    print(f"{count} clips: {sums[0]:.1f} s, FFmpeg {sums[1]:.1f} s, ratio {sums[0] / sums[1]:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
