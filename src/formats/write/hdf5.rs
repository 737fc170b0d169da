//! Writes HDF5 files with top-level datasets.

use std::path::Path;

use anyhow::{Result, bail};
use hdf5_pure::FileBuilder;

use super::{Numbers, check_shape};

/// A dataset of numbers.
#[derive(Debug, Clone)]
pub struct Dataset<'a> {
    pub name: &'a str,
    pub shape: Vec<usize>,
    pub numbers: Numbers<'a>,
}

/// A dataset of texts of variable length.
#[derive(Debug, Clone)]
pub struct Column<'a> {
    pub name: &'a str,
    pub texts: &'a [&'a str],
}

/// Writes datasets, contiguous or as shuffled and deflated chunks of one plane each.
///
/// # Errors
/// When a shape and its numbers do not match, or writing fails.
pub fn hdf5(path: &Path, sets: &[Dataset], columns: &[Column], chunked: bool) -> Result<()> {
    let mut builder = FileBuilder::new();
    for set in sets {
        check_shape(&set.shape, &set.numbers)?;
        let shape: Vec<u64> = set.shape.iter().map(|&n| n as u64).collect();
        let dataset = builder.create_dataset(set.name);
        match set.numbers {
            Numbers::U8(v) => dataset.with_u8_data(v),
            Numbers::I16(v) => dataset.with_i16_data(v),
            Numbers::U16(v) => dataset.with_u16_data(v),
            Numbers::I64(v) => dataset.with_i64_data(v),
            Numbers::F32(v) => dataset.with_f32_data(v),
            Numbers::F64(v) => dataset.with_f64_data(v),
            Numbers::Bool(_) => bail!("HDF5 has no bool"),
        };
        dataset.with_shape(&shape);
        if chunked && shape.len() > 1 {
            let mut chunk = shape.clone();
            chunk[0] = 1;
            dataset.with_chunks(&chunk).with_shuffle().with_deflate(6);
        }
    }
    for column in columns {
        builder
            .create_dataset(column.name)
            .with_vlen_strings(column.texts)
            .with_shape(&[column.texts.len() as u64]);
    }
    Ok(builder.write(path)?)
}
