//! The planes of an uploaded volume.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use sonotune_base::{Error, words};
use sonotune_formats::{
    Intensity,
    volume::{Geometry, View, Volume},
};

use crate::{app::App, server::Failure, store::Upload};

/// Voxels take this many bytes at most: a compressed file may claim a thousand times its own size.
const MAX_BYTES: u64 = 1 << 30;
const NIFTI_BYTES: usize = 348;
/// Bytes of a text header in which its sizes are.
const TEXT_BYTES: u64 = 64 << 10;

/// How an uploaded volume was stored.
pub(super) enum Header {
    /// NIfTI-1, with its header.
    Nifti {
        header: Box<[u8; NIFTI_BYTES]>,
        big_endian: bool,
    },
    Nrrd,
}

/// A volume of which planes are asked about.
pub(super) struct Stack {
    pub(super) header: Header,
    /// Along x, y and z.
    pub(super) shape: [usize; 3],
    pub(super) geometry: Option<Geometry>,
    /// Distances along x, y and z.
    pub(super) spacing: [f64; 3],
    volume: Volume,
    intensity: Intensity,
}

impl Stack {
    /// Opens a volume, or says that it is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let Some(header) = sniff(path)? else { return Ok(None) };
        let volume = Volume::open(path)?;
        let several =
            || Error::data(format!("its shape {:?} is not that of one volume", volume.shape));
        let (shape, spacing) = match (volume.shape.as_slice(), volume.spacing.as_slice()) {
            (&[y, x], &[dy, dx]) => ([x, y, 1], [dx, dy, 1.0]),
            (&[.., z, y, x], &[.., dz, dy, dx]) if volume.num_channels() == 1 => {
                ([x, y, z], [dx, dy, dz])
            }
            _ => return Err(several().into()),
        };
        let (low, high) = volume.range();
        // Grey levels as they are; anything else, such as float or 16 bit, from darkest to brightest.
        let is_grey = low >= 0.0 && high <= 255.0 && high > 1.0;
        let intensity = if is_grey { Intensity::Clip } else { Intensity::Range };
        let geometry = volume.geometry;
        Ok(Some(Self { header, shape, geometry, spacing, volume, intensity }))
    }

    /// The plane `z` as an image of its own.
    pub(super) fn plane(&self, app: &App, z: usize) -> Result<Arc<Upload>, Failure> {
        let pixels = self
            .volume
            .pixels(View::Axial, z, None, self.intensity)
            .map_err(|error| Failure::unprocessable(format!("plane {z}: {error:#}")))?;
        let colour = match pixels.channels {
            1 => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut png = Vec::new();
        PngEncoder::new(&mut png)
            .write_image(&pixels.data, pixels.width, pixels.height, colour)
            .map_err(|error| Failure::internal(&error.into()))?;
        Ok(app.store.put(&png)?)
    }
}

/// The header of a NIfTI-1 or NRRD file whose voxels fit; `None` for other files.
fn sniff(path: &Path) -> Result<Option<Header>> {
    let mut start = [0; 8];
    let mut file = File::open(path).context("opening an upload")?;
    let read = file.read(&mut start).context("reading an upload")?;
    if start.starts_with(b"NRRD000") {
        check_nrrd(path)?;
        return Ok(Some(Header::Nrrd));
    }
    let file = File::open(path).context("opening an upload")?;
    let mut header = Box::new([0; NIFTI_BYTES]);
    let is_gzip = read >= 2 && start.starts_with(&[0x1f, 0x8b]);
    let filled = if is_gzip {
        MultiGzDecoder::new(file).read_exact(header.as_mut_slice())
    } else {
        { file }.read_exact(header.as_mut_slice())
    };
    if filled.is_err() || &header[344..347] != b"n+1" {
        return Ok(None);
    }
    let big_endian = header[..4] == 348_i32.to_be_bytes();
    check_nifti(&header, big_endian)?;
    Ok(Some(Header::Nifti { header, big_endian }))
}

fn check_nifti(header: &[u8; NIFTI_BYTES], big_endian: bool) -> Result<()> {
    let number = |at: usize| {
        let bytes = [header[at], header[at + 1]];
        if big_endian { i16::from_be_bytes(bytes) } else { i16::from_le_bytes(bytes) }
    };
    let rank = usize::try_from(number(40)).unwrap_or(0).min(7);
    let sizes = (1..=rank).map(|axis| u64::try_from(number(40 + 2 * axis)).unwrap_or(0));
    let bits = u64::try_from(number(72)).unwrap_or(0);
    check_bytes(sizes.chain([bits.div_ceil(8).max(1)]))
}

/// An NRRD whose data are in the same file and fit.
fn check_nrrd(path: &Path) -> Result<()> {
    let file = File::open(path).context("opening an upload")?.take(TEXT_BYTES);
    for line in BufReader::new(file).split(b'\n') {
        let line = line.context("reading an upload")?;
        let line = String::from_utf8_lossy(&line).trim().to_ascii_lowercase();
        if line.is_empty() {
            return Ok(());
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "data file" | "datafile" => {
                return Err(Error::data("its data are in another file, which was not sent").into());
            }
            "sizes" => {
                let sizes = value.split_whitespace().map(|n| n.parse().unwrap_or(u64::MAX));
                // No number type is larger.
                check_bytes(sizes.chain([8]))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_bytes(sizes: impl Iterator<Item = u64>) -> Result<()> {
    let bytes = sizes.fold(1_u64, u64::saturating_mul);
    ensure!(
        bytes <= MAX_BYTES,
        Error::data(format!(
            "its header claims a volume of {}, this server takes {} at most",
            words::bytes(bytes),
            words::bytes(MAX_BYTES)
        ))
    );
    Ok(())
}
