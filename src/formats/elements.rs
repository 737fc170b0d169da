//! Numbers as a file stores them, and their conversion to 8-bit pixels or labels.

use anyhow::{Context, Result, bail};
use sonotune_base::Error;

use crate::{Intensity, Pixels};

/// Type of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// True and false: 1 and 0 as labels, 255 and 0 as grey levels unless they are wrapped.
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Dtype {
    /// Size in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// Bytes with the type and byte order of the numbers they encode. They stay as the file stores
/// them: a volume of 350 MB would be 2.8 GB as `f64`.
#[derive(Debug, Clone)]
pub(super) struct Elements {
    pub(super) dtype: Dtype,
    pub(super) big_endian: bool,
    pub(super) bytes: Vec<u8>,
}

/// A walk through elements: its start, and for rows, columns and channels their number and the
/// stride in elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) start: usize,
    pub(super) rows: (usize, usize),
    pub(super) columns: (usize, usize),
    pub(super) channels: (usize, usize),
}

impl Walk {
    fn is_contiguous(&self) -> bool {
        let (channels, columns) = (self.channels.0, self.columns.0);
        (channels == 1 || self.channels.1 == 1)
            && (columns == 1 || self.columns.1 == channels)
            && (self.rows.0 == 1 || self.rows.1 == columns * channels)
    }

    fn indices(self) -> impl Iterator<Item = usize> + Clone {
        let Self { start, rows, columns, channels } = self;
        (0..rows.0).flat_map(move |r| {
            (0..columns.0).flat_map(move |c| {
                (0..channels.0).map(move |k| start + r * rows.1 + c * columns.1 + k * channels.1)
            })
        })
    }
}

/// One number of `$type` at index `$i`.
macro_rules! number {
    ($self:ident, $i:expr, $type:ty) => {{
        const SIZE: usize = size_of::<$type>();
        let mut bytes = [0; SIZE];
        let at = $i * SIZE;
        bytes.copy_from_slice(&$self.bytes[at..at + SIZE]);
        if $self.big_endian { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) }
    }};
}

impl Elements {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// The numbers along a walk, which must stay within bounds.
    pub(super) fn walk(&self, walk: Walk) -> Values {
        let count = walk.rows.0 * walk.columns.0 * walk.channels.0;
        if self.dtype == Dtype::U8 && walk.is_contiguous() {
            return Values::U8(self.bytes[walk.start..walk.start + count].to_vec());
        }
        self.collect(walk.indices())
    }

    fn collect(&self, indices: impl Iterator<Item = usize> + Clone) -> Values {
        macro_rules! ints {
            ($type:ty) => {
                Values::Int(indices.map(|i| i64::from(number!(self, i, $type))).collect())
            };
        }
        match self.dtype {
            Dtype::Bool => Values::Bool(indices.map(|i| self.bytes[i] != 0).collect()),
            Dtype::U8 => Values::U8(indices.map(|i| self.bytes[i]).collect()),
            Dtype::I8 => ints!(i8),
            Dtype::U16 => ints!(u16),
            Dtype::I16 => ints!(i16),
            Dtype::U32 => ints!(u32),
            Dtype::I32 => ints!(i32),
            Dtype::I64 => ints!(i64),
            Dtype::U64 => {
                let exact = indices.clone().map(|i| i64::try_from(number!(self, i, u64)).ok());
                match exact.collect() {
                    Some(ints) => Values::Int(ints),
                    None => Values::Float(indices.map(|i| number!(self, i, u64) as f64).collect()),
                }
            }
            Dtype::F32 => {
                Values::Float(indices.map(|i| f64::from(number!(self, i, f32))).collect())
            }
            Dtype::F64 => Values::Float(indices.map(|i| number!(self, i, f64)).collect()),
        }
    }

    /// Smallest and largest finite number; `None` when there is none.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        // In parts, to avoid a second copy of a large volume.
        const PART: usize = 1 << 16;
        let mut range: Option<(f64, f64)> = None;
        for start in (0..self.len()).step_by(PART) {
            let part = self.collect(start..(start + PART).min(self.len()));
            if let Some((low, high)) = part.range() {
                range = Some(range.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
            }
        }
        range
    }
}

/// Numbers, represented exactly.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Bool(Vec<bool>),
    U8(Vec<u8>),
    Int(Vec<i64>),
    Float(Vec<f64>),
}

impl Values {
    /// The numbers as `f64`, changed by `change`.
    pub(super) fn changed(self, change: impl Fn(f64) -> f64) -> Self {
        Self::Float(match self {
            Self::Bool(values) => {
                values.into_iter().map(|v| change(f64::from(u8::from(v)))).collect()
            }
            Self::U8(values) => values.into_iter().map(|v| change(f64::from(v))).collect(),
            Self::Int(values) => values.into_iter().map(|v| change(v as f64)).collect(),
            Self::Float(values) => values.into_iter().map(change).collect(),
        })
    }

    /// The position of the first number that `intensity` cannot turn into a grey level.
    fn first_without_level(&self, intensity: Intensity) -> Option<(usize, f64)> {
        let Self::Float(values) = self else { return None };
        let has_none = |value: f64| match intensity {
            Intensity::Wrap => false,
            Intensity::Exact => !value.is_finite(),
            Intensity::Clip | Intensity::Range | Intensity::Window(_) => value.is_nan(),
        };
        values.iter().copied().enumerate().find(|&(_, value)| has_none(value))
    }

    fn range(&self) -> Option<(f64, f64)> {
        fn of(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
            values.filter(|v| v.is_finite()).fold(None, |range, v| {
                Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
            })
        }
        match self {
            Self::Bool(values) => of(values.iter().map(|&v| f64::from(u8::from(v)))),
            Self::U8(values) => of(values.iter().map(|&v| f64::from(v))),
            Self::Int(values) => of(values.iter().map(|&v| v as f64)),
            Self::Float(values) => of(values.iter().copied()),
        }
    }
}

/// One plane of a volume, of an array or of a stack of images: `[H, W, C]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    pub height: usize,
    pub width: usize,
    /// 3 for colour, otherwise 1.
    pub channels: usize,
    pub values: Values,
}

impl Plane {
    /// Converts to 8-bit grey levels or colours. `range` is that of the whole file, or of what is known of
    /// it; [`Intensity::Range`] and [`Intensity::Exact`] use it.
    ///
    /// # Errors
    /// When the plane has neither 1 nor 3 channels, a size beyond `u32`, numbers that
    /// [`Intensity::Exact`] refuses, or NaN, except with [`Intensity::Wrap`].
    pub fn to_pixels(&self, intensity: Intensity, range: (f64, f64)) -> Result<Pixels> {
        if self.channels != 1 && self.channels != 3 {
            return Err(Error::data(format!(
                "an image has 1 or 3 channels (grey or RGB), this one has {}",
                self.channels
            ))
            .into());
        }
        let is_bool = matches!(self.values, Values::Bool(_));
        if !is_bool {
            intensity.check_range(range)?;
        }
        if let Some((at, value)) = self.values.first_without_level(intensity) {
            let (row, column) = self.place(at);
            bail!(Error::data(format!(
                "row {row}, column {column} holds {value}, which has no grey level; replace it in the file, \
                 or set the spec's `intensity` to \"wrap\", which takes NaN as 0"
            )));
        }
        let data = match (&self.values, intensity) {
            (Values::Bool(values), _) => {
                let light = if intensity == Intensity::Wrap { 1 } else { 255 };
                values.iter().map(|&v| u8::from(v) * light).collect()
            }
            (Values::U8(values), Intensity::Wrap | Intensity::Clip | Intensity::Exact) => {
                values.clone()
            }
            (Values::U8(values), _) => {
                let table: Vec<u8> =
                    (0..=255).map(|v| intensity.apply(f64::from(v), range)).collect();
                values.iter().map(|&v| table[usize::from(v)]).collect()
            }
            (Values::Int(values), Intensity::Wrap | Intensity::Exact) => {
                values.iter().map(|&v| v as u8).collect()
            }
            (Values::Int(values), _) => {
                values.iter().map(|&v| intensity.apply(v as f64, range)).collect()
            }
            (Values::Float(values), _) => {
                values.iter().map(|&v| intensity.apply(v, range)).collect()
            }
        };
        self.pixels(data)
    }

    /// Converts to labels, whole numbers from 0 to 255.
    ///
    /// # Errors
    /// Names a value that is not a label, and where it is.
    pub fn to_labels(&self) -> Result<Pixels> {
        if self.channels != 1 {
            let channels = self.channels;
            return Err(Error::data(format!("labels have 1 channel, these have {channels}")).into());
        }
        let no_label = |i: usize, value: &dyn std::fmt::Display| {
            let (row, column) = self.place(i);
            Error::data(format!(
                "row {row}, column {column} holds {value}; labels are whole numbers from 0 to 255"
            ))
        };
        let data = match &self.values {
            Values::Bool(values) => values.iter().map(|&v| u8::from(v)).collect(),
            Values::U8(values) => values.clone(),
            Values::Int(values) => values
                .iter()
                .enumerate()
                .map(|(i, &v)| u8::try_from(v).map_err(|_| no_label(i, &v)))
                .collect::<Result<_, _>>()?,
            Values::Float(values) => values
                .iter()
                .enumerate()
                .map(
                    |(i, &v)| {
                        if f64::from(v as u8) == v { Ok(v as u8) } else { Err(no_label(i, &v)) }
                    },
                )
                .collect::<Result<_, _>>()?,
        };
        self.pixels(data)
    }

    /// Row and column of a value.
    fn place(&self, at: usize) -> (usize, usize) {
        let row = (self.width * self.channels).max(1);
        (at / row, at % row / self.channels.max(1))
    }

    /// Smallest and largest finite number; both 0 if there is none.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        self.values.range().unwrap_or_default()
    }

    /// The labels as whole numbers, with their full depth.
    ///
    /// # Errors
    /// Names a value that is not a whole number from 0 to 4294967295, and where it is.
    pub fn to_numbers(&self) -> Result<Vec<u32>> {
        let exact = |(i, value): (usize, f64)| {
            if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) {
                return Ok(value as u32);
            }
            let (row, column) = self.place(i);
            bail!(Error::data(format!(
                "row {row}, column {column} holds {value}; labels are whole numbers from 0"
            )))
        };
        match &self.values {
            Values::Bool(values) => Ok(values.iter().map(|&v| u32::from(v)).collect()),
            Values::U8(values) => Ok(values.iter().map(|&v| u32::from(v)).collect()),
            Values::Int(values) => {
                values.iter().map(|&v| v as f64).enumerate().map(exact).collect()
            }
            Values::Float(values) => values.iter().copied().enumerate().map(exact).collect(),
        }
    }

    fn pixels(&self, data: Vec<u8>) -> Result<Pixels> {
        let side = |n: usize| {
            u32::try_from(n)
                .with_context(|| format!("a side of {n} pixels is too large for an image"))
        };
        Ok(Pixels {
            height: side(self.height)?,
            width: side(self.width)?,
            channels: self.channels,
            data,
        })
    }
}
