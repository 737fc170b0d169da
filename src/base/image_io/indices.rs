//! The indices of a palette, which decoders replace by its colours.

use std::io::Cursor;

use anyhow::Result;
use image::{ImageDecoder, ImageFormat, codecs::bmp::BmpDecoder};

use super::{samples::Values, source::format};

/// The indices of a PNG or BMP, if it has a palette.
pub(super) fn of(bytes: &[u8]) -> Result<Option<Values>> {
    Ok(match format(bytes) {
        Some(ImageFormat::Png) => of_png(bytes)?,
        Some(ImageFormat::Bmp) => of_bmp(bytes)?,
        _ => None,
    })
}

fn of_png(bytes: &[u8]) -> Result<Option<Values>> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info()?;
    if reader.info().color_type != png::ColorType::Indexed {
        return Ok(None);
    }
    let (width, bits) = (reader.info().width as usize, reader.info().bit_depth as usize);
    let mut packed = vec![0; reader.output_buffer_size().unwrap_or_default()];
    let frame = reader.next_frame(&mut packed)?;
    let rows = packed[..frame.buffer_size()].chunks_exact(frame.line_size.max(1));
    let index = |row: &[u8], x: usize| {
        let at = x * bits;
        row[at / 8] >> (8 - bits - at % 8) & ((1_u16 << bits) - 1) as u8
    };
    let indices = rows.flat_map(|row| (0..width).map(move |x| index(row, x)));
    Ok(Some(Values::U8(indices.collect())))
}

/// Not those of run lengths, of which the decoder gives colours only.
fn of_bmp(bytes: &[u8]) -> Result<Option<Values>> {
    if bytes.get(30..34) != Some(&[0; 4]) {
        return Ok(None);
    }
    let mut decoder = BmpDecoder::new(Cursor::new(bytes))?;
    if decoder.get_palette().is_none() {
        return Ok(None);
    }
    decoder.set_indexed_color(true);
    let mut indices = vec![0; usize::try_from(decoder.total_bytes())?];
    decoder.read_image(&mut indices)?;
    Ok(Some(Values::U8(indices)))
}
