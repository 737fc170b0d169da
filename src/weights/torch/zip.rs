//! The zip form: `<name>/data.pkl`, one stored record `<name>/data/<key>` per storage.

use std::{cell::Cell, collections::HashMap, fs::File, io::BufReader};

use anyhow::{Context, Result, bail, ensure};
use zip::{CompressionMethod, ZipArchive};

use super::{super::entry::Span, Archive};
use crate::pickle::Machine;

pub(super) fn open(file: &File, file_len: u64) -> Result<Archive> {
    let mut zip = ZipArchive::new(BufReader::new(file)).context(
        "the zip directory at the file's end is missing or damaged; is the file cut off?",
    )?;
    let folder = folder(&zip)?;
    refuse_big_endian(&mut zip, &folder)?;
    let storages = storages(&mut zip, &folder, file_len)?;
    let pickle = zip.by_name(&format!("{folder}data.pkl"))?;
    let (graph, root, _) = Machine::run(BufReader::new(pickle)).context("in data.pkl")?;
    Ok(Archive { graph, root, storages, tensors: HashMap::new(), visits: Cell::default() })
}

/// The folder that holds everything, with a trailing slash; named after the file it was first saved as.
fn folder(zip: &ZipArchive<BufReader<&File>>) -> Result<String> {
    let mut folders = Vec::new();
    for name in zip.file_names_raw() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if let Some(folder) = name.strip_suffix("data.pkl")
            && (folder.is_empty() || folder.find('/') == Some(folder.len() - 1))
        {
            folders.push(folder.to_owned());
        }
        ensure!(
            !name.ends_with("/constants.pkl"),
            "it is a TorchScript archive (torch.jit.save), which holds code besides the weights; \
             in Python: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
        );
    }
    match folders.as_slice() {
        [folder] => Ok(folder.clone()),
        [] => bail!("it is a zip archive without data.pkl, so torch.save did not write it"),
        _ => bail!("it holds several data.pkl: {}", folders.join(", ")),
    }
}

fn refuse_big_endian(zip: &mut ZipArchive<BufReader<&File>>, folder: &str) -> Result<()> {
    // Files before PyTorch 2.1 have no such record and were little-endian in practice.
    let Some(index) = zip.index_for_name(&format!("{folder}byteorder")) else { return Ok(()) };
    let mut order = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(zip.by_index(index)?, 16), &mut order)
        .context("in its byteorder record")?;
    ensure!(
        order.trim() == "little",
        "its numbers are stored {}-endian; only little-endian files are read. Load and save it \
         again with PyTorch on a little-endian machine",
        order.trim()
    );
    Ok(())
}

fn storages(
    zip: &mut ZipArchive<BufReader<&File>>,
    folder: &str,
    file_len: u64,
) -> Result<HashMap<String, Span>> {
    let prefix = format!("{folder}data/");
    let mut storages = HashMap::new();
    for index in 0..zip.len() {
        let record = zip.by_index_raw(index).with_context(|| format!("zip record {index}"))?;
        let name = record.name()?.into_owned();
        let Some(key) = name.strip_prefix(&prefix) else { continue };
        ensure!(
            record.compression() == CompressionMethod::Stored && !record.encrypted(),
            "record {name} is compressed or encrypted, which torch.save never does; unpack it and \
             save it again with torch.save"
        );
        ensure!(
            record.size() == record.compressed_size(),
            "record {name} has two different sizes, {} and {}",
            record.size(),
            record.compressed_size()
        );
        let start =
            record.data_start().with_context(|| format!("record {name} has no position"))?;
        let span = Span::checked(start, record.size(), file_len)
            .with_context(|| format!("record {name}"))?;
        storages.insert(key.to_owned(), span);
    }
    Ok(storages)
}
