//! DICOM images and cines, frame by frame.
//!
//! Frames are 8-bit display values. Grey passes the modality LUT or rescaling, then the first VOI LUT or
//! window, whose range becomes 0 to 255; without one, the range that BitsStored can hold does. MONOCHROME1 is
//! inverted. Colours become RGB: palettes are looked up, YBR is converted; of more than 8 bits the upper 8 are
//! kept. Overlays, presentation states and tables per frame are ignored.

mod codec;
mod colour;
pub mod directory;
mod guard;
mod header;
mod info;
mod lut;
mod palette;
mod pixel_data;
mod regions;
mod samples;
mod source;
mod stored;
mod syntax;
mod values;
mod wanted;
mod whole;

pub use info::Info;
pub use regions::Region;
pub use source::is_dicom;
pub use stored::StoredFrame;
pub use whole::Whole;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sonotune_base::Error;

use self::{
    header::{Image, Photometric},
    lut::Display,
    palette::Palette,
    pixel_data::{Frames, PixelData, Store},
    samples::Samples,
    source::Source,
    syntax::Syntax,
    values::Values,
};
use crate::Pixels;

/// Most bytes of the elements that describe an image: palettes and tables have some hundred thousand.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// SOP class of a DICOMDIR.
const DIRECTORY: &str = "1.2.840.10008.1.3.10";

/// An open DICOM file; frames are read and decoded when asked for.
#[derive(Debug)]
pub struct Dicom {
    path: PathBuf,
    syntax: Syntax,
    image: Image,
    info: Info,
    colours: Colours,
    frames: Frames,
    store: Store,
}

/// How samples become display values.
#[derive(Debug)]
enum Colours {
    Grey(Display),
    Palette(Palette),
    Rgb,
}

impl Dicom {
    /// Reads the header of a file and finds its frames without decoding any.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path: not DICOM, cut off, without an image, in a transfer
    /// syntax or colour model that is not read (the message says how to convert it), or with a header that
    /// claims more than the file holds.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(path).map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
    }

    fn read(path: &Path) -> Result<Self> {
        let Source { mut reader, at, end, syntax, inflated, sop_class } = Source::open(path)?;
        if sop_class.as_deref() == Some(DIRECTORY) {
            bail!(
                "it is a DICOMDIR, the table of contents of a folder, not an image; name the folder or its \
                 images"
            );
        }
        let outline = guard::outline((&mut *reader, at, end), syntax, MAX_HEADER_BYTES)?;
        let object = header::parse(&outline.elements, syntax.encoding)?;
        let values = Values(&object);
        let Some(pixels) = outline.pixels else {
            let class = values.text(values::Key(8, 0x16, "SOPClassUID")).or(sop_class);
            bail!(
                "it has no pixel data (7FE0,0010), so it is not an image (SOP class {})",
                class.as_deref().unwrap_or("unknown")
            );
        };
        let image = Image::read(values)?;
        let store = Store::new(path, inflated);
        let frames = match pixels {
            PixelData::Float => bail!(
                "its pixels are floating-point numbers (7FE0,0008) or (7FE0,0009), which is not an image"
            ),
            PixelData::Native { start, len, words } => {
                let swapped = words && syntax.encoding.big_endian && image.bits_allocated <= 8;
                Frames::native((start, len), image.frames, image.native_bits(), swapped)?
            }
            PixelData::Encapsulated { offsets, fragments } => {
                let coded = (offsets, fragments);
                let at = (&store, syntax.coding);
                Frames::coded(coded, extended_offsets(values), image.frames, at)?
            }
        };
        let colours = match image.photometric {
            Photometric::Monochrome { .. } => Colours::Grey(Display::read(values, &image)?),
            Photometric::Palette => {
                Colours::Palette(Palette::read(values, image.bits_stored, image.signed)?)
            }
            _ => Colours::Rgb,
        };
        let info = header::info(values, &image)?;
        Ok(Self { path: path.to_owned(), syntax, image, info, colours, frames, store })
    }

    /// NumberOfFrames; 1 for a single image.
    #[must_use]
    pub fn num_frames(&self) -> usize {
        self.image.frames
    }

    /// (height, width) of each frame.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.image.height, self.image.width)
    }

    /// Identity, device and geometry.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// One frame, counted from 0, as display values: grey, or RGB. Only that frame is read and decoded.
    ///
    /// # Errors
    /// When there is no such frame or it is damaged, with its number.
    pub fn frame(&self, index: usize) -> Result<Pixels> {
        let count = self.num_frames();
        let decoded = if index < count {
            self.decode(index).with_context(|| format!("frame {index}"))
        } else {
            Err(anyhow::anyhow!("there is no frame {index}; it has {count}, counted from 0"))
        };
        decoded.map_err(|e| Error::data(format!("{}: {e:#}", self.path.display())).into())
    }

    /// A frame's samples as they are stored, and what they are.
    fn samples(&self, index: usize) -> Result<(Samples, Photometric)> {
        let most = self.image.native_bits() / 4 + (1 << 20);
        let (bytes, skip) = self.frames.read(&self.store, index, most)?;
        Ok(match self.frames {
            Frames::Native { .. } => {
                let samples = samples::native(&bytes, skip, &self.image, self.syntax.encoding)?;
                (samples, self.image.photometric)
            }
            Frames::Coded { .. } => {
                let frame = codec::decode(self.syntax.coding, &bytes, &self.image)?;
                (frame.samples, frame.photometric)
            }
        })
    }

    fn decode(&self, index: usize) -> Result<Pixels> {
        let Image { height, width, .. } = self.image;
        let (samples, photometric) = self.samples(index)?;
        let (channels, data) = match &self.colours {
            Colours::Grey(display) => (1, display.levels(&samples)),
            Colours::Palette(palette) => (3, palette.rgb(&samples)),
            Colours::Rgb => (3, colour::rgb(samples, photometric, self.image.bits_stored)?),
        };
        Ok(Pixels { height, width, channels, data })
    }
}

/// ExtendedOffsetTable, 8 bytes per frame.
fn extended_offsets(values: Values) -> Option<Vec<u64>> {
    let bytes = values.bytes(values::Key(0x7FE0, 0x0001, "ExtendedOffsetTable"))?;
    let number = |b: &[u8]| b.try_into().map(u64::from_le_bytes).ok();
    bytes.chunks_exact(8).map(number).collect()
}

#[cfg(test)]
mod tests;
