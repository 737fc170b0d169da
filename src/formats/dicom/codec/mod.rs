//! Decoders of compressed frames.

mod jpeg;
mod jpeg2000;
mod jpeg_ls;
mod jpeg_ls_scan;
mod rle;

use anyhow::{Result, bail, ensure};
use sonotune_base::panics::catching;

use super::{
    header::{Image, Photometric},
    samples::Samples,
    syntax::Coding,
};

/// A decoded frame.
pub(super) struct Frame {
    pub(super) samples: Samples,
    /// What its samples are, which a stream may know better than the header.
    pub(super) photometric: Photometric,
}

/// Decodes a frame of the size that the header claims.
///
/// # Errors
/// A damaged stream, one of another size or number of samples, and kinds that are not read, by name. A panic of
/// a decoder is an error as well.
pub(super) fn decode(coding: Coding, bytes: &[u8], image: &Image) -> Result<Frame> {
    let frame = catching(
        || "damaged: the decoder gave up".to_owned(),
        || match coding {
            Coding::Rle => rle::decode(bytes, image),
            Coding::Jpeg => jpeg::decode(bytes, image),
            Coding::JpegLs => jpeg_ls::decode(bytes, image),
            Coding::Jpeg2000 => jpeg2000::decode(bytes, image),
            Coding::Native | Coding::Deflated => bail!("it is not compressed"),
        },
    )?;
    let expected = image.num_pixels() * image.photometric.samples();
    let found = frame.samples.len();
    ensure!(found == expected, "it has {found} samples, the header claims {expected}");
    Ok(frame)
}

/// Refuses a stream whose size is not the header's, before its pixels are decoded.
fn check_size(image: &Image, (height, width): (u32, u32), components: usize) -> Result<()> {
    ensure!(
        (height, width) == (image.height, image.width),
        "its stream has {height} x {width} pixels, but its header claims {} x {} (Rows, Columns)",
        image.height,
        image.width
    );
    let samples = image.photometric.samples();
    ensure!(
        components == samples,
        "its stream has {components} samples per pixel, but its PhotometricInterpretation (0028,0004) claims \
         {samples}"
    );
    Ok(())
}

/// Refuses a stream that is too short for its size: no sample takes less than `1 / per_bit` bits.
fn check_length(bytes: &[u8], samples: u64, per_bit: u64) -> Result<()> {
    let most = bytes.len() as u64 * 8 * per_bit;
    ensure!(
        samples <= most,
        "its stream of {} bytes is cut off: it cannot hold {samples} samples",
        bytes.len()
    );
    Ok(())
}

/// A number of `bits`, as streams code it, with the sign that the header says it has.
fn with_sign(value: i32, bits: u32, signed: bool) -> u32 {
    let shift = 32 - bits;
    let value = value.cast_unsigned() << shift;
    if signed { (value.cast_signed() >> shift).cast_unsigned() } else { value >> shift }
}
