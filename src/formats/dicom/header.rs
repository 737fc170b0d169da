//! What a file says about itself and its image.

use anyhow::{Context, Result, bail, ensure};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries;
use sonotune_base::panics::catching;

use super::{
    info::Info,
    regions,
    syntax::{Encoding, REMEDY},
    values::{Key, Values},
};

/// Frames with more pixels are refused: 8K is 33 million.
pub(super) const MAX_PIXELS: u64 = 100_000_000;

const ROWS: Key = Key(0x0028, 0x0010, "Rows");
const COLUMNS: Key = Key(0x0028, 0x0011, "Columns");
const SAMPLES: Key = Key(0x0028, 0x0002, "SamplesPerPixel");
const PHOTOMETRIC: Key = Key(0x0028, 0x0004, "PhotometricInterpretation");
const PLANAR: Key = Key(0x0028, 0x0006, "PlanarConfiguration");
const FRAMES: Key = Key(0x0028, 0x0008, "NumberOfFrames");
const ALLOCATED: Key = Key(0x0028, 0x0100, "BitsAllocated");
const STORED: Key = Key(0x0028, 0x0101, "BitsStored");
const REPRESENTATION: Key = Key(0x0028, 0x0103, "PixelRepresentation");

/// How the samples of a pixel make a colour (PS3.3, C.7.6.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Grey; `inverted` if the lowest value is white.
    Monochrome {
        inverted: bool,
    },
    Palette,
    Rgb,
    YbrFull,
    /// Pairs of pixels share their chroma.
    YbrFull422,
    /// JPEG 2000 undoes these two.
    YbrIct,
    YbrRct,
}

impl Photometric {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "MONOCHROME1" => Self::Monochrome { inverted: true },
            "MONOCHROME2" => Self::Monochrome { inverted: false },
            "PALETTE COLOR" => Self::Palette,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_ICT" => Self::YbrIct,
            "YBR_RCT" => Self::YbrRct,
            other => bail!(
                "{PHOTOMETRIC} is {other}, which is not read; the readable ones are MONOCHROME1, \
                 MONOCHROME2, PALETTE COLOR, RGB, YBR_FULL, YBR_FULL_422, YBR_ICT and YBR_RCT"
            ),
        })
    }

    pub(super) fn samples(self) -> usize {
        if matches!(self, Self::Monochrome { .. } | Self::Palette) { 1 } else { 3 }
    }
}

/// The image pixel module (PS3.3, C.7.6.3).
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) frames: usize,
    pub(super) photometric: Photometric,
    /// Whether each colour is a plane of its own.
    pub(super) planar: bool,
    /// 1, 8, 16 or 32.
    pub(super) bits_allocated: u32,
    pub(super) bits_stored: u32,
    pub(super) signed: bool,
}

impl Image {
    pub(super) fn read(values: Values) -> Result<Self> {
        let (height, width) = (values.required(ROWS)?, values.required(COLUMNS)?);
        let pixels = u64::from(height) * u64::from(width);
        ensure!(
            pixels > 0 && pixels <= MAX_PIXELS,
            "its header claims {height} x {width} pixels (Rows, Columns), the limit is 1 to {MAX_PIXELS}"
        );
        // Written without padding, and in lower case by some.
        let photometric = values.text(PHOTOMETRIC).map(|text| text.to_uppercase());
        let photometric = photometric.with_context(|| format!("it has no {PHOTOMETRIC}"))?;
        let photometric = Photometric::parse(&photometric)?;
        let samples = values.natural(SAMPLES)?.unwrap_or(photometric.samples() as u32);
        ensure!(
            samples as usize == photometric.samples(),
            "{SAMPLES} is {samples}, but an image of this {PHOTOMETRIC} has {}",
            photometric.samples()
        );
        let bits_allocated = values.required(ALLOCATED)?;
        ensure!(
            matches!(bits_allocated, 8 | 16 | 32) || (bits_allocated == 1 && samples == 1),
            "{ALLOCATED} is {bits_allocated}; 8, 16 and 32 are read, and 1 for images of one sample; {REMEDY}"
        );
        let bits_stored = values.natural(STORED)?.unwrap_or(bits_allocated);
        ensure!(
            (1..=bits_allocated).contains(&bits_stored),
            "{STORED} is {bits_stored}, but {ALLOCATED} is {bits_allocated}"
        );
        let frames = values.natural(FRAMES)?.unwrap_or(1).max(1) as usize;
        Ok(Self {
            height,
            width,
            frames,
            photometric,
            planar: samples > 1 && values.natural(PLANAR)? == Some(1),
            bits_allocated,
            bits_stored,
            signed: values.natural(REPRESENTATION)? == Some(1),
        })
    }

    pub(super) fn num_pixels(&self) -> usize {
        self.height as usize * self.width as usize
    }

    /// Bits of a frame that is not compressed.
    pub(super) fn native_bits(&self) -> u64 {
        let samples = match self.photometric {
            // Y Y Cb Cr for two pixels.
            Photometric::YbrFull422 => 2,
            other => other.samples() as u64,
        };
        self.num_pixels() as u64 * samples * u64::from(self.bits_allocated)
    }
}

/// Parses the elements that a walk has copied, which are explicit.
///
/// # Errors
/// Values that `dicom-object` refuses.
pub(super) fn parse(elements: &[u8], encoding: Encoding) -> Result<InMemDicomObject> {
    let syntax = if encoding.big_endian {
        entries::EXPLICIT_VR_BIG_ENDIAN.erased()
    } else {
        entries::EXPLICIT_VR_LITTLE_ENDIAN.erased()
    };
    catching(
        || "its header is damaged".to_owned(),
        || {
            InMemDicomObject::read_dataset_with_ts(elements, &syntax)
                .map_err(|e| anyhow::anyhow!("its header is damaged: {}", chain(&e)))
        },
    )
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Who and what was scanned, by which device, and how large its pixels are.
pub(super) fn info(values: Values, image: &Image) -> Result<Info> {
    let text = |group, element, name| values.text(Key(group, element, name));
    let regions = regions::read(values, (image.height, image.width))?;
    Ok(Info {
        patient: text(0x0010, 0x0020, "PatientID"),
        patient_issuer: text(0x0010, 0x0021, "IssuerOfPatientID"),
        study: text(0x0020, 0x000D, "StudyInstanceUID"),
        series: text(0x0020, 0x000E, "SeriesInstanceUID"),
        sop_instance: text(0x0008, 0x0018, "SOPInstanceUID"),
        sop_class: text(0x0008, 0x0016, "SOPClassUID"),
        modality: text(0x0008, 0x0060, "Modality"),
        manufacturer: text(0x0008, 0x0070, "Manufacturer"),
        model: text(0x0008, 0x1090, "ManufacturerModelName"),
        spacing: regions::spacing(values, &regions)?,
        regions,
        frame_time_ms: frame_time(values)?,
    })
}

/// Milliseconds between frames, by FrameTime, else by CineRate.
fn frame_time(values: Values) -> Result<Option<f64>> {
    let positive = |number: Option<f64>| number.filter(|&number| number > 0.0);
    if let Some(time) = positive(values.number(Key(0x0018, 0x1063, "FrameTime"))?) {
        return Ok(Some(time));
    }
    let rate = positive(values.number(Key(0x0018, 0x0040, "CineRate"))?);
    Ok(rate.map(|per_second| 1000.0 / per_second))
}
