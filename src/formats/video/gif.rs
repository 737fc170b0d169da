//! GIF: frames as a player shows them, each drawn over those before it.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use image::{AnimationDecoder, ImageDecoder, Limits, RgbaImage, codecs::gif::GifDecoder};

use sonotune_base::panics::catching;

use super::check_size;
use crate::Pixels;

/// Larger ones are refused: several copies with four bytes per pixel are in memory at a time.
const MAX_CANVAS: u64 = 25_000_000;
/// An hour at 60 frames a second has 216,000.
const MAX_FRAMES: usize = 10_000_000;

/// Counts the frames by the file's blocks, without decoding them.
///
/// # Errors
/// When the file ends before its end mark, has unknown blocks, frames without pixels or none at all.
pub(super) fn count(file: &mut File) -> Result<usize> {
    file.seek(SeekFrom::Start(0))?;
    let mut blocks = Blocks(BufReader::new(file));
    let [_, _, _, _, _, _, w0, w1, h0, h1, flags, _, _] = blocks.take::<13>()?;
    let (height, width) =
        (u16::from_le_bytes([h0, h1]).into(), u16::from_le_bytes([w0, w1]).into());
    check_size(height, width)?;
    ensure!(
        height * width <= MAX_CANVAS,
        "it is {height} high and {width} wide, which is too large for a GIF"
    );
    blocks.skip(palette(flags))?;
    let mut frames = 0;
    loop {
        match blocks.take::<1>()? {
            [b'!'] => {
                blocks.take::<1>()?;
            }
            [b','] => {
                let [_, _, _, _, w0, w1, h0, h1, flags] = blocks.take::<9>()?;
                let (height, width) = (u16::from_le_bytes([h0, h1]), u16::from_le_bytes([w0, w1]));
                ensure!(
                    height > 0 && width > 0,
                    "frame {frames} is {height} high and {width} wide"
                );
                blocks.skip(palette(flags))?;
                blocks.take::<1>()?;
                frames += 1;
                ensure!(frames <= MAX_FRAMES, "it has more than {MAX_FRAMES} frames");
            }
            [b';'] => break,
            [other] => anyhow::bail!("it has a block of the unknown kind {other}"),
        }
        loop {
            let [len] = blocks.take::<1>()?;
            if len == 0 {
                break;
            }
            blocks.skip(u64::from(len))?;
        }
    }
    ensure!(frames > 0, "it has no frames");
    Ok(frames)
}

/// Bytes of the palette that `flags` announce.
const fn palette(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

struct Blocks<R>(R);

impl<R: Read> Blocks<R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).context("the GIF is truncated")?;
        Ok(bytes)
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        let skipped = std::io::copy(&mut (&mut self.0).take(len), &mut std::io::sink())?;
        ensure!(skipped == len, "the GIF is truncated");
        Ok(())
    }
}

/// Visits `count` frames in order as long as `each` returns `true`.
pub(super) fn visit(
    path: &Path,
    count: usize,
    each: &mut impl FnMut(usize, Pixels) -> Result<bool>,
    error: impl Fn(usize, anyhow::Error) -> anyhow::Error,
) -> Result<()> {
    let open = || -> Result<_> {
        let mut decoder = GifDecoder::new(BufReader::new(File::open(path)?))?;
        let mut limits = Limits::default();
        // A canvas, what it is put back to, and a frame, with 4 bytes per pixel.
        limits.max_alloc = Some(MAX_CANVAS * 12);
        decoder.set_limits(limits)?;
        Ok(decoder.into_frames())
    };
    let mut frames = open().map_err(|e| error(0, e))?;
    for index in 0..count {
        let gave_up = || "corrupt: the decoder gave up".to_owned();
        let frame =
            catching(gave_up, || frames.next().context("it is missing")?.context("it is damaged"));
        let frame = frame.map_err(|e| error(index, e))?;
        if !each(index, on_white(&frame.into_buffer()))? {
            break;
        }
    }
    Ok(())
}

/// Where nothing was drawn a player shows what lies beneath; OpenCV has white there.
fn on_white(image: &RgbaImage) -> Pixels {
    let (width, height) = image.dimensions();
    let colour =
        |p: &image::Rgba<u8>| if p.0[3] == 0 { [255; 3] } else { [p.0[0], p.0[1], p.0[2]] };
    Pixels { height, width, channels: 3, data: image.pixels().flat_map(colour).collect() }
}
