"""Compares frames of clips, by number, with what OpenCV decodes.

    cargo build --release -p sonotune-formats --example frames
    python compare_clips.py target/release/examples/frames FOLDER [--without-ffmpeg] [--first N]

Prints a line for each clip that differs or cannot be read, and a summary. A clip agrees if both have the
same number of frames and no value differs by more than 2. With --first only N frames of each clip are
compared, and the numbers of frames. Needs numpy and opencv-python-headless.
"""
import argparse
import subprocess
from pathlib import Path

import cv2
import numpy as np

ENDINGS = {".mp4", ".mov", ".avi", ".mpeg", ".mpg", ".gif", ".mkv", ".webm", ".m4v"}


def read_frame(pipe):
    """The next P6 as [H, W, 3], or None at the end."""
    if not pipe.readline():
        return None
    width, height = map(int, pipe.readline().split())
    pipe.readline()
    return np.frombuffer(pipe.read(width * height * 3), np.uint8).reshape(height, width, 3)


def compare(program, options, path, first):
    """(what decoded it or why not, our frames, theirs, largest difference, mean difference)"""
    ours = subprocess.Popen(
        [program, path, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    theirs = cv2.VideoCapture(str(path))
    head = ours.stdout.readline().decode().split(maxsplit=1)
    counts, largest, total, values, sizes = [0, 0], 0, 0, 0, True
    while True:
        if head and counts[0] == first:
            ours.kill()
            ours.communicate()
            counts = [int(head[0]), counts[1] + sum(iter(theirs.grab, False))]
            agrees = sizes and counts[0] == counts[1] and largest <= 2
            return head[1].strip(), counts, largest, total / max(values, 1), agrees
        mine = read_frame(ours.stdout) if head else None
        there, frame = theirs.read()
        counts[0] += mine is not None
        counts[1] += there
        if mine is None or not there:
            counts[1] += sum(iter(theirs.grab, False)) if there else 0
            while mine is not None and (mine := read_frame(ours.stdout)) is not None:
                counts[0] += 1
            break
        if mine.shape != frame.shape:
            sizes = False
            continue
        difference = cv2.absdiff(np.ascontiguousarray(mine[..., ::-1]), frame)
        largest = max(largest, int(difference.max()))
        total += int(difference.sum(dtype=np.int64))
        values += difference.size
    error = ours.communicate()[1].decode(errors="replace").strip()
    if ours.returncode != 0:
        return error, counts, 0, 0.0, False
    agrees = sizes and counts[0] == counts[1] == int(head[0]) and largest <= 2
    return head[1].strip(), counts, largest, total / max(values, 1), agrees


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the example `frames`")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without-ffmpeg", action="store_true")
    parser.add_argument("--first", type=int, metavar="N")
    arguments = parser.parse_args()
    options = ["--without-ffmpeg"] if arguments.without_ffmpeg else []
    clips = sorted(p for p in arguments.folder.rglob("*") if p.suffix.lower() in ENDINGS)
    read = agree = frames = 0
    by_decoder, largest, means = {}, 0, []
    for path in clips:
        decoder, counts, most, mean, agrees = compare(arguments.program, options, path, arguments.first)
        if counts[0] == 0 or not decoder.startswith(("Sonotune", "FFmpeg")):
            print(f"{path.name}: not read: {decoder}")
            continue
        read += 1
        agree += agrees
        frames += counts[0]
        by_decoder[decoder] = by_decoder.get(decoder, 0) + 1
        largest = max(largest, most)
        means.append(mean)
        if not agrees:
            print(f"{path.name}: {counts[0]} frames, OpenCV {counts[1]}; up to {most}, mean {mean:.3f}")
    print(f"{read} of {len(clips)} read, {frames} frames, {agree} agree with OpenCV {cv2.__version__}")
    print(f"largest difference {largest}, mean of means {np.mean(means or [0]):.5f}")
    for decoder, count in by_decoder.items():
        print(f"{count} decoded by {decoder}")


if __name__ == "__main__":
    main()
