//! NRRD (<https://teem.sourceforge.net/nrrd/format.html>): lines of text, then numbers, in one file
//! (`.nrrd`) or two (`.nhdr` and its data). Axes, directions and colours are taken as ITK takes them.

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

/// Real headers have some hundred bytes, and some kilobytes of keys for diffusion gradients.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Whether a file starts like an NRRD.
pub(super) fn is_header(head: &[u8]) -> bool {
    head.starts_with(b"NRRD000")
}

pub(super) fn open(path: &Path) -> Result<Volume> {
    let (fields, header_len) = read_fields(path)?;
    let fields = Fields(fields);
    let dtype = number_type(fields.required("type")?)?;
    let rank: usize = fields.parse("dimension")?.context("its header has no `dimension`")?;
    let sizes: Vec<usize> = fields.list("sizes")?.context("its header has no `sizes`")?;
    ensure!(
        (1..=16).contains(&rank) && sizes.len() == rank && !sizes.contains(&0),
        "`sizes: {}` does not list {rank} lengths (`dimension`)",
        fields.required("sizes")?
    );
    let big_endian = match fields.get("endian") {
        Some("big") => true,
        Some("little") => false,
        None if dtype.size() == 1 => false,
        other => bail!("`endian` is {}, not little or big", other.unwrap_or("missing")),
    };
    let colour = colour_axis(&fields, rank)?;
    let domain: Vec<usize> = (0..rank).filter(|&axis| Some(axis) != colour).collect();
    ensure!(domain.len() >= 2, "its `sizes` {sizes:?} are not those of an image");
    let components = colour.map_or(1, |axis| sizes[axis]);
    let shape: Vec<usize> = domain.iter().rev().map(|&axis| sizes[axis]).collect();
    let len = checked_bytes(&shape, components, dtype.size())?;
    let bytes = data(path, &fields, header_len, len, &format!("a shape of {shape:?}"))?;
    let bytes = match colour {
        Some(axis) if axis > 0 => colours_first(&bytes, &sizes, axis, dtype.size()),
        _ => bytes,
    };
    let directions = directions(&fields, rank)?;
    let spacing = spacing(&fields, rank, directions.as_deref())?;
    Ok(Volume {
        spacing: domain.iter().rev().map(|&axis| spacing[axis]).collect(),
        geometry: directions.map(|steps| geometry(&fields, &steps, &domain)).transpose()?.flatten(),
        shape,
        components,
        elements: Elements { dtype, big_endian, bytes },
        scale: None,
        range: OnceLock::new(),
    })
}

/// The axis whose `kinds` is not a place or time, if there is one: colours or vectors.
fn colour_axis(fields: &Fields, rank: usize) -> Result<Option<usize>> {
    let Some(kinds) = fields.get("kinds") else { return Ok(None) };
    let kinds: Vec<&str> = kinds.split_whitespace().collect();
    ensure!(kinds.len() == rank, "`kinds: {}` does not list {rank} axes", kinds.join(" "));
    let place = |kind: &str| {
        matches!(kind.to_lowercase().as_str(), "domain" | "space" | "time" | "none" | "???")
    };
    let mut others = (0..rank).filter(|&axis| !place(kinds[axis]));
    match (others.next(), others.next()) {
        (axis, None) => Ok(axis),
        _ => bail!("`kinds: {}` has several axes of colours or vectors", kinds.join(" ")),
    }
}

/// Moves an axis of `sizes` to the front, where colours are next to each other.
fn colours_first(bytes: &[u8], sizes: &[usize], axis: usize, size: usize) -> Vec<u8> {
    let inner: usize = sizes[..axis].iter().product();
    let count = sizes[axis];
    let mut moved = Vec::with_capacity(bytes.len());
    for block in bytes.chunks_exact(inner * count * size) {
        for at in 0..inner {
            for component in 0..count {
                let from = (component * inner + at) * size;
                moved.extend(&block[from..from + size]);
            }
        }
    }
    moved
}

/// The vector of each axis; NaN for one without (`none`).
fn directions(fields: &Fields, rank: usize) -> Result<Option<Vec<[f64; 3]>>> {
    let Some(text) = fields.get("space directions") else { return Ok(None) };
    let vectors: Vec<&str> = vectors(text);
    ensure!(vectors.len() == rank, "`space directions: {text}` does not list {rank} axes");
    let steps = vectors.into_iter().map(|text| match text {
        "none" => Ok([f64::NAN; 3]),
        text => vector(text),
    });
    steps.collect::<Result<_>>().map(Some)
}

/// Vectors in brackets and `none`, apart.
fn vectors(text: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let end = match rest.find(')') {
            Some(end) if rest.starts_with('(') => end + 1,
            _ => rest.find([' ', '\t', '(']).filter(|&end| end > 0).unwrap_or(rest.len()),
        };
        found.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    found
}

/// Up to three numbers in brackets.
fn vector(text: &str) -> Result<[f64; 3]> {
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let numbers: Option<Vec<f64>> =
        inner.and_then(|inner| inner.split(',').map(|n| n.trim().parse().ok()).collect());
    match numbers {
        Some(numbers) if (1..=3).contains(&numbers.len()) => {
            Ok(std::array::from_fn(|i| numbers.get(i).copied().unwrap_or(0.0)))
        }
        _ => bail!("`{text}` is not a vector of up to three numbers, such as (0.1,0,0)"),
    }
}

/// Per axis: `spacings`, else the length of its direction, else 1.
fn spacing(fields: &Fields, rank: usize, steps: Option<&[[f64; 3]]>) -> Result<Vec<f64>> {
    let listed: Vec<f64> = fields.list("spacings")?.unwrap_or_default();
    let length = |step: &[f64; 3]| step.iter().map(|v| v * v).sum::<f64>().sqrt();
    let known = |n: f64| n.is_finite() && n > 0.0;
    let of = |axis: usize| {
        let listed = listed.get(axis).copied().map(f64::abs).filter(|&n| known(n));
        let direction = steps.and_then(|steps| steps.get(axis)).map(length).filter(|&n| known(n));
        listed.or(direction).unwrap_or(1.0)
    };
    Ok((0..rank).map(of).collect())
}

/// Towards left, back and head, whatever `space` the file uses.
fn geometry(fields: &Fields, steps: &[[f64; 3]], domain: &[usize]) -> Result<Option<Geometry>> {
    let signs = match fields.get("space").unwrap_or_default().to_lowercase().as_str() {
        "right-anterior-superior" | "ras" | "right-anterior-superior-time" | "rast" => {
            [-1.0, -1.0, 1.0]
        }
        "left-anterior-superior" | "las" | "left-anterior-superior-time" | "last" => {
            [1.0, -1.0, 1.0]
        }
        _ => [1.0, 1.0, 1.0],
    };
    let turned = |v: [f64; 3]| std::array::from_fn(|i| v[i] * signs[i]);
    let unit = |axis: usize| std::array::from_fn(|to| f64::from(u8::from(axis == to)));
    let step = |axis: usize| domain.get(axis).map_or(unit(axis), |&from| turned(steps[from]));
    let origin = fields.get("space origin").map_or(Ok([0.0; 3]), |text| vector(text.trim()))?;
    let geometry = Geometry { steps: std::array::from_fn(step), origin: turned(origin) };
    Ok(geometry.is_regular().then_some(geometry))
}

/// The bytes of the data, after the header or in the file it names.
fn data(path: &Path, fields: &Fields, header_len: u64, len: u64, claim: &str) -> Result<Vec<u8>> {
    let packing = match fields.required("encoding")?.to_lowercase().as_str() {
        "raw" => Packing::Plain,
        "gzip" | "gz" => Packing::Gzip,
        other => bail!(
            "its numbers are in the encoding {other}, which is not read; save it with gzip, for example with \
             `unu save -e gzip -f nrrd -i in.nrrd -o out.nrrd`"
        ),
    };
    let lines: u64 = fields.parse("line skip")?.or(fields.parse("lineskip")?).unwrap_or(0);
    let skip: i64 = fields.parse("byte skip")?.or(fields.parse("byteskip")?).unwrap_or(0);
    let name = fields.get("data file").or(fields.get("datafile"));
    let (file, start) = match name {
        None => (path.to_owned(), header_len),
        Some(name) => {
            let name = name.strip_prefix("./").unwrap_or(name);
            ensure!(
                !name.starts_with("LIST") && !name.contains(['%', ' ']),
                "its data are spread over several files (data file: {name}), which is not supported"
            );
            ensure!(
                !name.contains(['/', '\\', ':']) && name != ".." && name != ".",
                "`data file: {name}` leaves the folder; the data must be in the same folder as the header"
            );
            (path.with_file_name(name), 0)
        }
    };
    read_data(&file, (start, lines, skip), packing, (len, claim))
        .with_context(|| name.map_or("its data".to_owned(), |name| format!("its data file {name}")))
}

fn read_data(
    file: &Path,
    (start, lines, skip): (u64, u64, i64),
    packing: Packing,
    (len, claim): (u64, &str),
) -> Result<Vec<u8>> {
    let size = std::fs::metadata(file).context("cannot be read")?.len();
    let start = start + skipped_lines(file, start, lines)?;
    if skip == -1 {
        ensure!(packing == Packing::Plain, "`byte skip: -1` needs the encoding raw");
        return Source::open(file, size.saturating_sub(len), packing)?.data(len, claim);
    }
    let mut source = Source::open(file, start, packing)?;
    source.skip(u64::try_from(skip).context("`byte skip` is negative")?)?;
    source.data(len, claim)
}

/// The length of `lines` lines from `start` on.
fn skipped_lines(file: &Path, start: u64, lines: u64) -> Result<u64> {
    let mut reader = BufReader::new(File::open(file).context("cannot be opened")?);
    reader.seek_relative(i64::try_from(start)?)?;
    let mut len = 0;
    for _ in 0..lines {
        let mut line = reader.by_ref().take(MAX_HEADER_BYTES);
        let read = line.skip_until(b'\n').context("cannot be read")?;
        ensure!(read > 0, "it ends within the lines that `line skip: {lines}` names");
        len += read as u64;
    }
    Ok(len)
}

/// The fields up to the empty line that ends a header, and the header's length in bytes.
fn read_fields(path: &Path) -> Result<(HashMap<String, String>, u64)> {
    let mut reader =
        BufReader::new(File::open(path).context("cannot be opened")?).take(MAX_HEADER_BYTES);
    let (mut fields, mut len) = (HashMap::new(), 0);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).context("cannot be read")?;
        len += read as u64;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            // A header with its data elsewhere may end with the file.
            let detached = fields.contains_key("data file") || fields.contains_key("datafile");
            ensure!(read > 0 || detached, "its header does not end with an empty line");
            return Ok((fields, len));
        }
        let is_note = line.starts_with('#') || line.starts_with("NRRD000") || line.contains(":=");
        if is_note {
            continue;
        }
        let (key, value) = line
            .split_once(':')
            .with_context(|| format!("its header line {line:?} is not `field: value`"))?;
        fields.insert(key.trim().to_lowercase(), value.trim().to_owned());
    }
}

struct Fields(HashMap<String, String>);

impl Fields {
    fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    fn required(&self, field: &str) -> Result<&str> {
        self.get(field).with_context(|| format!("its header has no `{field}`"))
    }

    fn parse<T: std::str::FromStr>(&self, field: &str) -> Result<Option<T>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("`{field}: {value}` is not a valid number"),
        }
    }

    fn list<T: std::str::FromStr>(&self, field: &str) -> Result<Option<Vec<T>>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match value.split_whitespace().map(str::parse).collect() {
            Ok(list) => Ok(Some(list)),
            Err(_) => bail!("`{field}: {value}` is not a valid list of numbers"),
        }
    }
}

fn number_type(name: &str) -> Result<Dtype> {
    Ok(match name.to_lowercase().as_str() {
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => Dtype::U8,
        "signed char" | "int8" | "int8_t" => Dtype::I8,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => Dtype::U16,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => {
            Dtype::I16
        }
        "uint" | "unsigned int" | "uint32" | "uint32_t" => Dtype::U32,
        "int" | "signed int" | "int32" | "int32_t" => Dtype::I32,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            Dtype::U64
        }
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => Dtype::I64,
        "float" => Dtype::F32,
        "double" => Dtype::F64,
        other => bail!("its type {other} is not supported"),
    })
}
