//! Videos, frame by frame, numbered as OpenCV and FFmpeg number them.
//!
//! AVI and MP4 or QuickTime with Motion JPEG, uncompressed frames or H.264, and GIF are read here. What is
//! not (MPEG-1, MPEG-2 and MPEG-4 Part 2, H.264 of 4:4:4 or 10 bits, Matroska, fragmented MP4 …) is left to
//! the machine's FFmpeg if there is one ([`Ffmpeg`]), and so is H.264, which OpenH264 decodes more slowly and,
//! where there are B-frames, with small errors.

mod avi;
mod boxes;
mod colour;
mod container;
mod edit_list;
mod ffmpeg;
mod gif;
mod h264;
mod mjpeg;
mod mp4;
#[cfg(feature = "h264")]
mod openh264;
mod samples;
mod sps;
mod turn;
mod unsupported;

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use sonotune_base::Error;

pub use self::ffmpeg::Ffmpeg;
use self::{turn::Turn, unsupported::Unsupported};
use crate::Pixels;

/// Frames with more pixels are refused: 8K is 33 million.
const MAX_PIXELS: u64 = 100_000_000;

/// An open video; frames are read and decoded when asked for.
#[derive(Debug)]
pub struct Video {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Decoded here.
    Own(Contents),
    /// A GIF and the number of its frames.
    Gif(usize),
    /// Decoded by the machine's FFmpeg, and the number of frames it gives.
    Ffmpeg(Ffmpeg, usize),
}

/// What a container holds.
#[derive(Debug)]
struct Contents {
    codec: Codec,
    /// Where each coded frame is stored, in file order.
    samples: Vec<Sample>,
    /// The sample of each frame shown, in display order.
    shown: Vec<u32>,
    turn: Turn,
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
    H264(h264::Stream),
}

impl Video {
    /// Opens a video, recognised by its content, and finds its frames. None is decoded unless only the
    /// machine's FFmpeg can tell how many there are.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path: not a video, truncated, without a video track or
    /// frames, or in a format that cannot be read (the message names it and says what to do).
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Ffmpeg::find)
    }

    /// [`Video::open`] with the FFmpeg that `find` gives, which is asked only when one is needed.
    ///
    /// # Errors
    /// Same errors as [`Video::open`]; those of `find`.
    pub fn open_with(path: &Path, find: impl FnOnce() -> Result<Option<Ffmpeg>>) -> Result<Self> {
        let source = match Self::read(path) {
            Ok(Source::Own(contents)) if contents.is_h264() => contents.decode_better_with(find),
            Ok(source) => Ok(source),
            Err(e) => match e.downcast::<Unsupported>() {
                Ok(unsupported) => unsupported.decode_with(path, find),
                Err(e) => Err(e),
            },
        };
        let source = source.map_err(|e| Error::data(format!("{}: {e:#}", path.display())))?;
        Ok(Self { path: path.to_owned(), source })
    }

    fn read(path: &Path) -> Result<Source> {
        let mut file = File::open(path).context("cannot be opened")?;
        let len = file.metadata().context("cannot be read")?.len();
        let mut head = [0; 12];
        file.read_exact(&mut head).context("it is too short for a video")?;
        let contents = match (&head[..4], &head[4..8], &head[8..]) {
            (b"RIFF", _, b"AVI ") => avi::read(&mut file, len)?,
            (_, b"ftyp" | b"moov" | b"mdat" | b"free" | b"wide" | b"skip", _) => {
                mp4::read(&mut file, len)?
            }
            (b"GIF8", _, _) => return Ok(Source::Gif(gif::count(&mut file)?)),
            _ => match container::recognise(&mut file)? {
                Some(unsupported) => return Err(unsupported.into()),
                None => bail!("it is not a video that is known, judging by its first bytes"),
            },
        };
        if matches!(contents.codec, Codec::H264(_)) && !cfg!(feature = "h264") {
            return Err(Unsupported("H.264 (built without the feature `h264`)".to_owned()).into());
        }
        Ok(Source::Own(contents))
    }

    /// The number of frames that are shown: without those that an edit list cuts away.
    #[must_use]
    pub fn num_frames(&self) -> usize {
        match &self.source {
            Source::Own(contents) => contents.shown.len(),
            Source::Gif(count) | Source::Ffmpeg(_, count) => *count,
        }
    }

    /// The machine's FFmpeg, if it decodes this video.
    #[must_use]
    pub fn ffmpeg(&self) -> Option<&Ffmpeg> {
        match &self.source {
            Source::Ffmpeg(ffmpeg, _) => Some(ffmpeg),
            _ => None,
        }
    }

    /// Whether [`Video::frame`] decodes only that frame, because frames do not depend on each other.
    #[must_use]
    pub fn is_random_access(&self) -> bool {
        matches!(&self.source, Source::Own(contents) if !matches!(contents.codec, Codec::H264(_)))
    }

    /// Passes all frames to `each` in display order, as RGB, or grey if the file is grey.
    ///
    /// # Errors
    /// A damaged frame, with its number; and errors of `each`.
    pub fn frames(&self, mut each: impl FnMut(usize, Pixels) -> Result<()>) -> Result<()> {
        let mut seen = 0;
        self.visit(|index, pixels| {
            each(index, pixels)?;
            seen += 1;
            Ok(true)
        })?;
        // A file that changed, or a decoder that gives fewer frames than it counted.
        let count = self.num_frames();
        ensure!(
            seen == count,
            Error::data(format!(
                "{}: it has {count} frames, but {seen} were decoded",
                self.path.display()
            ))
        );
        Ok(())
    }

    /// One frame, counted from 0. All frames before it are also decoded unless
    /// [`Video::is_random_access`].
    ///
    /// # Errors
    /// When there is no such frame or it is damaged.
    pub fn frame(&self, index: usize) -> Result<Pixels> {
        let count = self.num_frames();
        if index >= count {
            let message = format!("there is no frame {index}; it has {count}, counted from 0");
            return Err(Error::data(format!("{}: {message}", self.path.display())).into());
        }
        if let Source::Own(contents) = &self.source
            && self.is_random_access()
        {
            let mut file = self.file()?;
            return contents.decode(&mut file, index).map_err(|e| self.error(index, &e));
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
        let error = |frame, e: anyhow::Error| self.error(frame, &e);
        let contents = match &self.source {
            Source::Own(contents) => contents,
            Source::Gif(count) => return gif::visit(&self.path, *count, &mut each, error),
            Source::Ffmpeg(ffmpeg, _) => return ffmpeg.visit(&self.path, &mut each, error),
        };
        let mut file = self.file()?;
        #[cfg(feature = "h264")]
        if let Codec::H264(stream) = &contents.codec {
            let read = |i: usize| {
                read_sample(&mut file, *contents.samples.get(i).context("it has no such sample")?)
            };
            let mut turned = |index, pixels| each(index, contents.turn.apply(pixels));
            return openh264::decode(stream, read, &mut turned, error);
        }
        for index in 0..contents.shown.len() {
            let pixels = contents.decode(&mut file, index).map_err(|e| self.error(index, &e))?;
            if !each(index, pixels)? {
                break;
            }
        }
        Ok(())
    }

    fn file(&self) -> Result<File> {
        let opened = File::open(&self.path);
        Ok(opened.map_err(|e| Error::data(format!("{}: {e}", self.path.display())))?)
    }

    fn error(&self, index: usize, e: &anyhow::Error) -> anyhow::Error {
        Error::data(format!("{}: frame {index}: {e:#}", self.path.display())).into()
    }
}

impl Contents {
    const fn is_h264(&self) -> bool {
        matches!(&self.codec, Codec::H264(_))
    }

    /// OpenH264 smooths some edges of blocks of B-frames less than the standard says (cisco/openh264, issue 3269):
    /// real clips differ by up to 32 levels in a few pixels. All else is equal, so frames need not be counted
    /// again.
    fn decode_better_with(self, find: impl FnOnce() -> Result<Option<Ffmpeg>>) -> Result<Source> {
        Ok(match find()? {
            Some(ffmpeg) => Source::Ffmpeg(ffmpeg, self.shown.len()),
            None => Source::Own(self),
        })
    }

    /// Decodes a shown frame that does not depend on others.
    fn decode(&self, file: &mut File, index: usize) -> Result<Pixels> {
        let sample = self.shown.get(index).and_then(|&sample| self.samples.get(sample as usize));
        let bytes = read_sample(file, *sample.context("it is missing")?)?;
        let pixels = match &self.codec {
            Codec::Mjpeg => mjpeg::decode(&bytes)?,
            Codec::Uncompressed(bitmap) => bitmap.decode(&bytes)?,
            Codec::H264(_) => bail!("its frames depend on each other"),
        };
        Ok(self.turn.apply(pixels))
    }
}

fn read_sample(file: &mut File, sample: Sample) -> Result<Vec<u8>> {
    // The containers check samples against the length of the file, which bounds this.
    let mut bytes = vec![0; sample.len as usize];
    file.seek(SeekFrom::Start(sample.start)).context("cannot be read")?;
    file.read_exact(&mut bytes).context("the file ends within it")?;
    Ok(bytes)
}

/// Refuses frames without pixels or with too many, before anything is allocated.
fn check_size(height: u64, width: u64) -> Result<()> {
    let pixels = height.saturating_mul(width);
    ensure!(
        pixels > 0 && pixels <= MAX_PIXELS,
        "its frames claim to be {height} high and {width} wide; between 1 and {MAX_PIXELS} pixels are \
         possible"
    );
    Ok(())
}

/// A four-character code as text.
fn fourcc(code: &[u8]) -> String {
    code.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
}

#[cfg(test)]
mod clips_tests;
#[cfg(test)]
mod tests;
