"""Decodes clips to RGB with FFmpeg, which also makes them, once: target/bench-images/clips. The protocol is that
of README.md in this folder.

    python clips.py --list
    python clips.py clips_h264 ffmpeg

FFmpeg is the program that SONOTUNE_FFMPEG names, that of the PATH, or that of the package imageio-ffmpeg;
without one, there is no peer.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import measure

FOLDER = Path(__file__).resolve().parents[2] / "target" / "bench-images" / "clips"
FRAMES = 1000
REPEATS = 5
# A test picture under noise, which costs about as much to decode as speckle.
SOURCE = f"testsrc2=size=640x480:rate=25,noise=alls=12:allf=t,trim=end_frame={FRAMES}"
CLIPS = {
    "h264": ("h264.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0"]),
    "h264_b_frames": ("h264_b_frames.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
    "mjpeg": ("mjpeg.avi", ["-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p"]),
    "mpeg4": ("mpeg4.avi", ["-c:v", "mpeg4", "-q:v", "5"]),
    "gif": ("clip.gif", []),
}


def find():
    """FFmpeg's path, if there is one."""
    if "SONOTUNE_FFMPEG" in os.environ:
        return os.environ["SONOTUNE_FFMPEG"] or None
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    return imageio_ffmpeg.get_ffmpeg_exe()


def make(ffmpeg):
    if FOLDER.exists():
        return
    draft = FOLDER.with_name(f"clips.{os.getpid()}")
    draft.mkdir(parents=True)
    for name, options in CLIPS.values():
        source = ["-f", "lavfi", "-i", SOURCE]
        subprocess.run([ffmpeg, "-v", "error", *source, *options, draft / name], check=True)
    draft.rename(FOLDER)


def decode(ffmpeg, name):
    # Sonotune decodes a clip on one thread, and several clips beside each other.
    command = [ffmpeg, "-v", "error", "-threads", "1", "-i", FOLDER / name, "-fps_mode", "passthrough"]
    command += ["-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"]

    def body():
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        size = 0
        while part := process.stdout.read(1 << 20):
            size += len(part)
        if process.wait() or size != FRAMES * 640 * 480 * 3:
            raise SystemExit(f"FFmpeg gave {size} bytes")

    return body, REPEATS


def main():
    ffmpeg = find()
    if "--list" in sys.argv:
        if ffmpeg:
            make(ffmpeg)
            print("\n".join(f"clips_{case} ffmpeg" for case in CLIPS))
        return
    case = next(a for a in sys.argv[1:] if a.startswith("clips_"))
    body, repeats = decode(ffmpeg, CLIPS[case.removeprefix("clips_")][0])
    print(json.dumps({"name": case, "peer": "ffmpeg", **measure.on_cpu(body, repeats)}))


if __name__ == "__main__":
    main()
