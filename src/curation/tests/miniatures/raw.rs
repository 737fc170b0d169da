//! Writes the files of a fixture's download.

use std::{io::Cursor, path::Path};

use anyhow::{Context, Result, bail};
use image::{DynamicImage, ExtendedColorType, ImageFormat};
use sonotune_archive::pack::{Format, pack, pack_files};
use sonotune_curation::Pixels;
use sonotune_formats::write::{self, DictArray, Numbers};

use super::{
    fixture::{Column, Form, Miniature, Number, Packing, RawFile},
    raster::Raster,
    scratch,
};

type Entry = (String, Vec<u8>);

/// Writes the download of `miniature` into `folder` and returns its path.
pub(crate) fn write(miniature: &Miniature, folder: &Path) -> Result<std::path::PathBuf> {
    let folder_of_one = scratch()?;
    let mut entries = Vec::new();
    for file in &miniature.files {
        let bytes =
            bytes(file, miniature.size, folder_of_one.path()).with_context(|| file.path.clone())?;
        entries.push((file.path.clone(), bytes));
    }
    let entries = pack_inner(miniature, entries)?;
    let source = folder.join(miniature.source.trim_end_matches('/'));
    if miniature.source.ends_with('/') {
        for (path, bytes) in entries {
            let path = source.join(path);
            std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
            std::fs::write(path, bytes)?;
        }
    } else {
        pack(format_of(miniature, &miniature.source)?, &entries, &source)?;
    }
    Ok(source)
}

/// `a.zip!x` and `a.zip!y` become the one entry `a.zip`.
fn pack_inner(miniature: &Miniature, entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let mut packed: Vec<Entry> = Vec::new();
    let mut archives: Vec<(String, Vec<Entry>)> = Vec::new();
    for (path, bytes) in entries {
        match path.split_once('!') {
            None => packed.push((path, bytes)),
            Some((archive, inner)) => {
                let entry = (inner.to_owned(), bytes);
                match archives.iter_mut().find(|(name, _)| name == archive) {
                    Some((_, list)) => list.push(entry),
                    None => archives.push((archive.to_owned(), vec![entry])),
                }
            }
        }
    }
    for (path, inner) in archives {
        let inner = pack_inner(miniature, inner)?;
        let (folder, name) = path.rsplit_once('/').map_or(("", &*path), |(f, n)| (f, n));
        for (name, bytes) in pack_files(format_of(miniature, &path)?, &inner, name)? {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            packed.push((path, bytes));
        }
    }
    Ok(packed)
}

fn format_of(miniature: &Miniature, path: &str) -> Result<Format> {
    let name = path.rsplit('/').next().unwrap_or_default();
    Ok(match miniature.formats.get(name) {
        Some(Packing::Rar) => Format::RarStored,
        Some(&Packing::SplitZip(part_bytes)) => Format::SplitZip { part_bytes },
        None if name.ends_with(".zip") => Format::Zip,
        None if name.ends_with(".tar.gz") => Format::TarGz,
        None if name.ends_with(".rar") => Format::RarStored,
        None => bail!("{path}: its name does not show how it is packed; specify it in `formats`"),
    })
}

fn bytes(file: &RawFile, size: [usize; 2], scratch: &Path) -> Result<Vec<u8>> {
    if let Some(text) = &file.text {
        return Ok(match file.latin1 {
            true => text.chars().map(|c| c as u8).collect(),
            false => text.clone().into_bytes(),
        });
    }
    // Writers of volumes and arrays look at the extension.
    let name = file.path.rsplit(['/', '!']).next().unwrap_or_default();
    let path = scratch.join(name);
    let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    if let Some(structures) = &file.structures {
        write_dict(&path, structures, file.size.unwrap_or(size))?;
    } else if let Some(stacks) = &file.stacks {
        write_hdf5(&path, stacks, &file.columns, size)?;
    } else {
        let raster = Raster::render(file, size)?;
        match ending.as_str() {
            "nii" | "gz" | "mha" | "npy" => write_volume(&path, &ending, file, &raster)?,
            "avi" => write::mjpeg_avi(&path, &frames(&raster), 95)?,
            #[cfg(feature = "h264")]
            "mp4" => write::h264_mp4(&path, &frames(&raster))?,
            _ => return encode(file, &raster, &ending),
        }
    }
    Ok(std::fs::read(path)?)
}

fn write_volume(path: &Path, ending: &str, file: &RawFile, raster: &Raster) -> Result<()> {
    let mut shape = vec![raster.height, raster.width];
    if file.planes.is_some() {
        shape.insert(0, raster.planes);
    }
    if file.volumes.is_some() {
        shape.insert(0, raster.volumes);
    }
    if raster.channels > 1 || file.form == Form::OneChannel {
        shape.push(raster.channels);
    }
    with_numbers(file, raster, |numbers| match ending {
        "npy" => write::npy(path, &shape, numbers),
        "mha" => write::metaimage(path, &shape, numbers, true),
        _ => write::nifti(path, &shape, numbers),
    })
}

/// Frames of a video, in RGB.
fn frames(raster: &Raster) -> Vec<Pixels> {
    let frame = |levels: &[i32]| {
        let pixel = |p: &[i32]| [p[0], p[p.len() / 2], p[p.len() - 1]].map(|v| v as u8);
        Pixels {
            height: raster.height as u32,
            width: raster.width as u32,
            channels: 3,
            data: levels.chunks_exact(raster.channels).flat_map(pixel).collect(),
        }
    };
    raster.data.chunks_exact(raster.height * raster.width * raster.channels).map(frame).collect()
}

fn with_numbers<R>(file: &RawFile, raster: &Raster, write: impl FnOnce(Numbers) -> R) -> R {
    let scale = file.scale.unwrap_or(1.0);
    let scaled = raster.data.iter().map(|&v| f64::from(v) * scale);
    match file.number {
        Number::U8 => write(Numbers::U8(&scaled.map(|v| v as u8).collect::<Vec<_>>())),
        Number::I16 => write(Numbers::I16(&scaled.map(|v| v as i16).collect::<Vec<_>>())),
        Number::U16 => write(Numbers::U16(&scaled.map(|v| v as u16).collect::<Vec<_>>())),
        Number::F32 => write(Numbers::F32(&scaled.map(|v| v as f32).collect::<Vec<_>>())),
        Number::F64 => write(Numbers::F64(&scaled.collect::<Vec<_>>())),
    }
}

fn write_dict(
    path: &Path,
    structures: &std::collections::BTreeMap<String, Vec<String>>,
    size: [usize; 2],
) -> Result<()> {
    let mut rendered = Vec::new();
    for (name, paint) in structures {
        let mask = RawFile { paint: paint.clone(), ..RawFile::default() };
        let raster = Raster::render(&mask, size)?;
        rendered.push((name, raster.data.iter().map(|&v| v as u8).collect::<Vec<_>>()));
    }
    let arrays = rendered.iter().map(|(name, data)| DictArray {
        keys: vec!["structures", name],
        shape: size.to_vec(),
        numbers: Numbers::U8(data),
    });
    write::npy_dict(path, &arrays.collect::<Vec<_>>())
}

fn write_hdf5(
    path: &Path,
    stacks: &std::collections::BTreeMap<String, RawFile>,
    columns: &std::collections::BTreeMap<String, Column>,
    size: [usize; 2],
) -> Result<()> {
    let mut rendered = Vec::new();
    for (name, stack) in stacks {
        let raster = Raster::render(stack, size)?;
        let data = raster.data.iter().map(|&v| v as u8).collect::<Vec<_>>();
        rendered.push((name, vec![raster.planes, raster.height, raster.width], data));
    }
    let mut sets: Vec<write::Dataset> = rendered
        .iter()
        .map(|(name, shape, data)| write::Dataset {
            name,
            shape: shape.clone(),
            numbers: Numbers::U8(data),
        })
        .collect();
    let mut texts = Vec::new();
    for (name, column) in columns {
        match column {
            Column::Numbers(numbers) => sets.push(write::Dataset {
                name,
                shape: vec![numbers.len()],
                numbers: Numbers::I64(numbers),
            }),
            Column::Texts(list) => {
                texts.push((name, list.iter().map(String::as_str).collect::<Vec<_>>()));
            }
        }
    }
    let columns = texts.iter().map(|(name, texts)| write::Column { name, texts });
    write::hdf5(path, &sets, &columns.collect::<Vec<_>>(), true)
}

fn encode(file: &RawFile, raster: &Raster, ending: &str) -> Result<Vec<u8>> {
    let (width, height) = (raster.width as u32, raster.height as u32);
    let levels: Vec<u8> = raster.data.iter().map(|&v| v as u8).collect();
    let image = match file.form {
        Form::Palette | Form::OneBit => {
            return encode_indexed(file, &levels, raster);
        }
        Form::Grey | Form::OneChannel => {
            image::GrayImage::from_raw(width, height, levels).map(DynamicImage::from)
        }
        Form::Rgb => image::RgbImage::from_raw(width, height, levels).map(DynamicImage::from),
        Form::Rgba => {
            let alpha = |(at, p): (usize, &[u8])| {
                let is_left = at % raster.width < raster.width / 2;
                [p[0], p[1], p[2], if is_left { 255 } else { 0 }]
            };
            let data = levels.chunks_exact(3).enumerate().flat_map(alpha).collect();
            image::RgbaImage::from_raw(width, height, data).map(DynamicImage::from)
        }
        Form::Grey16 => {
            let data = raster.data.iter().map(|&v| v as u16).collect();
            image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, data)
                .map(DynamicImage::from)
        }
    };
    let image = image.context("pixels and size disagree")?;
    let mut bytes = Cursor::new(Vec::new());
    let format = match ending {
        "png" => ImageFormat::Png,
        "bmp" => ImageFormat::Bmp,
        "tif" => ImageFormat::Tiff,
        "jpg" => {
            let mut bytes = Vec::new();
            let color =
                if raster.channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
            image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 100).encode(
                image.as_bytes(),
                width,
                height,
                color,
            )?;
            return Ok(bytes);
        }
        _ => bail!("no writer for .{ending}"),
    };
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

/// PNGs of a palette or one bit, which the image crate does not write.
fn encode_indexed(file: &RawFile, levels: &[u8], raster: &Raster) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, raster.width as u32, raster.height as u32);
    let data = if file.form == Form::Palette {
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(file.palette.concat());
        levels.to_vec()
    } else {
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let bits = |byte: &[u8]| {
            byte.iter().enumerate().map(|(i, &v)| u8::from(v != 0) << (7 - i)).sum::<u8>()
        };
        levels.chunks(raster.width).flat_map(|row| row.chunks(8).map(bits)).collect()
    };
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&data)?;
    writer.finish()?;
    Ok(bytes)
}
