//! NumPy arrays in `.npy` files, versions 1 to 3
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use sonotune_base::Error;

use super::elements::{Dtype, Elements, Plane, Walk};
use crate::{Intensity, Pixels};

/// A real header is one line of about a hundred bytes.
const MAX_HEADER_BYTES: usize = 1 << 16;

/// An array in memory, in the number type of its file.
#[derive(Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    elements: Elements,
    /// Elements between neighbours along each axis.
    strides: Vec<usize>,
    range: OnceLock<(f64, f64)>,
}

impl Array {
    /// Reads a `.npy` file of numbers or booleans in C or Fortran order and either byte order.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path: not a `.npy` file, less data than claimed, number
    /// types that cannot hold pixels. For Python objects the message says which reader takes them.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(path).map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).context("cannot be opened")?;
        let len = file.metadata().context("cannot be read")?.len();
        let header = Header::read(&mut file)?;
        ensure!(
            !header.is_object(),
            "it holds Python objects, not numbers; if it is a pickled dict, use the reader `npy_dicts`"
        );
        let (dtype, big_endian) = number_type(&header.descr)?;
        let start = file.stream_position().context("cannot be read")?;
        let claimed = byte_count(&header.shape, dtype)?;
        let there = len.saturating_sub(start);
        ensure!(
            claimed <= there,
            "its header claims a shape of {:?}, which is {claimed} bytes of data; the file has {there}",
            header.shape
        );
        let mut bytes = Vec::with_capacity(usize::try_from(claimed)?);
        file.take(claimed).read_to_end(&mut bytes).context("cannot be read")?;
        ensure!(bytes.len() as u64 == claimed, "it became shorter while it was read");
        Self::new(header.shape, header.fortran, Elements { dtype, big_endian, bytes })
    }

    /// Size in memory, bytes.
    pub(super) fn num_bytes(&self) -> u64 {
        self.elements.bytes.len() as u64
    }

    /// An array; fails if there are fewer elements than `shape` needs.
    pub(super) fn new(shape: Vec<usize>, fortran: bool, elements: Elements) -> Result<Self> {
        let count = byte_count(&shape, elements.dtype)?;
        ensure!(
            count == elements.bytes.len() as u64,
            "its shape {shape:?} needs {count} bytes, it has {}",
            elements.bytes.len()
        );
        let mut strides = vec![1; shape.len()];
        if fortran {
            for i in 1..shape.len() {
                strides[i] = strides[i - 1] * shape[i - 1];
            }
        } else {
            for i in (1..shape.len()).rev() {
                strides[i - 1] = strides[i] * shape[i];
            }
        }
        Ok(Self { shape, elements, strides, range: OnceLock::new() })
    }

    /// The number of planes of an array (N, H, W) or (N, H, W, C); 1 for one of (H, W).
    #[must_use]
    pub fn num_planes(&self) -> usize {
        if self.shape.len() > 2 { self.shape[0] } else { 1 }
    }

    /// Plane `index` of (N, H, W) or (N, H, W, C), or the only one of (H, W). A last axis of
    /// length 1 counts as C.
    ///
    /// # Errors
    /// When there is no such plane, or the array has another number of axes.
    pub fn plane(&self, index: usize) -> Result<Plane> {
        let planes = self.num_planes();
        ensure!(index < planes, "there is no plane {index}; it has {planes}, counted from 0");
        let axis = |i: usize| (self.shape[i], self.strides[i]);
        let (start, rows, columns, channels) = match self.shape.len() {
            2 => (0, axis(0), axis(1), (1, 1)),
            3 => (index * self.strides[0], axis(1), axis(2), (1, 1)),
            4 => (index * self.strides[0], axis(1), axis(2), axis(3)),
            _ => bail!("its shape is {:?}; expected (H, W), (N, H, W) or (N, H, W, C)", self.shape),
        };
        let values = self.elements.walk(Walk { start, rows, columns, channels });
        Ok(Plane { height: rows.0, width: columns.0, channels: channels.0, values })
    }

    /// One plane as 8-bit pixels. Every number is first multiplied by `scale` (255 for images in
    /// \[0, 1\]) in the precision of the file, as in NumPy.
    ///
    /// # Errors
    /// Same errors as [`Array::plane`].
    pub fn pixels(&self, index: usize, scale: f64, intensity: Intensity) -> Result<Pixels> {
        let mut plane = self.plane(index)?;
        #[allow(clippy::float_cmp, reason = "exactly 1 leaves every number alone")]
        if scale != 1.0 {
            let times = |v: f64| match self.elements.dtype {
                Dtype::F32 => f64::from(v as f32 * scale as f32),
                _ => v * scale,
            };
            plane.values = plane.values.changed(times);
        }
        let range = if intensity.needs_range() {
            let (low, high) = self.range();
            (low * scale, high * scale)
        } else {
            (0.0, 0.0)
        };
        plane.to_pixels(intensity, range)
    }

    /// One plane as labels.
    ///
    /// # Errors
    /// Same errors as [`Array::plane`]; also names a value that is not a whole number from 0 to 255.
    pub fn labels(&self, index: usize) -> Result<Pixels> {
        self.plane(index)?.to_labels().with_context(|| format!("plane {index}"))
    }

    /// Smallest and largest finite number; both 0 if there is none. Computed once.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        *self.range.get_or_init(|| self.elements.range().unwrap_or_default())
    }
}

fn byte_count(shape: &[usize], dtype: Dtype) -> Result<u64> {
    // An axis of length 0 must not hide one that overflows.
    let bytes = shape.iter().try_fold(dtype.size(), |bytes, &n| bytes.checked_mul(n.max(1)));
    let bytes = bytes.with_context(|| format!("its shape {shape:?} does not fit in memory"))?;
    Ok(if shape.contains(&0) { 0 } else { bytes as u64 })
}

/// The header, which precedes the numbers.
#[derive(Debug)]
pub(super) struct Header {
    /// Byte order, kind and size: `<f4`.
    pub(super) descr: String,
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    pub(super) fn read(reader: &mut (impl Read + Seek)) -> Result<Self> {
        let mut magic = [0; 8];
        reader.seek(SeekFrom::Start(0)).context("cannot be read")?;
        reader.read_exact(&mut magic).context("it is too short for a .npy file")?;
        ensure!(
            magic.starts_with(b"\x93NUMPY"),
            "not a .npy file: it does not start with \\x93NUMPY"
        );
        let mut len = [0; 4];
        let len_bytes = match magic[6] {
            1 => 2,
            2 | 3 => 4,
            other => bail!("it has version {other} of the format; 1 to 3 are supported"),
        };
        reader.read_exact(&mut len[..len_bytes]).context("it ends within its header")?;
        let len = u32::from_le_bytes(len) as usize;
        ensure!(len <= MAX_HEADER_BYTES, "its header claims {len} bytes");
        let mut text = vec![0; len];
        reader.read_exact(&mut text).context("it ends within its header")?;
        let text = String::from_utf8_lossy(&text);
        Self::parse(text.trim()).with_context(|| format!("its header {:?}", text.trim()))
    }

    /// A Python dict with three known keys.
    fn parse(text: &str) -> Result<Self> {
        let after = |key: &str| {
            let at = text.find(&format!("'{key}':")).with_context(|| format!("has no '{key}'"))?;
            Ok::<_, anyhow::Error>(text[at + key.len() + 3..].trim_start())
        };
        let descr = after("descr")?;
        let descr = match descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
            Some((descr, _)) => descr.to_owned(),
            None => bail!("describes records; expected an array of plain numbers"),
        };
        let fortran = match after("fortran_order")? {
            rest if rest.starts_with("True") => true,
            rest if rest.starts_with("False") => false,
            _ => bail!("has a fortran_order that is neither True nor False"),
        };
        let shape = after("shape")?
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .context("has no shape in parentheses")?
            .0;
        let shape: Vec<usize> = shape
            .split(',')
            .map(|n| n.trim().trim_end_matches('L'))
            .filter(|n| !n.is_empty())
            .map(|n| n.parse().with_context(|| format!("has {n:?} as a length")))
            .collect::<Result<_>>()?;
        ensure!(shape.len() <= 32, "claims {} axes", shape.len());
        Ok(Self { descr, fortran, shape })
    }

    pub(super) fn is_object(&self) -> bool {
        self.descr.trim_start_matches(['|', '<', '>', '=']) == "O"
    }
}

/// Parses NumPy's name of a number type, with its byte order.
pub(super) fn number_type(descr: &str) -> Result<(Dtype, bool)> {
    let big_endian = descr.starts_with('>');
    let dtype = match descr.trim_start_matches(['|', '<', '>', '=']) {
        "b1" | "?" => Dtype::Bool,
        "u1" => Dtype::U8,
        "i1" => Dtype::I8,
        "u2" => Dtype::U16,
        "i2" => Dtype::I16,
        "u4" => Dtype::U32,
        "i4" => Dtype::I32,
        "u8" => Dtype::U64,
        "i8" => Dtype::I64,
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        _ => {
            bail!("its number type is {descr:?}; expected bool, integers of 1 to 8 bytes, f4 or f8")
        }
    };
    Ok((dtype, big_endian))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use serde::Deserialize;

    use super::*;
    use crate::{
        fixture,
        write::{Numbers, npy},
    };

    #[derive(Deserialize)]
    struct Expected {
        shape: Vec<usize>,
        /// `(array * scale).astype(uint8)`, in C order.
        as_u8: Vec<u8>,
        scale: f64,
    }

    /// NumPy wrote `expected.json`; results must be equal.
    #[test]
    fn parity_with_numpy() {
        let text = fs::read_to_string(fixture("arrays/expected.json")).unwrap();
        let all: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
        assert!(all.len() >= 14, "{}", all.len());
        for (name, expected) in all {
            let array = Array::open(&fixture(&format!("arrays/{name}"))).unwrap();
            assert_eq!(array.shape, expected.shape, "{name}");
            let pixels: Vec<u8> = (0..array.num_planes())
                .flat_map(|i| array.pixels(i, expected.scale, Intensity::Wrap).unwrap().data)
                .collect();
            assert_eq!(pixels, expected.as_u8, "{name}");
        }
    }

    #[test]
    fn headers_that_lie_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let dict = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
        };
        for (header, word) in [
            (dict("'<f4'", "False", "(2, 3)"), "24 bytes of data; the file has 8"),
            (dict("'<f4'", "False", "(99999999999, 99999999999)"), "does not fit in memory"),
            (dict("'<f4'", "False", "(0, 99999999999, 99999999999)"), "does not fit in memory"),
            (dict("'<f4'", "False", "(-2, 3)"), "\"-2\" as a length"),
            (dict("'<f4'", "No", "(2,)"), "neither True nor False"),
            (dict("'<c8'", "False", "(1,)"), "number type is \"<c8\""),
            (dict("'|O'", "False", "()"), "pickled dict"),
            (dict("[('x', '<f4')]", "False", "(1,)"), "describes records"),
            ("{'descr': '<f4'}".into(), "has no 'fortran_order'"),
            (dict("'<f4'", "False", "7"), "no shape in parentheses"),
        ] {
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend([0; 8]);
            fs::write(&path, bytes).unwrap();
            let error = Array::open(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("a.npy"), "{word}: {error}");
        }
        for (bytes, word) in [
            (&b""[..], "too short"),
            (b"PK\x03\x04aaaaaaaaaaaa", "not a .npy file"),
            (b"\x93NUMPY\x09\x00aaaa", "version 9"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "claims 4294967295 bytes"),
            (b"\x93NUMPY\x01\x00\x76\x00{", "ends within its header"),
        ] {
            fs::write(&path, bytes).unwrap();
            let error = Array::open(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        npy(&path, &[2, 1, 2, 1], Numbers::F32(&[0.0, 0.5, 1.0, 0.2])).unwrap();
        let array = Array::open(&path).unwrap();
        assert_eq!(array.num_planes(), 2);
        let pixels = array.pixels(1, 255.0, Intensity::Clip).unwrap();
        assert_eq!((pixels.height, pixels.width, pixels.data), (1, 2, vec![255, 51]));
        assert!(array.labels(0).is_err());
        assert!(array.plane(2).unwrap_err().to_string().contains("no plane 2"));
        npy(&path, &[3], Numbers::Bool(&[true, false, true])).unwrap();
        assert!(Array::open(&path).unwrap().plane(0).unwrap_err().to_string().contains("(H, W)"));
    }
}
