//! Writes `.npy` files: arrays, and pickled dicts of them.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use super::{Numbers, check_shape};

/// Writes an array in C order.
///
/// # Errors
/// When shape and numbers do not match, or writing fails.
pub fn npy(path: &Path, shape: &[usize], numbers: Numbers) -> Result<()> {
    check_shape(shape, &numbers)?;
    let shape: String = shape.iter().map(|n| format!("{n},")).collect();
    let mut bytes = header(&format!("{}{}", order(&numbers), code(&numbers)), &shape)?;
    bytes.extend(numbers.le_bytes());
    Ok(fs::write(path, bytes)?)
}

/// One array of a dict of dicts.
#[derive(Debug, Clone)]
pub struct DictArray<'a> {
    /// Its keys, outermost first: `["structures", "artery"]`.
    pub keys: Vec<&'a str>,
    pub shape: Vec<usize>,
    pub numbers: Numbers<'a>,
}

/// Writes what `numpy.save(path, {…})` writes for a dict of arrays or of dicts of arrays: pickle
/// protocol 3, with the module names of NumPy 1.
///
/// # Errors
/// When a shape and its numbers do not match, a key path is empty, or writing fails.
pub fn npy_dict(path: &Path, arrays: &[DictArray]) -> Result<()> {
    for array in arrays {
        check_shape(&array.shape, &array.numbers)?;
        ensure!(!array.keys.is_empty(), "an array has no key");
    }
    let mut bytes = header("|O", "")?;
    bytes.extend(b"\x80\x03");
    reconstruct(&mut bytes);
    // State: version, shape (), dtype, C order, [dict].
    bytes.extend(b"(K\x01)");
    dtype(&mut bytes, "O8", "|");
    bytes.extend(b"\x89](");
    dict(&mut bytes, &arrays.iter().collect::<Vec<_>>(), 0);
    bytes.extend(b"etb.");
    Ok(fs::write(path, bytes)?)
}

fn dict(bytes: &mut Vec<u8>, arrays: &[&DictArray], depth: usize) {
    bytes.extend(b"}(");
    let mut names: Vec<&str> = arrays.iter().map(|array| array.keys[depth]).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|&name| seen.insert(name));
    for name in names {
        text(bytes, name);
        let of_name: Vec<_> = arrays.iter().copied().filter(|a| a.keys[depth] == name).collect();
        match of_name.as_slice() {
            [only] if only.keys.len() == depth + 1 => array(bytes, only),
            several => dict(bytes, several, depth + 1),
        }
    }
    bytes.push(b'u');
}

fn array(bytes: &mut Vec<u8>, array: &DictArray) {
    reconstruct(bytes);
    bytes.extend(b"(K\x01(");
    for &n in &array.shape {
        bytes.push(b'J');
        bytes.extend((n as i32).to_le_bytes());
    }
    bytes.push(b't');
    dtype(bytes, code(&array.numbers), order(&array.numbers));
    bytes.extend(b"\x89B");
    let data = array.numbers.le_bytes();
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.extend(b"tb");
}

fn reconstruct(bytes: &mut Vec<u8>) {
    bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R");
}

fn dtype(bytes: &mut Vec<u8>, code: &str, order: &str) {
    bytes.extend(b"cnumpy\ndtype\n");
    text(bytes, code);
    bytes.extend(b"\x89\x88\x87R(K\x03");
    text(bytes, order);
    // The last number holds the flags; 63 are those of objects, whose data are a list.
    let flags = if code.starts_with('O') { 63 } else { 0 };
    bytes.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK");
    bytes.push(flags);
    bytes.extend(b"tb");
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn order(numbers: &Numbers) -> &'static str {
    if matches!(numbers, Numbers::Bool(_) | Numbers::U8(_)) { "|" } else { "<" }
}

fn code(numbers: &Numbers) -> &'static str {
    match numbers {
        Numbers::Bool(_) => "b1",
        Numbers::U8(_) => "u1",
        Numbers::I16(_) => "i2",
        Numbers::U16(_) => "u2",
        Numbers::I64(_) => "i8",
        Numbers::F32(_) => "f4",
        Numbers::F64(_) => "f8",
    }
}

fn header(descr: &str, shape: &str) -> Result<Vec<u8>> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    // Numbers start at an offset that is a multiple of 64.
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len())?.to_le_bytes());
    bytes.extend(text.as_bytes());
    Ok(bytes)
}
