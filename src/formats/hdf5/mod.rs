//! Stacks of images and their side data in HDF5 files, read a few planes at a time.

mod levels;

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hdf5_pure::{ChunkCacheConfig, DType, FileAccessProperties, Layout};
use sonotune_base::{Error, words::bytes};

use crate::{
    Intensity, Pixels,
    elements::{Dtype, Elements, Plane, Walk},
};

/// Most unpacked bytes of a dataset held at a time.
pub const MAX_WINDOW_BYTES: u64 = 512 << 20;

/// Most strings or integers in a dataset with one value per frame.
const MAX_COLUMN: u64 = 1 << 26;

/// An open file.
pub struct Hdf5 {
    path: PathBuf,
    file: hdf5_pure::File,
}

impl std::fmt::Debug for Hdf5 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hdf5").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A dataset (N, H, W) or (N, H, W, C) of numbers. Chunks that span several planes are
/// unpacked once if planes are read in order, through [`Stack::planes`].
pub struct Stack<'a> {
    file: &'a Hdf5,
    name: String,
    dataset: hdf5_pure::Dataset,
    /// (N, H, W, C); C is 1 if the dataset has three axes.
    pub shape: [usize; 4],
    dtype: Dtype,
    /// Planes that are read together: as many as a chunk spans, within [`MAX_WINDOW_BYTES`].
    window: usize,
    range: OnceLock<(f64, f64)>,
}

impl std::fmt::Debug for Stack<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, name, shape, dtype, window, .. } = self;
        let path = &file.path;
        write!(f, "Stack {{ {path:?} {name:?} {shape:?} {dtype:?}, window {window} }}")
    }
}

impl Hdf5 {
    /// Opens a file without reading its data.
    ///
    /// # Errors
    /// [`sonotune_base::ErrorKind::Data`] with the path when it is not an HDF5 file or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        // A window reads each chunk once, so there is little to cache.
        let cache = ChunkCacheConfig::new().with_max_bytes(16 << 20);
        let properties = FileAccessProperties::new().with_chunk_cache(cache);
        let file = guard(|| Ok(hdf5_pure::File::open_streaming_with_options(path, properties)?))
            .map_err(|e| {
                Error::data(format!("{}: cannot be read as HDF5: {e:#}", path.display()))
            })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Finds a dataset of images or masks by its name or path (`group/image`).
    ///
    /// # Errors
    /// When it does not exist (the message lists the datasets that do), it has neither three nor four
    /// axes, or its type cannot hold pixels.
    pub fn stack(&self, name: &str) -> Result<Stack<'_>> {
        self.run(name, || {
            let dataset = self.dataset(name)?;
            let sizes = dataset.shape()?;
            let shape = match *sizes.as_slice() {
                [n, h, w] => [n, h, w, 1],
                [n, h, w, c] => [n, h, w, c],
                _ => bail!("its shape is {sizes:?}; expected (N, H, W) or (N, H, W, C)"),
            };
            let dtype = number_type(&dataset.dtype()?)?;
            let plane = shape[1..]
                .iter()
                .try_fold(dtype.size() as u64, |bytes, &n| bytes.checked_mul(n))
                .filter(|&bytes| bytes <= MAX_WINDOW_BYTES)
                .with_context(|| {
                    let most = bytes(MAX_WINDOW_BYTES);
                    format!("one plane of its shape {sizes:?} has more than {most}")
                })?;
            let reach = match dataset.layout()? {
                Layout::Chunked { chunk_shape, .. } => chunk_shape.first().copied().unwrap_or(1),
                Layout::Virtual => {
                    bail!("it is a virtual dataset, which only refers to other files")
                }
                _ => 1,
            };
            let window = reach.min(MAX_WINDOW_BYTES / plane.max(1)).max(1);
            let size = |n: u64| usize::try_from(n).context("a length does not fit in memory");
            Ok(Stack {
                file: self,
                name: name.to_owned(),
                dataset,
                shape: [size(shape[0])?, size(shape[1])?, size(shape[2])?, size(shape[3])?],
                dtype,
                window: size(window)?,
                range: OnceLock::new(),
            })
        })
    }

    /// One text per frame, of fixed or variable length, without padding.
    ///
    /// # Errors
    /// When there is no such dataset or it is not a list of texts.
    pub fn strings(&self, name: &str) -> Result<Vec<String>> {
        self.run(name, || {
            let (dataset, len) = self.column(name)?;
            let dtype = dataset.dtype()?;
            ensure!(
                matches!(dtype, DType::String | DType::VariableLengthString),
                "its type is {dtype}, not text"
            );
            Ok(dataset.read_string_rows(0, len)?)
        })
    }

    /// One whole number per frame.
    ///
    /// # Errors
    /// When there is no such dataset or it is not a list of whole numbers.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>> {
        self.run(name, || {
            let (dataset, len) = self.column(name)?;
            let dtype = dataset.dtype()?;
            let is_integer = !matches!(number_type(&dtype)?, Dtype::F32 | Dtype::F64);
            ensure!(is_integer, "its type is {dtype}, not whole numbers");
            Ok(dataset.read_i64_rows(0, len)?)
        })
    }

    fn column(&self, name: &str) -> Result<(hdf5_pure::Dataset, u64)> {
        let dataset = self.dataset(name)?;
        let shape = dataset.shape()?;
        match *shape.as_slice() {
            [n] | [n, 1] if n <= MAX_COLUMN => Ok((dataset, n)),
            _ => bail!("its shape is {shape:?}; expected one value per frame, (N)"),
        }
    }

    fn dataset(&self, name: &str) -> Result<hdf5_pure::Dataset> {
        self.file.dataset(name).map_err(|e| {
            let there = self.file.root().datasets().unwrap_or_default();
            anyhow!("{e}; the datasets at the top are {there:?}")
        })
    }

    fn run<T>(&self, name: &str, f: impl FnOnce() -> Result<T>) -> Result<T> {
        guard(f).map_err(|e| {
            Error::data(format!("{}: dataset {name:?}: {e:#}", self.path.display())).into()
        })
    }
}

impl Stack<'_> {
    /// The number of planes.
    #[must_use]
    pub fn num_planes(&self) -> usize {
        self.shape[0]
    }

    /// How many planes are read at a time; a range for [`Stack::planes`] should start at a multiple
    /// of it.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Passes the planes of a range to `each`, in order.
    ///
    /// # Errors
    /// Damaged data, and errors of `each`.
    pub fn planes(
        &self,
        range: Range<usize>,
        mut each: impl FnMut(usize, Plane) -> Result<()>,
    ) -> Result<()> {
        let end = range.end.min(self.shape[0]);
        let mut start = range.start;
        while start < end {
            let stop = ((start / self.window + 1) * self.window).min(end);
            let elements = self.rows(start, stop)?;
            for index in start..stop {
                each(index, self.cut(&elements, index - start))?;
            }
            start = stop;
        }
        Ok(())
    }

    /// One plane. If the chunks of the dataset span many planes, this unpacks them all.
    ///
    /// # Errors
    /// When the data are damaged or there is no such plane.
    pub fn plane(&self, index: usize) -> Result<Plane> {
        let planes = self.num_planes();
        ensure!(
            index < planes,
            Error::data(format!(
                "{}: dataset {:?} has no plane {index}; it has {planes}, counted from 0",
                self.file.path.display(),
                self.name
            ))
        );
        Ok(self.cut(&self.rows(index, index + 1)?, 0))
    }

    /// One plane as 8-bit pixels.
    ///
    /// # Errors
    /// Same errors as [`Stack::plane`].
    pub fn pixels(&self, index: usize, intensity: Intensity) -> Result<Pixels> {
        let range = if intensity.needs_range() { self.range()? } else { (0.0, 0.0) };
        self.plane(index)?.to_pixels(intensity, range)
    }

    /// One plane as labels.
    ///
    /// # Errors
    /// Same errors as [`Stack::plane`]; also names a value that is not a whole number from 0 to 255.
    pub fn labels(&self, index: usize) -> Result<Pixels> {
        self.plane(index)?.to_labels().with_context(|| format!("plane {index}"))
    }

    /// Smallest and largest finite number of the dataset; both 0 if there is none. Reads all of it,
    /// once.
    ///
    /// # Errors
    /// When the data are damaged.
    pub fn range(&self) -> Result<(f64, f64)> {
        if let Some(&range) = self.range.get() {
            return Ok(range);
        }
        let mut found: Option<(f64, f64)> = None;
        for start in (0..self.shape[0]).step_by(self.window) {
            let elements = self.rows(start, (start + self.window).min(self.shape[0]))?;
            if let Some((low, high)) = elements.range() {
                found = Some(found.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
            }
        }
        Ok(*self.range.get_or_init(|| found.unwrap_or_default()))
    }

    fn rows(&self, start: usize, stop: usize) -> Result<Elements> {
        let [_, h, w, c] = self.shape;
        self.file.run(&self.name, || {
            let rows = (start as u64, (stop - start) as u64);
            let elements = read_rows(&self.dataset, self.dtype, rows)
                .with_context(|| format!("planes {start} to {}", stop - 1))?;
            let expected = (stop - start) * h * w * c;
            ensure!(
                elements.len() == expected,
                "expected {expected} numbers, found {}",
                elements.len()
            );
            Ok(elements)
        })
    }

    fn cut(&self, elements: &Elements, index: usize) -> Plane {
        let [_, height, width, channels] = self.shape;
        let values = elements.walk(Walk {
            start: index * height * width * channels,
            rows: (height, width * channels),
            columns: (width, channels),
            channels: (channels, 1),
        });
        Plane { height, width, channels, values }
    }
}

/// The crate returns numbers in the machine's byte order.
fn read_rows(
    dataset: &hdf5_pure::Dataset,
    dtype: Dtype,
    (start, count): (u64, u64),
) -> Result<Elements> {
    macro_rules! native {
        ($read:ident) => {
            dataset.$read(start, count)?.into_iter().flat_map(|v| v.to_le_bytes()).collect()
        };
    }
    let bytes = match dtype {
        Dtype::Bool | Dtype::U8 | Dtype::I8 => dataset.read_raw_rows(start, count)?,
        Dtype::U16 => native!(read_u16_rows),
        Dtype::I16 => native!(read_i16_rows),
        Dtype::U32 => native!(read_u32_rows),
        Dtype::I32 => native!(read_i32_rows),
        Dtype::U64 => native!(read_u64_rows),
        Dtype::I64 => native!(read_i64_rows),
        Dtype::F32 => native!(read_f32_rows),
        Dtype::F64 => native!(read_f64_rows),
    };
    Ok(Elements { dtype, big_endian: false, bytes })
}

fn number_type(dtype: &DType) -> Result<Dtype> {
    Ok(match dtype {
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::U16 => Dtype::U16,
        DType::I16 => Dtype::I16,
        DType::U32 => Dtype::U32,
        DType::I32 => Dtype::I32,
        DType::U64 => Dtype::U64,
        DType::I64 => Dtype::I64,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        // h5py's bool.
        DType::Enum(names) if names.len() == 2 => Dtype::Bool,
        other => bail!("its type is {other}; expected numbers of 1 to 8 bytes"),
    })
}

/// In places the crate indexes by what a file says; a malicious file must not crash this program.
fn guard<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|_| bail!("the file is damaged: the HDF5 reader failed"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        fixture,
        write::{Column, Dataset, Numbers, hdf5},
    };

    /// `make_fixtures.py` fills image\[n, h, w\] = 7n + 3h + w and mask = image > 20 with h5py.
    fn expected(n: usize) -> (Vec<u8>, Vec<u8>) {
        let values = (0..4_usize).flat_map(|h| (0..5).map(move |w| (7 * n + 3 * h + w) as u8));
        let image: Vec<u8> = values.collect();
        let mask = image.iter().map(|&v| u8::from(v > 20)).collect();
        (image, mask)
    }

    #[test]
    fn parity_with_h5py_in_every_layout() {
        for name in ["contiguous", "chunked", "auto_chunked", "version_1_14"] {
            let file = Hdf5::open(&fixture(&format!("hdf5/{name}.h5"))).unwrap();
            let (image, mask) = (file.stack("image").unwrap(), file.stack("mask").unwrap());
            assert_eq!(image.shape, [6, 4, 5, 1], "{name}");
            let mut seen = Vec::new();
            image
                .planes(1..9, |index, plane| {
                    seen.push(index);
                    let pixels = plane.to_pixels(Intensity::Wrap, (0.0, 0.0)).unwrap();
                    assert_eq!(pixels.data, expected(index).0, "{name} {index}");
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, [1, 2, 3, 4, 5]);
            for n in [5, 0, 3] {
                assert_eq!(mask.labels(n).unwrap().data, expected(n).1, "{name} {n}");
                assert_eq!(image.pixels(n, Intensity::Wrap).unwrap().data, expected(n).0);
            }
            assert_eq!(file.strings("annot_id").unwrap(), ["1_", "1_", "22_", "22_", "3_é", ""]);
            assert_eq!(file.integers("frame_num").unwrap(), [1, 2, 1, 2, 1, -2]);
            assert_eq!(file.stack("group/float").unwrap().range().unwrap(), (-1.5, 300.0));
        }
    }

    #[test]
    fn errors_name_what_is_there() {
        let file = Hdf5::open(&fixture("hdf5/chunked.h5")).unwrap();
        let error = |e: anyhow::Error| format!("{e:#}");
        let missing = error(file.stack("images").unwrap_err());
        assert!(missing.contains("frame_num") && missing.contains("chunked.h5"), "{missing}");
        assert!(error(file.stack("frame_num").unwrap_err()).contains("(N, H, W)"));
        assert!(error(file.strings("frame_num").unwrap_err()).contains("not text"));
        assert!(error(file.integers("annot_id").unwrap_err()).contains("expected numbers"));
        assert!(error(file.integers("image").unwrap_err()).contains("one value per frame"));
        assert!(error(file.stack("image").unwrap().plane(6).unwrap_err()).contains("no plane 6"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5");
        fs::write(&path, b"no HDF5").unwrap();
        assert!(error(Hdf5::open(&path).unwrap_err()).contains("a.h5: cannot be read as HDF5"));
    }

    fn read_all(path: &Path) -> Result<()> {
        let file = Hdf5::open(path)?;
        file.stack("image")?.planes(0..6, |_, _| Ok(()))?;
        file.strings("annot_id").map(drop)
    }

    #[test]
    fn truncated_and_damaged_files_do_not_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5");
        let bytes = fs::read(fixture("hdf5/chunked.h5")).unwrap();
        read_all(&fixture("hdf5/chunked.h5")).unwrap();
        for len in (0..bytes.len() - 1).step_by(97) {
            fs::write(&path, &bytes[..len]).unwrap();
            drop(read_all(&path));
        }
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read_all(&path).is_err());
        let mut rng = sonotune_base::seed::Rng::at(8, &[]);
        for _ in 0..500 {
            let mut bad = bytes.clone();
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = rng.below(256) as u8;
            fs::write(&path, bad).unwrap();
            drop(read_all(&path));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5");
        let image: Vec<u8> = (0..24).collect();
        let sets = [
            Dataset { name: "image", shape: vec![4, 2, 3], numbers: Numbers::U8(&image) },
            Dataset { name: "frame_num", shape: vec![4], numbers: Numbers::I64(&[1, 2, 1, 2]) },
        ];
        let ids = [Column { name: "annot_id", texts: &["1_", "1_", "2_", "2_"] }];
        for chunked in [false, true] {
            hdf5(&path, &sets, &ids, chunked).unwrap();
            let file = Hdf5::open(&path).unwrap();
            let stack = file.stack("image").unwrap();
            assert_eq!(stack.pixels(2, Intensity::Wrap).unwrap().data, &image[12..18]);
            assert_eq!(file.strings("annot_id").unwrap(), ["1_", "1_", "2_", "2_"]);
            assert_eq!(file.integers("frame_num").unwrap(), [1, 2, 1, 2]);
        }
    }
}
