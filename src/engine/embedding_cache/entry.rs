//! One embedding as a file: `.safetensors`, with what a target needs to know about its image.

use std::{collections::HashMap, fs, io, path::Path};

use anyhow::{Context, Result, bail, ensure};
use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::EmbeddingDtype;
use sonotune_base::{Crop, fs::atomic_write};
use sonotune_weights as weights;

/// The embedding of one image.
#[derive(Debug)]
pub struct Entry {
    /// `(height, width)` of the decoded image, whole.
    pub original_size: (u32, u32),
    /// The part of it that the backbone was shown; `None`: all.
    pub crop: Option<Crop>,
    /// `[C, H, W]` each, fine to coarse, laid out in memory as the backbone returned them: the last
    /// bits of sums over them depend on it.
    pub levels: Vec<Tensor>,
}

/// Whether the channels of `[C, H, W]` are adjacent in memory.
pub(crate) fn is_channels_last(level: &Tensor) -> bool {
    !level.is_contiguous() && level.permute([1, 2, 0]).is_contiguous()
}

/// `[C, H, W]` in memory order: `[H, W, C]` if channels come last.
fn in_memory_order(level: &Tensor) -> Tensor {
    if is_channels_last(level) { level.permute([1, 2, 0]) } else { level.shallow_clone() }
}

/// What was found where an embedding should be.
#[derive(Debug)]
pub enum Found {
    Whole(Entry),
    Absent,
    /// Not what was written there; holds the reason.
    Damaged(String),
}

/// Stored in the file's metadata.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    original_size: (u32, u32),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crop: Option<Crop>,
    /// Shapes as stored.
    shapes: Vec<Vec<i64>>,
    /// Whether a level is stored as `[H, W, C]`.
    channels_last: Vec<bool>,
}

const HEADER: &str = "sonotune.embedding";
const CRC32: &str = "crc32";

fn level_name(index: usize) -> String {
    format!("level.{index:02}")
}

impl Entry {
    /// Writes the file atomically and creates its folders. Returns its size in bytes.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &Path, dtype: EmbeddingDtype) -> Result<u64> {
        let kind = match dtype {
            EmbeddingDtype::Fp32 => Kind::Float,
            EmbeddingDtype::Bf16 => Kind::BFloat16,
        };
        let format = match dtype {
            EmbeddingDtype::Fp32 => safetensors::Dtype::F32,
            EmbeddingDtype::Bf16 => safetensors::Dtype::BF16,
        };
        let stored: Vec<Tensor> = self.levels.iter().map(in_memory_order).collect();
        let contents = stored
            .iter()
            .map(|level| weights::bytes(&level.f_to_kind(kind)?))
            .collect::<Result<Vec<_>>>()?;
        let header = serde_json::to_string(&Header {
            original_size: self.original_size,
            crop: self.crop,
            shapes: stored.iter().map(Tensor::size).collect(),
            channels_last: self.levels.iter().map(is_channels_last).collect(),
        })?;
        let crc = crc32(&header, contents.iter().map(Vec::as_slice));
        let views = stored
            .iter()
            .zip(&contents)
            .enumerate()
            .map(|(index, (level, content))| {
                let shape = level.size().iter().map(|&n| n as usize).collect();
                Ok((level_name(index), TensorView::new(format, shape, content)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let metadata =
            HashMap::from([(HEADER.to_owned(), header), (CRC32.to_owned(), format!("{crc:08x}"))]);
        let bytes = safetensors::serialize(views, Some(metadata))?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        atomic_write(file, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub fn read(file: &Path) -> Result<Found> {
        match fs::read(file) {
            Ok(bytes) => Ok(Self::parse(&bytes)
                .map_or_else(|why| Found::Damaged(format!("{why:#}")), Found::Whole)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Absent),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let metadata = metadata.metadata().as_ref().context("no metadata")?;
        let text = metadata.get(HEADER).context("no header")?;
        let header: Header = serde_json::from_str(text)?;
        if let Some(crop) = header.crop {
            crop.check()?;
            ensure!(crop.full == header.original_size, "a part of another image");
        }
        let file = SafeTensors::deserialize(bytes)?;
        let levels = [header.shapes.len(), header.channels_last.len()];
        ensure!(levels == [file.len(); 2], "{} levels", file.len());
        let views = (0..header.shapes.len())
            .map(|index| Ok(file.tensor(&level_name(index))?))
            .collect::<Result<Vec<_>>>()?;
        let crc = crc32(text, views.iter().map(TensorView::data));
        let stored = metadata.get(CRC32).context("no checksum")?;
        ensure!(format!("{crc:08x}") == *stored, "its checksum is {crc:08x}, not {stored}");
        let level = |((view, shape), last): ((&TensorView, &Vec<i64>), &bool)| {
            let kind = match view.dtype() {
                safetensors::Dtype::F32 => Kind::Float,
                safetensors::Dtype::BF16 => Kind::BFloat16,
                other => bail!("numbers of type {other:?}"),
            };
            let same = view.shape().iter().zip(shape).all(|(&a, &b)| a as i64 == b);
            ensure!(same && view.shape().len() == 3 && shape.len() == 3, "shape {shape:?}");
            let stored = Tensor::f_from_data_size(view.data(), shape, kind)?;
            Ok(if *last { stored.permute([2, 0, 1]) } else { stored })
        };
        let views = views.iter().zip(&header.shapes).zip(&header.channels_last);
        Ok(Self {
            original_size: header.original_size,
            crop: header.crop,
            levels: views.map(level).collect::<Result<_>>()?,
        })
    }
}

fn crc32<'a>(header: &str, contents: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header.as_bytes());
    contents.for_each(|content| hasher.update(content));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn entry() -> Entry {
        let level = |size: [i64; 3]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let crop = Crop::new([3, 4, 20, 10], (30, 41)).ok();
        Entry { original_size: (30, 41), crop, levels: vec![level([2, 4, 4]), level([3, 2, 2])] }
    }

    fn read(file: &Path) -> Entry {
        match Entry::read(file).unwrap() {
            Found::Whole(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_round_trip_is_exact_in_fp32_and_rounded_in_bf16() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ab/abc.safetensors");
        let entry = entry();
        entry.write(&file, EmbeddingDtype::Fp32).unwrap();
        let again = read(&file);
        assert_eq!((again.original_size, again.crop), ((30, 41), entry.crop));
        for (a, b) in entry.levels.iter().zip(&again.levels) {
            assert!(a.equal(b));
            assert_eq!(a.stride(), b.stride());
        }
        let bytes = entry.write(&file, EmbeddingDtype::Bf16).unwrap();
        assert_eq!(bytes, fs::metadata(&file).unwrap().len());
        for (a, b) in entry.levels.iter().zip(&read(&file).levels) {
            assert!(a.to_kind(Kind::BFloat16).equal(b));
        }
    }

    #[test]
    fn a_whole_image_is_written_as_before_and_a_part_of_another_image_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.safetensors");
        Entry { crop: None, ..entry() }.write(&file, EmbeddingDtype::Fp32).unwrap();
        let bytes = fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("crop"));
        assert_eq!(read(&file).crop, None);
        for full in [(30, 40), (5, 5)] {
            let crop = entry().crop.map(|crop| Crop { full, ..crop });
            Entry { crop, ..entry() }.write(&file, EmbeddingDtype::Fp32).unwrap();
            assert!(matches!(Entry::read(&file).unwrap(), Found::Damaged(_)), "{full:?}");
        }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.safetensors");
        assert!(matches!(Entry::read(&file).unwrap(), Found::Absent));
        entry().write(&file, EmbeddingDtype::Bf16).unwrap();
        let whole = fs::read(&file).unwrap();
        let is_damaged = |bytes: &[u8]| {
            fs::write(&file, bytes).unwrap();
            matches!(Entry::read(&file).unwrap(), Found::Damaged(_))
        };
        for length in [0, 7, 100, whole.len() - 1] {
            assert!(is_damaged(&whole[..length]), "{length} bytes");
        }
        let end = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            // Padding after the header's JSON has no meaning.
            if at < end && whole[at] == b' ' {
                continue;
            }
            assert!(is_damaged(&bytes), "byte {at} of {}, {:?}", whole.len(), whole[at] as char);
        }
    }
}
