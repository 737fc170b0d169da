//! Writes NIfTI-1 and MetaImage files.

use std::{fs::File, io::Write, path::Path};

use anyhow::{Result, bail};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use super::{Numbers, check_shape};

/// Writes a NIfTI-1 file, gzipped if its name ends in `.gz`. `shape` has the slowest axis first:
/// (z, y, x) or (t, z, y, x).
///
/// # Errors
/// When shape and numbers do not match, NIfTI has no code for the type, or writing fails.
pub fn nifti(path: &Path, shape: &[usize], numbers: Numbers) -> Result<()> {
    check_shape(shape, &numbers)?;
    let (code, bits) = match numbers {
        Numbers::U8(_) => (2, 8),
        Numbers::I16(_) => (4, 16),
        Numbers::F32(_) => (16, 32),
        Numbers::F64(_) => (64, 64),
        Numbers::U16(_) => (512, 16),
        Numbers::I64(_) => (1024, 64),
        Numbers::Bool(_) => bail!("NIfTI has no bool of one byte"),
    };
    let mut header = vec![0; 352];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348_i32.to_le_bytes());
    for (i, n) in [shape.len()].iter().chain(shape.iter().rev()).enumerate() {
        put(40 + 2 * i, &i16::try_from(*n)?.to_le_bytes());
        put(76 + 4 * i, &1_f32.to_le_bytes());
    }
    put(70, &i16::to_le_bytes(code));
    put(72, &i16::to_le_bytes(bits));
    put(108, &352_f32.to_le_bytes());
    put(112, &1_f32.to_le_bytes());
    put(344, b"n+1\0");
    let mut file = File::create(path)?;
    if path.extension().is_some_and(|e| e == "gz") {
        let mut packed = GzEncoder::new(file, Compression::default());
        packed.write_all(&header)?;
        packed.write_all(&numbers.le_bytes())?;
        packed.finish()?;
    } else {
        file.write_all(&header)?;
        file.write_all(&numbers.le_bytes())?;
    }
    Ok(())
}

/// Writes a MetaImage in one file (`.mha`). `shape` has the slowest axis first.
///
/// # Errors
/// Same errors as [`nifti`].
pub fn metaimage(path: &Path, shape: &[usize], numbers: Numbers, compressed: bool) -> Result<()> {
    check_shape(shape, &numbers)?;
    let element = match numbers {
        Numbers::U8(_) => "MET_UCHAR",
        Numbers::I16(_) => "MET_SHORT",
        Numbers::U16(_) => "MET_USHORT",
        Numbers::I64(_) => "MET_LONG_LONG",
        Numbers::F32(_) => "MET_FLOAT",
        Numbers::F64(_) => "MET_DOUBLE",
        Numbers::Bool(_) => bail!("MetaImage has no bool"),
    };
    let mut data = numbers.le_bytes();
    if compressed {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&data)?;
        data = packed.finish()?;
    }
    let sizes: Vec<_> = shape.iter().rev().map(ToString::to_string).collect();
    let mut header = format!(
        "ObjectType = Image\nNDims = {}\nBinaryData = True\nBinaryDataByteOrderMSB = False\n",
        shape.len()
    );
    if compressed {
        header += &format!("CompressedData = True\nCompressedDataSize = {}\n", data.len());
    }
    header += &format!("ElementSpacing = {}\n", vec!["1"; shape.len()].join(" "));
    header += &format!("DimSize = {}\nElementType = {element}\n", sizes.join(" "));
    header += "ElementDataFile = LOCAL\n";
    let mut file = File::create(path)?;
    file.write_all(header.as_bytes())?;
    file.write_all(&data)?;
    Ok(())
}
