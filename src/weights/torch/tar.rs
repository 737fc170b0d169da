//! The tar form of PyTorch before 0.1.10: members `storages`, `tensors` and `pickle`.

use std::{cell::Cell, collections::HashMap, fs::File, io::BufReader};

use anyhow::{Context, Result, ensure};

use super::{Archive, legacy::Pickles, rebuild::storage_class_dtype};
use crate::{
    dtype::Dtype,
    entry::{Span, TensorEntry},
    pickle::{Graph, Id, Node},
};

pub(super) fn open(file: &File, file_len: u64) -> Result<Archive> {
    let members = members(file, file_len)?;
    let member = |name: &str| {
        members.get(name).copied().with_context(|| {
            format!("it is a tar archive without member `{name}`, so torch.save did not write it")
        })
    };
    let storages =
        read_storages(file, member("storages")?).context("in the tar member `storages`")?;
    let tensors =
        read_tensors(file, member("tensors")?, &storages).context("in the tar member `tensors`")?;
    let (graph, root) = Pickles::new(file, member("pickle")?.start)?
        .next()
        .context("in the tar member `pickle`")?;
    Ok(Archive { graph, root, storages: HashMap::new(), tensors, visits: Cell::default() })
}

fn members(file: &File, file_len: u64) -> Result<HashMap<String, Span>> {
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek().context("the tar directory is damaged")? {
        let entry = entry.context("the tar directory is damaged")?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let span = Span::checked(entry.raw_file_position(), entry.size(), file_len)
            .with_context(|| format!("tar member {name}"))?;
        members.insert(name.trim_start_matches("./").to_owned(), span);
    }
    Ok(members)
}

type Storages = HashMap<String, (Span, Dtype)>;

fn read_storages(file: &File, member: Span) -> Result<Storages> {
    let end = member.start + member.len;
    let mut pickles = Pickles::new(file, member.start)?;
    let (graph, root) = pickles.next()?;
    let count = graph.int(root).context("the number of storages is not an integer")?;
    let mut storages = Storages::new();
    for _ in 0..count {
        let (graph, root) = pickles.next()?;
        let Some(&[key, _location, class]) = graph.items(root) else {
            anyhow::bail!("a storage is not described by a triple");
        };
        let dtype = storage_class_dtype(&graph, class)?;
        let key = key_text(&graph, key)?;
        let elements = u64::from_le_bytes(pickles.array()?);
        let len = elements
            .checked_mul(dtype.size())
            .with_context(|| format!("storage {key} overflows"))?;
        let span =
            Span::checked(pickles.position, len, end).with_context(|| format!("storage {key}"))?;
        pickles.skip(len)?;
        storages.insert(key, (span, dtype));
    }
    let (graph, root) = pickles.next()?;
    for &view in graph.items(root).context("the storage views are not a list")? {
        add_view(&graph, view, &mut storages)?;
    }
    Ok(storages)
}

fn add_view(graph: &Graph, view: Id, storages: &mut Storages) -> Result<()> {
    let Some(&[target, root, offset, numel]) = graph.items(view) else {
        anyhow::bail!("a storage view is not described by four values");
    };
    let root = key_text(graph, root)?;
    let &(span, dtype) =
        storages.get(&root).with_context(|| format!("a view of the unknown storage {root}"))?;
    let bytes = |id| {
        graph
            .int(id)
            .and_then(|n| u64::try_from(n).ok())
            .and_then(|n| n.checked_mul(dtype.size()))
            .context("a storage view has a bad offset or size")
    };
    let start = span.start.checked_add(bytes(offset)?).context("a storage view overflows")?;
    let view = Span::checked(start, bytes(numel)?, span.start + span.len)?;
    storages.insert(key_text(graph, target)?, (view, dtype));
    Ok(())
}

fn read_tensors(
    file: &File,
    member: Span,
    storages: &Storages,
) -> Result<HashMap<String, TensorEntry>> {
    let mut pickles = Pickles::new(file, member.start)?;
    let (graph, root) = pickles.next()?;
    let count = graph.int(root).context("the number of tensors is not an integer")?;
    let mut tensors = HashMap::new();
    for _ in 0..count {
        let (graph, root) = pickles.next()?;
        let Some(&[key, storage, _class]) = graph.items(root) else {
            anyhow::bail!("a tensor is not described by a triple");
        };
        let storage = key_text(&graph, storage)?;
        let &(span, dtype) = storages.get(&storage).with_context(|| {
            format!("a tensor refers to storage {storage}, which the file does not hold")
        })?;
        let ndim = i32::from_le_bytes(pickles.array()?);
        ensure!((0..=64).contains(&ndim), "a tensor has {ndim} dimensions");
        // The number of dimensions was once written as eight bytes.
        pickles.array::<4>()?;
        let shape = words(&mut pickles, ndim)?;
        let strides = words(&mut pickles, ndim)?;
        let storage_offset = i64::from_le_bytes(pickles.array()?);
        let name = key_text(&graph, key)?;
        let entry = TensorEntry {
            name: name.clone(),
            dtype,
            shape,
            strides,
            storage_offset,
            storage: span,
        };
        tensors.insert(name, entry.check()?);
    }
    Ok(tensors)
}

fn words(pickles: &mut Pickles, count: i32) -> Result<Vec<i64>> {
    (0..count).map(|_| pickles.array().map(i64::from_le_bytes)).collect()
}

/// Keys are addresses: integers as a rule, sometimes text.
pub(super) fn key_text(graph: &Graph, key: Id) -> Result<String> {
    match graph.node(key) {
        Node::Int(value) => Ok(value.to_string()),
        Node::Str(text) if text.len() <= 256 => Ok(text.to_string()),
        Node::BigInt(bytes) if bytes.len() <= 16 => Ok(format!("{bytes:?}")),
        Node::Str(_) | Node::BigInt(_) => anyhow::bail!("a key is too long for an address"),
        other => anyhow::bail!("a key is {other:?}, expected an integer"),
    }
}
