//! H.264, decoded with OpenH264 (Cisco).

use anyhow::{Context, Result, anyhow, bail, ensure};
use openh264::{
    OpenH264API,
    decoder::{DecodedYUV, Decoder, DecoderConfig, Flush},
    formats::YUVSource,
};

use super::{MAX_PIXELS, mp4::AvcConfig};
use crate::Pixels;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Decodes samples in file order and returns frames in display order: the decoder holds back
/// frames that are shown later.
pub(super) fn decode(
    config: &AvcConfig,
    count: usize,
    mut read: impl FnMut(usize) -> Option<Result<Vec<u8>>>,
    each: &mut impl FnMut(usize, Pixels) -> Result<bool>,
    error: impl Fn(usize, anyhow::Error) -> anyhow::Error,
) -> Result<()> {
    // Flushing after each sample would give frames in file order.
    let settings = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
    let mut decoder = Decoder::with_api_config(OpenH264API::from_source(), settings)
        .map_err(|e| anyhow!("the H.264 decoder does not start: {e}"))?;
    let mut shown = 0;
    for sample in 0..count {
        let pixels = read(sample)
            .with_context(|| format!("there is no sample {sample}"))
            .flatten()
            .and_then(|bytes| annex_b(config, sample, &bytes))
            .and_then(|bytes| match decoder.decode(&bytes) {
                Ok(frame) => frame.map(|frame| to_rgb(&frame)).transpose(),
                Err(e) => bail!("its H.264 data are damaged or of an unsupported kind: {e}"),
            })
            .map_err(|e| error(sample, e))?;
        if let Some(pixels) = pixels {
            if !each(shown, pixels)? {
                return Ok(());
            }
            shown += 1;
        }
    }
    let rest = decoder.flush_remaining().map_err(|e| error(shown, anyhow!("{e}")))?;
    for frame in &rest {
        if !each(shown, to_rgb(frame).map_err(|e| error(shown, e))?)? {
            return Ok(());
        }
        shown += 1;
    }
    if shown == count {
        return Ok(());
    }
    Err(error(shown, anyhow!("the video has {count} frames, but only {shown} can be decoded")))
}

/// A sample's units with start codes instead of lengths; the parameter sets come before the first.
fn annex_b(config: &AvcConfig, sample: usize, mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = Vec::with_capacity(bytes.len() + 64);
    if sample == 0 {
        for set in &config.parameter_sets {
            stream.extend(START_CODE);
            stream.extend(set);
        }
    }
    while !bytes.is_empty() {
        let (len, rest) = bytes
            .split_at_checked(config.length_size)
            .context("the length of a unit is truncated")?;
        let len = len.iter().fold(0_usize, |n, &byte| n << 8 | usize::from(byte));
        let (unit, rest) = rest
            .split_at_checked(len)
            .with_context(|| format!("a unit claims {len} bytes, {} are left", rest.len()))?;
        stream.extend(START_CODE);
        stream.extend(unit);
        bytes = rest;
    }
    Ok(stream)
}

/// BT.601, limited range, chroma repeated: what OpenCV's reader gives for a video that specifies
/// nothing else. FFmpeg, which OpenCV uses, truncates each product separately, with 13 fractional
/// bits; rounding the sum instead would be one level brighter on average.
fn to_rgb(frame: &DecodedYUV) -> Result<Pixels> {
    let (width, height) = frame.dimensions();
    ensure!((width * height) as u64 <= MAX_PIXELS, "it is {height} high and {width} wide");
    let (y_stride, u_stride, v_stride) = frame.strides();
    let (ys, us, vs) = (frame.y(), frame.u(), frame.v());
    let mut data = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        for column in 0..width {
            let y = (9539 * (i32::from(ys[row * y_stride + column]) - 16)) >> 13;
            let u = i32::from(us[row / 2 * u_stride + column / 2]) - 128;
            let v = i32::from(vs[row / 2 * v_stride + column / 2]) - 128;
            let level = |value: i32| value.clamp(0, 255) as u8;
            data.push(level(y + ((13_075 * v) >> 13)));
            data.push(level(y + ((-3209 * u) >> 13) + ((-6660 * v) >> 13)));
            data.push(level(y + ((16_525 * u) >> 13)));
        }
    }
    Ok(Pixels { height: u32::try_from(height)?, width: u32::try_from(width)?, channels: 3, data })
}
