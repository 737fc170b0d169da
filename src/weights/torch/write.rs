//! Writes the zip form, with the minimum that `torch.load(..., weights_only=True)` accepts.

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use tch::Tensor;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{
    bytes::{bytes, in_tensor},
    dtype::Dtype,
    entry::row_major,
};
use sonotune_base::{Error, fs::atomic_write_with};

/// Writes named tensors as a state dict that Python's `torch.load` opens, atomically.
///
/// # Errors
/// When the file cannot represent a number format or cannot be written.
pub fn save_torch(path: &Path, tensors: &[(String, Tensor)]) -> Result<()> {
    let pickle = pickle(tensors)
        .map_err(|error| Error::weights(format!("cannot write {}: {error:#}", path.display())))?;
    atomic_write_with(path, |out| {
        let mut zip = ZipWriter::new(out);
        // PyTorch aligns its records so that they can be mapped into memory.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(64);
        let mut record = |name: &str, content: &[u8]| -> io::Result<()> {
            let large = content.len() as u64 >= u64::from(u32::MAX);
            zip.start_file(format!("archive/{name}"), options.large_file(large))?;
            zip.write_all(content)
        };
        record("data.pkl", &pickle)?;
        record("byteorder", b"little")?;
        for (key, (name, tensor)) in tensors.iter().enumerate() {
            let bytes = bytes(tensor).map_err(|error| in_tensor(name, &error))?;
            record(&format!("data/{key}"), &bytes)?;
        }
        record("version", b"3\n")?;
        zip.finish()?;
        Ok(())
    })
}

/// `OrderedDict` of calls of `_rebuild_tensor_v2`, in protocol 2.
fn pickle(tensors: &[(String, Tensor)]) -> Result<Vec<u8>> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (key, (name, tensor)) in tensors.iter().enumerate() {
        let kind = tensor.f_kind()?;
        let dtype = Dtype::from_kind(kind)
            .with_context(|| format!("tensor `{name}` holds {kind:?}, which cannot be stored"))?;
        let shape = tensor.size();
        text(&mut out, name)?;
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage")?;
        out.extend(format!("ctorch\n{}\n", dtype.storage_class()).bytes());
        text(&mut out, &key.to_string())?;
        text(&mut out, "cpu")?;
        int(&mut out, i64::try_from(tensor.numel())?);
        out.extend(b"tQ");
        int(&mut out, 0);
        tuple(&mut out, &shape);
        tuple(&mut out, &row_major(&shape));
        // requires_grad, then the hooks.
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    Ok(out)
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.push(b'X');
    out.extend(u32::try_from(text.len())?.to_le_bytes());
    out.extend(text.bytes());
    Ok(())
}

fn int(out: &mut Vec<u8>, value: i64) {
    match i32::try_from(value) {
        Ok(value) => {
            out.push(b'J');
            out.extend(value.to_le_bytes());
        }
        Err(_) => {
            out.extend(b"\x8a\x08");
            out.extend(value.to_le_bytes());
        }
    }
}

fn tuple(out: &mut Vec<u8>, values: &[i64]) {
    out.push(b'(');
    for &value in values {
        int(out, value);
    }
    out.push(b't');
}
