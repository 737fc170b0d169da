//! NIfTI-1 and NIfTI-2 (<https://nifti.nimh.nih.gov>): one file, gzipped or not, or a pair.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};

use super::{Geometry, Scale, Volume, checked_bytes, source::Source};
use crate::elements::{Dtype, Elements};

/// The relevant parts of a header.
struct Header {
    big_endian: bool,
    /// Fastest axis first, as in the file.
    dim: Vec<i64>,
    pixdim: Vec<f64>,
    /// Millimetres in a unit of length.
    unit: f64,
    datatype: i16,
    data_start: u64,
    slope: f64,
    intercept: f64,
    geometry: Option<Geometry>,
    /// Whether the data are in a separate file.
    is_pair: bool,
    /// Bytes read so far.
    len: u64,
}

pub(super) fn open(path: &Path) -> Result<Volume> {
    let (header_path, data_path) = pair(path);
    let mut source = Source::sniff(&header_path)?;
    let header = read_header(&mut source)?;
    let (dtype, components) = number_type(header.datatype)?;
    let shape = shape(&header.dim)?;
    let bytes = checked_bytes(&shape, components, dtype.size())?;
    let claim = format!("a shape of {shape:?}");
    let bytes = if header.is_pair {
        let data_path = data_path.context(
            "it is the header of a pair of files and has no data; the .img file with the same name is \
             missing",
        )?;
        let mut data = Source::sniff(&data_path)?;
        data.skip(header.data_start)?;
        data.data(bytes, &claim).with_context(|| format!("with {}", data_path.display()))?
    } else {
        // Only an extension can be in between.
        source.skip(header.data_start.max(header.len) - header.len)?;
        source.data(bytes, &claim)?
    };
    let elements = Elements { dtype, big_endian: header.big_endian, bytes };
    let distance = |axis: usize| header.pixdim.get(axis).copied().unwrap_or(1.0);
    // Lengths beyond the third axis are times.
    let unit = |axis: usize| if axis < 3 { header.unit } else { 1.0 };
    let spacing = (0..shape.len()).rev().map(|axis| distance(axis) * unit(axis));
    Ok(Volume {
        spacing: spacing.collect(),
        geometry: header.geometry,
        shape,
        components,
        elements,
        scale: if components == 1 { scale(&header, dtype) } else { None },
        range: OnceLock::new(),
    })
}

/// The header's file and, if the names form a pair, the file of the data.
fn pair(path: &Path) -> (PathBuf, Option<PathBuf>) {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let bare = name.strip_suffix(".gz").unwrap_or(&name);
    let beside = |suffix: &str| {
        let stem = &bare[..bare.len() - 4];
        [format!("{stem}{suffix}"), format!("{stem}{suffix}.gz")]
            .into_iter()
            .map(|name| path.with_file_name(name))
            .find(|path| path.is_file())
    };
    if bare.ends_with(".hdr") {
        (path.to_owned(), beside(".img"))
    } else if bare.ends_with(".img") {
        (beside(".hdr").unwrap_or_else(|| path.to_owned()), Some(path.to_owned()))
    } else {
        (path.to_owned(), None)
    }
}

fn read_header(source: &mut Source) -> Result<Header> {
    let mut bytes = vec![0; 348];
    source.exact(&mut bytes[..4]).context("it is neither a NIfTI file nor a MetaImage")?;
    let size = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let (big_endian, version) = match (u32::from_le_bytes(size), u32::from_be_bytes(size)) {
        (348, _) => (false, 1),
        (_, 348) => (true, 1),
        (540, _) => (false, 2),
        (_, 540) => (true, 2),
        _ => bail!("it is neither a NIfTI file nor a MetaImage, judging by its first bytes"),
    };
    if version == 2 {
        bytes.resize(540, 0);
    }
    source.exact(&mut bytes[4..])?;
    let fields = Fields { bytes: &bytes, big_endian };
    if version == 1 { fields.version_1() } else { fields.version_2() }
}

struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[at..at + N]);
        if !self.big_endian {
            array.reverse();
        }
        array
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_be_bytes(self.array(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.array(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_be_bytes(self.array(at))
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_be_bytes(self.array(at)))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_be_bytes(self.array(at))
    }

    fn version_1(&self) -> Result<Header> {
        let is_pair = match &self.bytes[344..348] {
            b"n+1\0" => false,
            b"ni1\0" => true,
            [0, ..] => bail!(
                "it is an Analyze 7.5 header, the predecessor of NIfTI, which does not describe the \
                 axes; convert it to NIfTI"
            ),
            other => {
                bail!("its magic is {:?}, not that of NIfTI-1", String::from_utf8_lossy(other))
            }
        };
        let start = self.f32(108);
        ensure!((0.0..1e9).contains(&start), "its data should start at byte {start}");
        Ok(Header {
            big_endian: self.big_endian,
            dim: (0..8).map(|i| i64::from(self.i16(40 + 2 * i))).collect(),
            pixdim: (1..8).map(|i| rounded(self.f32(76 + 4 * i))).collect(),
            unit: millimetres(self.bytes[123].into()),
            datatype: self.i16(70),
            data_start: start as u64,
            slope: self.f32(112),
            intercept: self.f32(116),
            geometry: geometry(
                (self.i16(252).into(), self.i16(254).into()),
                std::array::from_fn(|i| self.f32(76 + 4 * i)),
                std::array::from_fn(|i| self.f32(256 + 4 * i)),
                std::array::from_fn(|i| self.f32(280 + 4 * i)),
            ),
            is_pair,
            len: 348,
        })
    }

    fn version_2(&self) -> Result<Header> {
        let is_pair = match &self.bytes[4..8] {
            b"n+2\0" => false,
            b"ni2\0" => true,
            other => {
                bail!("its magic is {:?}, not that of NIfTI-2", String::from_utf8_lossy(other))
            }
        };
        let start = self.i64(168);
        ensure!((0..1 << 30).contains(&start), "its data should start at byte {start}");
        Ok(Header {
            big_endian: self.big_endian,
            dim: (0..8).map(|i| self.i64(16 + 8 * i)).collect(),
            pixdim: (1..8).map(|i| self.f64(104 + 8 * i)).collect(),
            unit: millimetres(self.i32(500)),
            datatype: self.i16(12),
            data_start: start as u64,
            slope: self.f64(176),
            intercept: self.f64(184),
            geometry: geometry(
                (self.i32(344), self.i32(348)),
                std::array::from_fn(|i| self.f64(104 + 8 * i)),
                std::array::from_fn(|i| self.f64(352 + 8 * i)),
                std::array::from_fn(|i| self.f64(400 + 8 * i)),
            ),
            is_pair,
            len: 540,
        })
    }
}

/// Millimetres in the unit of length of `xyzt_units`; programs that leave the unit open count in millimetres.
fn millimetres(xyzt_units: i32) -> f64 {
    match xyzt_units & 7 {
        1 => 1000.0,
        3 => 1e-3,
        _ => 1.0,
    }
}

/// The number with the fewest digits that the header's single precision could have come from: 0.1, not
/// 0.10000000149011612.
fn rounded(single: f64) -> f64 {
    (single as f32).to_string().parse().unwrap_or(single)
}

/// The affine map of the header, with x and y negated: NIfTI counts towards right and front, the
/// other formats towards left and back. `codes` are those of qform and sform; `pixdim` starts with the sign
/// of the third axis.
fn geometry(
    (qform, sform): (i32, i32),
    pixdim: [f64; 4],
    [b, c, d, x, y, z]: [f64; 6],
    rows: [f64; 12],
) -> Option<Geometry> {
    let (matrix, origin) = if sform > 0 {
        let row = |r: usize| [rows[4 * r], rows[4 * r + 1], rows[4 * r + 2]];
        ([row(0), row(1), row(2)], [rows[3], rows[7], rows[11]])
    } else if qform > 0 {
        let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
        let rotation = [
            [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ];
        let sign = if pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let scales = [pixdim[1], pixdim[2], pixdim[3] * sign];
        let scaled = |row: [f64; 3]| std::array::from_fn(|axis| row[axis] * scales[axis]);
        (rotation.map(scaled), [x, y, z])
    } else {
        return None;
    };
    let left_back = [-1.0, -1.0, 1.0];
    let step = |axis: usize| std::array::from_fn(|to| matrix[to][axis] * left_back[to]);
    let geometry = Geometry {
        steps: std::array::from_fn(step),
        origin: std::array::from_fn(|to| origin[to] * left_back[to]),
    };
    geometry.is_regular().then_some(geometry)
}

/// Slowest axis first. ITK omits axes of length 1 beyond the third at the slow end.
fn shape(dim: &[i64]) -> Result<Vec<usize>> {
    let rank = usize::try_from(dim[0]).unwrap_or(0);
    ensure!((1..=7).contains(&rank), "its header claims {} axes, not 1 to 7", dim[0]);
    let mut shape = Vec::with_capacity(rank);
    for (axis, &n) in dim[1..=rank].iter().enumerate() {
        // Zeros beyond the third axis are a common way to say that the axis does not exist.
        let n = if axis >= 3 && n == 0 { 1 } else { n };
        ensure!(n > 0, "its header claims a length of {n} along axis {}", axis + 1);
        shape.push(usize::try_from(n)?);
    }
    while shape.len() > 3 && shape.last() == Some(&1) {
        shape.pop();
    }
    ensure!(shape.len() > 1, "it has one axis, but a plane needs two");
    shape.reverse();
    Ok(shape)
}

fn number_type(code: i16) -> Result<(Dtype, usize)> {
    Ok(match code {
        2 => (Dtype::U8, 1),
        4 => (Dtype::I16, 1),
        8 => (Dtype::I32, 1),
        16 => (Dtype::F32, 1),
        64 => (Dtype::F64, 1),
        128 => (Dtype::U8, 3),
        256 => (Dtype::I8, 1),
        512 => (Dtype::U16, 1),
        768 => (Dtype::U32, 1),
        1024 => (Dtype::I64, 1),
        1280 => (Dtype::U64, 1),
        2304 => (Dtype::U8, 4),
        1 => bail!("its numbers are single bits (datatype 1), which is not supported"),
        32 | 1792 | 2048 => bail!("its numbers are complex (datatype {code}), not pixels"),
        1536 => bail!("its numbers have 128 bits (datatype 1536), which is not supported"),
        other => bail!("its datatype {other} is not a NIfTI datatype"),
    })
}

/// As in ITK: a slope of 0 counts as 1, and values that are not finite mean no rescaling.
fn scale(header: &Header, dtype: Dtype) -> Option<Scale> {
    let (slope, intercept) = (header.slope, header.intercept);
    if !slope.is_finite() || !intercept.is_finite() {
        return None;
    }
    let slope = if slope == 0.0 { 1.0 } else { slope };
    let identity = (slope - 1.0).abs() <= f64::EPSILON && intercept.abs() <= f64::EPSILON;
    (!identity).then_some(Scale { slope, intercept, single: dtype != Dtype::F64 })
}
