//! MetaImage (<https://itk.org/Wiki/MetaIO/Documentation>): lines of text, then numbers, in one
//! file (`.mha`) or two (`.mhd` and its data).

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Geometry, Volume, checked_bytes,
    source::{Packing, Source},
};
use crate::elements::{Dtype, Elements};

/// A real header has about 500 bytes.
const MAX_HEADER_BYTES: u64 = 1 << 16;

/// Whether a file starts like a MetaImage, with a line `Key = value` and one of the usual keys.
pub(super) fn is_header(head: &[u8]) -> bool {
    let line = head.split(|&b| b == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let key = line.split_once('=').map(|(key, _)| key.trim());
    matches!(key, Some("ObjectType" | "NDims" | "Comment" | "ObjectSubType" | "TransformType"))
}

pub(super) fn open(path: &Path) -> Result<Volume> {
    let (keys, header_len) = read_keys(path)?;
    let keys = Keys(keys);
    if let Some(kind) = keys.get("ObjectType") {
        ensure!(kind.eq_ignore_ascii_case("image"), "it is a MetaIO {kind}, not an image");
    }
    ensure!(
        keys.flag("BinaryData")?.unwrap_or(true),
        "its numbers are written as text (BinaryData = False); save it as binary"
    );
    let rank: usize = keys.parse("NDims")?.context("its header has no NDims")?;
    ensure!((2..=7).contains(&rank), "its header claims {rank} axes, not 2 to 7");
    let mut shape: Vec<usize> = keys.list("DimSize")?.context("its header has no DimSize")?;
    ensure!(
        shape.len() == rank && !shape.contains(&0),
        "DimSize = {shape:?} does not list {rank} lengths (NDims)"
    );
    shape.reverse();
    let components = keys.parse("ElementNumberOfChannels")?.unwrap_or(1);
    ensure!(components > 0, "ElementNumberOfChannels = 0");
    let dtype = number_type(keys.get("ElementType").context("its header has no ElementType")?)?;
    let len = checked_bytes(&shape, components, dtype.size())?;
    let claim = format!("a shape of {shape:?}");
    let bytes = data(path, &keys, header_len, len, &claim)?;
    let spacing = match keys.list::<f64>("ElementSpacing")? {
        Some(spacing) if spacing.len() == rank => spacing.into_iter().rev().collect(),
        _ => vec![1.0; rank],
    };
    let big_endian = match keys.flag("BinaryDataByteOrderMSB")? {
        Some(flag) => flag,
        None => keys.flag("ElementByteOrderMSB")?.unwrap_or(false),
    };
    let elements = Elements { dtype, big_endian, bytes };
    let geometry = geometry(&keys, rank)?;
    let range = OnceLock::new();
    Ok(Volume { shape, spacing, geometry, components, elements, scale: None, range })
}

/// From the matrix of directions, one row per axis, if there is one.
fn geometry(keys: &Keys, rank: usize) -> Result<Option<Geometry>> {
    let list = |names: [&str; 3]| -> Result<Option<Vec<f64>>> {
        for name in names {
            if let Some(list) = keys.list::<f64>(name)? {
                return Ok(Some(list));
            }
        }
        Ok(None)
    };
    let Some(directions) = list(["TransformMatrix", "Rotation", "Orientation"])? else {
        return Ok(None);
    };
    if rank < 2 || directions.len() != rank * rank {
        return Ok(None);
    }
    let spacing = keys.list::<f64>("ElementSpacing")?.unwrap_or_default();
    let offset = list(["Offset", "Position", "Origin"])?.unwrap_or_default();
    let unit = |axis: usize| std::array::from_fn(|to| f64::from(u8::from(axis == to)));
    let steps = std::array::from_fn(|axis| {
        if axis >= rank {
            return unit(axis);
        }
        let step = spacing.get(axis).copied().unwrap_or(1.0);
        let along = |to: usize| if to < rank { directions[axis * rank + to] * step } else { 0.0 };
        std::array::from_fn(along)
    });
    let origin = std::array::from_fn(|to| offset.get(to).copied().unwrap_or(0.0));
    Ok(Some(Geometry { steps, origin }))
}

/// The bytes of the data, after the header or in the file it names.
fn data(path: &Path, keys: &Keys, header_len: u64, len: u64, claim: &str) -> Result<Vec<u8>> {
    let name = keys.get("ElementDataFile").context("its header has no ElementDataFile")?;
    let packing =
        if keys.flag("CompressedData")?.unwrap_or(false) { Packing::Zlib } else { Packing::Plain };
    let skip: i64 = keys.parse("HeaderSize")?.unwrap_or(0);
    if name.eq_ignore_ascii_case("local") {
        return Source::open(path, header_len, packing)?.data(len, claim);
    }
    ensure!(
        name != "LIST" && !name.contains('%'),
        "its data are spread over several files (ElementDataFile = {name}), which is not supported"
    );
    ensure!(
        !name.contains(['/', '\\', ':']) && name != ".." && name != ".",
        "ElementDataFile = {name} leaves the folder; the data must be in the same folder as the header"
    );
    let file = path.with_file_name(name);
    let size = std::fs::metadata(&file)
        .with_context(|| format!("its data file {name} cannot be read"))?
        .len();
    // -1 means that any excess bytes at the front are a header.
    let start = match skip {
        -1 if packing == Packing::Plain => size.saturating_sub(len),
        skip => u64::try_from(skip).context("HeaderSize is negative")?,
    };
    Source::open(&file, start, packing)
        .and_then(|source| source.data(len, claim))
        .with_context(|| format!("its data file {name}"))
}

/// Keys and values up to and including `ElementDataFile`, which ends a header, and the header's length
/// in bytes.
fn read_keys(path: &Path) -> Result<(HashMap<String, String>, u64)> {
    let mut reader =
        BufReader::new(File::open(path).context("cannot be opened")?).take(MAX_HEADER_BYTES);
    let (mut keys, mut len) = (HashMap::new(), 0);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).context("cannot be read")?;
        ensure!(read > 0, "its header does not end with ElementDataFile");
        len += read as u64;
        let line = std::str::from_utf8(&line).context("its header is not text")?.trim();
        if line.is_empty() {
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .with_context(|| format!("its header line {line:?} is not `Key = value`"))?;
        let key = key.trim().to_owned();
        let last = key == "ElementDataFile";
        keys.insert(key, value.trim().to_owned());
        if last {
            return Ok((keys, len));
        }
    }
}

struct Keys(HashMap<String, String>);

impl Keys {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn parse<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("{key} = {value} is not a valid number"),
        }
    }

    fn list<T: std::str::FromStr>(&self, key: &str) -> Result<Option<Vec<T>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.split_whitespace().map(str::parse).collect() {
            Ok(list) => Ok(Some(list)),
            Err(_) => bail!("{key} = {value} is not a valid list of numbers"),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok(Some(true)),
            "false" | "f" | "0" => Ok(Some(false)),
            _ => bail!("{key} = {value} is neither True nor False"),
        }
    }
}

fn number_type(name: &str) -> Result<Dtype> {
    Ok(match name.trim_end_matches("_ARRAY") {
        "MET_UCHAR" => Dtype::U8,
        "MET_CHAR" => Dtype::I8,
        "MET_USHORT" => Dtype::U16,
        "MET_SHORT" => Dtype::I16,
        "MET_UINT" | "MET_ULONG" => Dtype::U32,
        "MET_INT" | "MET_LONG" => Dtype::I32,
        "MET_ULONG_LONG" => Dtype::U64,
        "MET_LONG_LONG" => Dtype::I64,
        "MET_FLOAT" => Dtype::F32,
        "MET_DOUBLE" => Dtype::F64,
        other => bail!("its ElementType {other} is not supported"),
    })
}
