//! Videos, frame by frame: AVI with Motion JPEG or uncompressed frames, MP4 with H.264.
//!
//! Colours of H.264 are taken as BT.601 of limited range, the default for a video that does not
//! specify them; colour metadata of a video is ignored.

mod avi;
#[cfg(feature = "h264")]
mod h264;
mod mjpeg;
mod mp4;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use sonotune_base::Error;

use crate::Pixels;

/// Frames with more pixels are refused: 8K is 33 million.
const MAX_PIXELS: u64 = 100_000_000;

/// An open video; frames are read and decoded when asked for.
#[derive(Debug)]
pub struct Video {
    path: PathBuf,
    codec: Codec,
    /// Where each coded frame is stored, in file order.
    samples: Vec<Sample>,
}

/// A coded frame's place in the file.
#[derive(Debug, Clone, Copy)]
struct Sample {
    start: u64,
    len: u32,
}

#[derive(Debug)]
enum Codec {
    /// Every frame is a JPEG.
    Mjpeg,
    Uncompressed(avi::Bitmap),
    #[cfg_attr(not(feature = "h264"), allow(dead_code))]
    H264(mp4::AvcConfig),
}

/// What a container holds.
struct Contents {
    codec: Codec,
    samples: Vec<Sample>,
}

impl Video {
    /// Opens a video, recognised by its content, and finds its frames without decoding any.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path: neither AVI nor MP4, truncated, without a video track
    /// or frames, or in an unsupported codec (the message names it and says what to do).
    pub fn open(path: &Path) -> Result<Self> {
        let Contents { codec, samples } =
            Self::read(path).map_err(|e| Error::data(format!("{}: {e:#}", path.display())))?;
        Ok(Self { path: path.to_owned(), codec, samples })
    }

    fn read(path: &Path) -> Result<Contents> {
        let mut file = File::open(path).context("cannot be opened")?;
        let len = file.metadata().context("cannot be read")?.len();
        let mut head = [0; 12];
        file.read_exact(&mut head).context("it is too short for a video")?;
        let contents = match (&head[..4], &head[4..8], &head[8..]) {
            (b"RIFF", _, b"AVI ") => avi::read(&mut file, len)?,
            (_, b"ftyp" | b"moov" | b"mdat" | b"free" | b"wide" | b"skip", _) => {
                mp4::read(&mut file, len)?
            }
            _ => bail!("it is neither an AVI nor an MP4 file, judging by its first bytes"),
        };
        ensure!(!contents.samples.is_empty(), "its video has no frames");
        if matches!(contents.codec, Codec::H264(_)) && !cfg!(feature = "h264") {
            bail!("built without the feature `h264`, and the video is in {}", remedy("H.264"));
        }
        Ok(contents)
    }

    /// The number of frames in the file.
    #[must_use]
    pub fn num_frames(&self) -> usize {
        self.samples.len()
    }

    /// Whether [`Video::frame`] decodes only that frame, because frames do not depend on each other.
    #[must_use]
    pub fn is_random_access(&self) -> bool {
        !matches!(self.codec, Codec::H264(_))
    }

    /// Passes all frames to `each` in display order, as RGB, or grey if the file is grey.
    ///
    /// # Errors
    /// A damaged frame, with its number; and errors of `each`.
    pub fn frames(&self, mut each: impl FnMut(usize, Pixels) -> Result<()>) -> Result<()> {
        self.visit(|index, pixels| {
            each(index, pixels)?;
            Ok(true)
        })
    }

    /// One frame, counted from 0. With H.264 all frames before it are also decoded.
    ///
    /// # Errors
    /// When there is no such frame or it is damaged.
    pub fn frame(&self, index: usize) -> Result<Pixels> {
        let count = self.num_frames();
        if index >= count {
            let message = format!("there is no frame {index}; it has {count}, counted from 0");
            return Err(Error::data(format!("{}: {message}", self.path.display())).into());
        }
        if self.is_random_access() {
            let mut file = File::open(&self.path)?;
            return self.decode(&mut file, index);
        }
        let mut found = None;
        self.visit(|i, pixels| {
            if i == index {
                found = Some(pixels);
            }
            Ok(found.is_none())
        })?;
        found.with_context(|| format!("{}: frame {index} is missing", self.path.display()))
    }

    /// Visits frames in order as long as `each` returns `true`.
    fn visit(&self, mut each: impl FnMut(usize, Pixels) -> Result<bool>) -> Result<()> {
        let mut file = File::open(&self.path)
            .map_err(|e| Error::data(format!("{}: {e}", self.path.display())))?;
        #[cfg(feature = "h264")]
        if let Codec::H264(config) = &self.codec {
            let read = |i: usize| self.samples.get(i).map(|&sample| read_sample(&mut file, sample));
            return h264::decode(config, self.num_frames(), read, &mut each, |frame, e| {
                self.error(frame, &e)
            });
        }
        for index in 0..self.num_frames() {
            let pixels = self.decode(&mut file, index)?;
            if !each(index, pixels)? {
                break;
            }
        }
        Ok(())
    }

    /// Decodes a frame that does not depend on others.
    fn decode(&self, file: &mut File, index: usize) -> Result<Pixels> {
        let decode = |bytes: Vec<u8>| match &self.codec {
            Codec::Mjpeg => mjpeg::decode(&bytes),
            Codec::Uncompressed(bitmap) => bitmap.decode(&bytes),
            Codec::H264(_) => bail!("its frames depend on each other"),
        };
        read_sample(file, self.samples[index]).and_then(decode).map_err(|e| self.error(index, &e))
    }

    fn error(&self, index: usize, e: &anyhow::Error) -> anyhow::Error {
        Error::data(format!("{}: frame {index}: {e:#}", self.path.display())).into()
    }
}

fn read_sample(file: &mut File, sample: Sample) -> Result<Vec<u8>> {
    // The containers check samples against the length of the file, which bounds this.
    let mut bytes = vec![0; sample.len as usize];
    file.seek(SeekFrom::Start(sample.start)).context("cannot be read")?;
    file.read_exact(&mut bytes).context("the file ends within it")?;
    Ok(bytes)
}

/// What a user can do about an unsupported codec.
fn remedy(codec: &str) -> String {
    format!(
        "{codec}, which is not supported. Convert it to Motion JPEG, `ffmpeg -i in.mp4 -c:v mjpeg \
         -q:v 1 out.avi`, and let the dataset's glob match that file"
    )
}

/// A four-character code as text.
fn fourcc(code: &[u8]) -> String {
    code.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
