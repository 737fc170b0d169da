//! Writes a clip's frames to the standard output: for `scripts/compare_clips.py`.
//!
//!     cargo run --release -p sonotune-formats --example frames -- CLIP [--without-ffmpeg]
//!
//! The first line has the number of frames and what decodes them; each frame is a P6 of Netpbm.

use std::io::{BufWriter, Write};

use anyhow::{Context, Result};
use sonotune_formats::video::{Ffmpeg, Video};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().context("which clip?")?;
    let without = arguments.next().is_some_and(|option| option == "--without-ffmpeg");
    let video =
        Video::open_with(path.as_ref(), || if without { Ok(None) } else { Ffmpeg::find() })?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let decoder = video.ffmpeg().map_or_else(|| "Sonotune".to_owned(), Ffmpeg::name);
    writeln!(out, "{} {decoder}", video.num_frames())?;
    video.frames(|_, pixels| {
        writeln!(out, "P6\n{} {}\n255", pixels.width, pixels.height)?;
        if pixels.channels == 3 {
            out.write_all(&pixels.data)?;
        } else {
            let rgb: Vec<u8> = pixels.data.iter().flat_map(|&grey| [grey; 3]).collect();
            out.write_all(&rgb)?;
        }
        Ok(())
    })?;
    Ok(out.flush()?)
}
