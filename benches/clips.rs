//! Clips of 1,000 frames of 640×480 decoded to RGB, one frame after another: seconds a clip, and the memory that it takes.
//! The clips are those that `benches/peers/clips.py` makes.
//!
//! `clips_X_own` decodes without FFmpeg what both can decode. Opening is not part of the time: for a clip that FFmpeg
//! decodes it takes as long as decoding once, and is a case of its own.

#[path = "support/measure.rs"]
mod measure;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use measure::Case;
use serde_json::{Value, json};
use sonotune_formats::video::{Ffmpeg, Video};

const REPEATS: usize = 5;
const FRAMES: usize = 1000;
const CASES: [Case; 8] = [
    ("clips_h264", || decoded("h264.mp4", Ffmpeg::find)),
    ("clips_h264_b_frames", || decoded("h264_b_frames.mp4", Ffmpeg::find)),
    ("clips_h264_b_frames_own", || decoded("h264_b_frames.mp4", || Ok(None))),
    ("clips_mjpeg", || decoded("mjpeg.avi", || Ok(None))),
    ("clips_mpeg4", || decoded("mpeg4.avi", Ffmpeg::find)),
    ("clips_gif", || decoded("clip.gif", || Ok(None))),
    ("clips_open_h264", || opened("h264.mp4")),
    ("clips_open_mpeg4", || opened("mpeg4.avi")),
];

fn main() -> Result<()> {
    measure::run(&CASES)
}

fn clip(name: &str) -> Option<PathBuf> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-images/clips").join(name);
    path.is_file().then_some(path)
}

fn skipped() -> Value {
    json!({ "skipped": "the clips are made by `python benches/peers/clips.py --list`, which needs FFmpeg" })
}

fn without_ffmpeg() -> Value {
    json!({ "skipped": "no FFmpeg in the PATH, and none that SONOTUNE_FFMPEG names" })
}

fn is_for_ffmpeg(name: &str) -> bool {
    name == "mpeg4.avi"
}

/// What only FFmpeg decodes is skipped where `find` finds none.
fn decoded(name: &str, find: fn() -> Result<Option<Ffmpeg>>) -> Result<Value> {
    let Some(path) = clip(name) else { return Ok(skipped()) };
    if is_for_ffmpeg(name) && find()?.is_none() {
        return Ok(without_ffmpeg());
    }
    let video = Video::open_with(&path, find)?;
    ensure!(video.num_frames() == FRAMES, "{name} has {} frames", video.num_frames());
    let mut figures = measure::seconds(REPEATS, || {
        video.frames(|_, pixels| {
            ensure!((pixels.height, pixels.width) == (480, 640), "wrong size");
            Ok(())
        })
    })?;
    figures["aim"] = json!({ "time_ratio": 2.0 });
    Ok(figures)
}

fn opened(name: &str) -> Result<Value> {
    let Some(path) = clip(name) else { return Ok(skipped()) };
    if is_for_ffmpeg(name) && Ffmpeg::find()?.is_none() {
        return Ok(without_ffmpeg());
    }
    measure::seconds(REPEATS, || Video::open(&path).map(drop))
}
