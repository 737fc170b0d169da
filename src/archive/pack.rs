//! Writes archives for tests and miniature datasets. The same entries give the same bytes.

use std::{
    io::{Cursor, Write},
    path::Path,
};

use anyhow::{Context, Result};
use flate2::{Compression, Crc, write::GzEncoder};
use sevenz_rust2::{ArchiveEntry, ArchiveWriter};
use zip::{ZipWriter, write::SimpleFileOptions};

/// How entries are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Deflated.
    Zip,
    Tar,
    TarGz,
    /// LZMA2, all entries in one stream.
    SevenZ,
    /// RAR 5, uncompressed: no free program compresses to rar.
    RarStored,
    /// An uncompressed zip, split into parts of this many bytes beside it: `x.z01`, `x.z02`, …; the
    /// file itself is the last one.
    SplitZip {
        part_bytes: usize,
    },
}

/// Packs `entries`, each a path with `/` and its content, into `out`; for a split zip also into the
/// parts beside it.
///
/// # Errors
/// When a file cannot be written, or two entries have the same path.
pub fn pack(format: Format, entries: &[(String, Vec<u8>)], out: &Path) -> Result<()> {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    for (name, bytes) in pack_files(format, entries, &name)? {
        sonotune_base::fs::atomic_write(&out.with_file_name(name), &bytes)?;
    }
    Ok(())
}

/// Like [`pack`], but returns the name and bytes of each file, with `name` last, for use as entries
/// of another archive.
///
/// # Errors
/// When two entries have the same path.
pub fn pack_files(
    format: Format,
    entries: &[(String, Vec<u8>)],
    name: &str,
) -> Result<Vec<(String, Vec<u8>)>> {
    let whole = match format {
        Format::Zip => zip(entries)?,
        Format::Tar => tar(entries, Vec::new())?,
        Format::TarGz => tar(entries, GzEncoder::new(Vec::new(), Compression::default()))?
            .finish()
            .context("gzip")?,
        Format::SevenZ => seven_z(entries)?,
        Format::RarStored => rar(entries),
        Format::SplitZip { part_bytes } => return Ok(split_zip(entries, name, part_bytes)),
    };
    Ok(vec![(name.to_owned(), whole)])
}

fn zip(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in entries {
        zip.start_file(path, SimpleFileOptions::default())?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn tar<W: Write>(entries: &[(String, Vec<u8>)], out: W) -> Result<W> {
    let mut tar = tar::Builder::new(out);
    for (path, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

fn seven_z(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut writer = ArchiveWriter::new(Cursor::new(Vec::new()))?;
    let files = entries.iter().map(|(path, _)| ArchiveEntry::new_file(path)).collect();
    let contents = entries.iter().map(|(_, bytes)| bytes.as_slice().into()).collect();
    writer.push_archive_entries(files, contents)?;
    Ok(writer.finish()?.into_inner())
}

/// Signature, a main header, the files and an end header: *RAR 5.0 archive format*, rarlab.com.
fn rar(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"Rar!\x1a\x07\x01\0".to_vec();
    rar_block(&mut out, &[1, 0, 0], &[]);
    for (path, bytes) in entries {
        rar_file(&mut out, path, bytes, crc(bytes));
    }
    rar_block(&mut out, &[5, 0, 0], &[]);
    out
}

/// One stored file of a RAR 5 archive, with the checksum as given.
pub(super) fn rar_file(out: &mut Vec<u8>, path: &str, bytes: &[u8], crc: u32) {
    const DATA_FOLLOWS: u8 = 2;
    const HAS_CRC: u8 = 4;
    const HOST_UNIX: u8 = 1;
    let mut header = vec![2, DATA_FOLLOWS];
    vint(&mut header, bytes.len());
    header.push(HAS_CRC);
    vint(&mut header, bytes.len());
    vint(&mut header, 0o100_644);
    header.extend_from_slice(&crc.to_le_bytes());
    header.extend_from_slice(&[0, HOST_UNIX]);
    vint(&mut header, path.len());
    header.extend_from_slice(path.as_bytes());
    rar_block(out, &header, bytes);
}

/// A header's checksum and size, the header, then its data.
pub(super) fn rar_block(out: &mut Vec<u8>, header: &[u8], data: &[u8]) {
    let mut sized = Vec::new();
    vint(&mut sized, header.len());
    sized.extend_from_slice(header);
    out.extend_from_slice(&crc(&sized).to_le_bytes());
    out.extend_from_slice(&sized);
    out.extend_from_slice(data);
}

/// Seven bits per byte, lowest first; the eighth says that more follow.
fn vint(out: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Parts of exactly `part_bytes`, as `zip -s` writes them, cut wherever they are full; only the end
/// record stays in one piece, in the last part.
fn split_zip(
    entries: &[(String, Vec<u8>)],
    name: &str,
    part_bytes: usize,
) -> Vec<(String, Vec<u8>)> {
    let part_bytes = part_bytes.max(1);
    let mut run = b"PK\x07\x08".to_vec();
    let mut directory = Vec::new();
    for (path, bytes) in entries {
        let at = run.len();
        let common = zip_fields(path, bytes);
        run.extend_from_slice(b"PK\x03\x04");
        run.extend_from_slice(&common);
        run.extend_from_slice(path.as_bytes());
        run.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 2]);
        directory.extend_from_slice(&((at / part_bytes) as u16).to_le_bytes());
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&((at % part_bytes) as u32).to_le_bytes());
        directory.extend_from_slice(path.as_bytes());
    }
    let at = run.len();
    run.extend_from_slice(&directory);
    let last = run.len() / part_bytes;
    let count = (entries.len() as u16).to_le_bytes();
    let mut end = b"PK\x05\x06".to_vec();
    end.extend_from_slice(&(last as u16).to_le_bytes());
    end.extend_from_slice(&((at / part_bytes) as u16).to_le_bytes());
    end.extend_from_slice(&[count, count].concat());
    end.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    end.extend_from_slice(&((at % part_bytes) as u32).to_le_bytes());
    end.extend_from_slice(&[0; 2]);
    let stem = super::source::stem(name);
    let parts = (0..last).map(|i| {
        let part = run[i * part_bytes..(i + 1) * part_bytes].to_vec();
        (format!("{stem}.z{:02}", i + 1), part)
    });
    let mut parts: Vec<_> = parts.collect();
    parts.push((name.to_owned(), [&run[last * part_bytes..], &end].concat()));
    parts
}

/// The fields from the version needed to the length of the extra field, equal in both headers of a file.
fn zip_fields(path: &str, bytes: &[u8]) -> Vec<u8> {
    const NEW_YEAR_1980: [u8; 4] = [0, 0, 0x21, 0];
    let len = (bytes.len() as u32).to_le_bytes();
    let mut fields = vec![20, 0, 0, 0, 0, 0];
    fields.extend_from_slice(&NEW_YEAR_1980);
    fields.extend_from_slice(&crc(bytes).to_le_bytes());
    fields.extend_from_slice(&[len, len].concat());
    fields.extend_from_slice(&(path.len() as u16).to_le_bytes());
    fields.extend_from_slice(&[0; 2]);
    fields
}
