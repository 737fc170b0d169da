//! Decoding H.264 with OpenH264.

use anyhow::{Context, Result, anyhow, bail};
use openh264::{
    OpenH264API,
    decoder::{DecodedYUV, Decoder, DecoderConfig, Flush},
    formats::YUVSource,
};

use super::{
    check_size,
    colour::{Colour, Planes, to_rgb},
    edit_list::Segment,
    h264::Stream,
};
use crate::Pixels;

/// Decodes the samples of `segments` with `read` and passes frames in display order to `each`, until
/// that returns `false`. The decoder holds back frames that are shown later.
///
/// # Errors
/// With `error`, the number of the frame that is damaged; errors of `each`.
pub(super) fn decode(
    stream: &Stream,
    mut read: impl FnMut(usize) -> Result<Vec<u8>>,
    each: &mut impl FnMut(usize, Pixels) -> Result<bool>,
    error: impl Fn(usize, anyhow::Error) -> anyhow::Error,
) -> Result<()> {
    let mut first = 0;
    for segment in &stream.segments {
        let (colour, size) = (stream.colour, stream.size);
        let mut output = Output { segment, colour, size, decoded: 0, first, each };
        if !output.run(stream, &mut read, &error)? {
            return Ok(());
        }
        first += segment.shown.len();
    }
    Ok(())
}

struct Output<'a, E> {
    segment: &'a Segment,
    colour: Colour,
    /// Frames are cut to it.
    size: Option<(u32, u32)>,
    /// Frames that the decoder has given.
    decoded: usize,
    /// Number of the first frame of this segment.
    first: usize,
    each: &'a mut E,
}

/// An error of `each` is passed on as it is, one of the stream gets the number of its frame.
enum Fault {
    Stream(anyhow::Error),
    Caller(anyhow::Error),
}

impl<E: FnMut(usize, Pixels) -> Result<bool>> Output<'_, E> {
    /// Returns whether `each` wants more.
    fn run(
        &mut self,
        stream: &Stream,
        read: &mut impl FnMut(usize) -> Result<Vec<u8>>,
        error: &impl Fn(usize, anyhow::Error) -> anyhow::Error,
    ) -> Result<bool> {
        match self.decode(stream, read) {
            Ok(more) => Ok(more),
            Err(Fault::Caller(e)) => Err(e),
            Err(Fault::Stream(e)) => Err(error(self.number(), e)),
        }
    }

    /// Number of the next frame to be shown.
    fn number(&self) -> usize {
        self.first + self.decoded.saturating_sub(self.segment.shown.start)
    }

    fn decode(
        &mut self,
        stream: &Stream,
        read: &mut impl FnMut(usize) -> Result<Vec<u8>>,
    ) -> Result<bool, Fault> {
        // Flushing after each sample would give frames in file order.
        let settings = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let mut decoder = Decoder::with_api_config(OpenH264API::from_source(), settings)
            .map_err(|e| Fault::Stream(anyhow!("the H.264 decoder does not start: {e}")))?;
        let Segment { samples, shown } = self.segment.clone();
        for sample in samples.clone() {
            let bytes = read(sample).and_then(|b| stream.annex_b(&b, sample == samples.start));
            let frame = bytes.and_then(|bytes| match decoder.decode(&bytes) {
                Ok(frame) => Ok(frame),
                Err(e) => bail!("its H.264 data are damaged or of an unsupported kind: {e}"),
            });
            if let Some(frame) = frame.map_err(Fault::Stream)?
                && !self.give(&frame)?
            {
                return Ok(false);
            }
            if self.decoded >= shown.end {
                return Ok(true);
            }
        }
        let rest = decoder.flush_remaining().map_err(|e| Fault::Stream(anyhow!("{e}")))?;
        for frame in &rest {
            if !self.give(frame)? {
                return Ok(false);
            }
        }
        if self.decoded < shown.end {
            let missing = shown.end - self.decoded;
            let message = format!(
                "{missing} of its frames cannot be decoded: key frames are missing or damaged"
            );
            return Err(Fault::Stream(anyhow!(message)));
        }
        Ok(true)
    }

    /// Passes the frame on if it is shown.
    fn give(&mut self, frame: &DecodedYUV) -> Result<bool, Fault> {
        let is_shown = self.segment.shown.contains(&self.decoded);
        let number = self.number();
        if !is_shown {
            self.decoded += 1;
            return Ok(true);
        }
        let pixels = pixels(frame, self.colour, self.size).map_err(Fault::Stream)?;
        self.decoded += 1;
        (self.each)(number, pixels).map_err(Fault::Caller)
    }
}

fn pixels(frame: &DecodedYUV, colour: Colour, size: Option<(u32, u32)>) -> Result<Pixels> {
    let (mut width, mut height) = frame.dimensions();
    if let Some((rows, columns)) = size {
        (height, width) = (height.min(rows as usize), width.min(columns as usize));
    }
    check_size(height as u64, width as u64).context("a decoded frame")?;
    let (y, u, v) = frame.strides();
    let data = [frame.y(), frame.u(), frame.v()];
    to_rgb(&Planes { height, width, data, strides: [y, u, v] }, colour)
}
