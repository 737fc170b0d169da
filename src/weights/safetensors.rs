//! `.safetensors`: an eight-byte length, a JSON header, then the tensors' bytes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Metadata, TensorInfo};
use tch::Tensor;

use super::{
    bytes::{bytes, in_tensor},
    dtype::Dtype,
    entry::{Span, TensorEntry},
    torch::{Contents, OtherContent},
};
use sonotune_base::{Error, fs::atomic_write_with};

/// The format's own limit on its header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Whether a file that begins with `head` can be one: a plausible length, then `{`.
pub(super) fn is(head: &[u8], file_len: u64) -> bool {
    header_len(head).is_some_and(|len| len + 8 <= file_len) && head.get(8) == Some(&b'{')
}

fn header_len(head: &[u8]) -> Option<u64> {
    let len = u64::from_le_bytes(head.get(..8)?.try_into().ok()?);
    (len <= MAX_HEADER_BYTES).then_some(len)
}

/// Lists the tensors, and returns the file's own metadata.
pub(super) fn open(file: &File, file_len: u64) -> Result<(Contents, BTreeMap<String, String>)> {
    let mut head = [0; 8];
    file.read_exact_at(&mut head, 0)?;
    let header_len = header_len(&head).context("its header's length is not plausible")?;
    Span::checked(8, header_len, file_len).context("in the header")?;
    let mut header = vec![0; usize::try_from(header_len)?];
    file.read_exact_at(&mut header, 8)?;
    let header: Metadata = serde_json::from_slice(&header).context("in the JSON header")?;
    let mut tensors: Vec<_> = header.tensors().into_iter().collect();
    // In the file's order, so that reading all of it is sequential.
    tensors.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    let mut contents = Contents::default();
    for (name, info) in tensors {
        match entry(&name, info, 8 + header_len, file_len)
            .with_context(|| format!("tensor `{name}`"))?
        {
            Some(entry) => contents.entries.push(entry),
            None => contents
                .others
                .push(OtherContent { what: format!("numbers of type {:?}", info.dtype), name }),
        }
    }
    let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
    Ok((contents, metadata.collect()))
}

fn entry(
    name: &str,
    info: &TensorInfo,
    data_start: u64,
    file_len: u64,
) -> Result<Option<TensorEntry>> {
    let Some(dtype) = Dtype::from_safetensors(info.dtype) else { return Ok(None) };
    let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    let len = end.checked_sub(begin).context("it ends before it begins")?;
    let start = data_start.checked_add(begin).context("its position overflows")?;
    let span = Span::checked(start, len, file_len)?;
    let shape = info
        .shape
        .iter()
        .map(|&n| i64::try_from(n).context("its shape overflows"))
        .collect::<Result<Vec<_>>>()?;
    let entry = TensorEntry::contiguous(name.to_owned(), dtype, shape, span).check()?;
    ensure!(
        entry.nbytes() == len,
        "its shape {:?} of {dtype} takes {} bytes, the header gives {len}",
        entry.shape,
        entry.nbytes()
    );
    Ok(Some(entry))
}

/// Writes named tensors and text metadata, atomically, with the names sorted.
///
/// Tensors may be on any device and laid out in any way; they are copied one at a time.
///
/// # Errors
/// When the file cannot represent a number format or cannot be written.
pub fn save_safetensors(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let header = header(tensors, metadata)
        .map_err(|error| Error::weights(format!("cannot write {}: {error:#}", path.display())))?;
    atomic_write_with(path, |out| {
        out.write_all(&(header.json.len() as u64).to_le_bytes())?;
        out.write_all(&header.json)?;
        for &index in &header.order {
            let (name, tensor) = &tensors[index];
            out.write_all(&bytes(tensor).map_err(|error| in_tensor(name, &error))?)?;
        }
        Ok(())
    })
}

/// Bytes of the file that [`save_safetensors`] would write.
///
/// # Errors
/// When the file cannot represent a number format.
pub fn safetensors_len(
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<u64> {
    let header = header(tensors, metadata)?;
    let bytes = |(_, tensor): &(String, Tensor)| -> Result<u64> {
        Ok((tensor.numel() * tensor.f_kind()?.elt_size_in_bytes()) as u64)
    };
    let data: u64 = tensors.iter().map(bytes).sum::<Result<u64>>()?;
    Ok(8 + header.json.len() as u64 + data)
}

struct Header {
    json: Vec<u8>,
    /// Indices of the tensors in the order of their bytes.
    order: Vec<usize>,
}

fn header(tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Header> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    let dtypes = tensors
        .iter()
        .map(|(name, tensor)| {
            let kind = tensor.f_kind()?;
            Dtype::from_kind(kind)
                .with_context(|| format!("tensor `{name}` holds {kind:?}, which cannot be stored"))
        })
        .collect::<Result<Vec<_>>>()?;
    // Wide formats first: every tensor is then aligned to its element.
    order.sort_by(|&a, &b| {
        (dtypes[b].size(), dtypes[b], &tensors[a].0).cmp(&(
            dtypes[a].size(),
            dtypes[a],
            &tensors[b].0,
        ))
    });
    let mut names = HashSet::new();
    let mut infos = Vec::with_capacity(tensors.len());
    let mut end = 0usize;
    for &index in &order {
        let (name, tensor) = &tensors[index];
        ensure!(names.insert(name), "two tensors are named `{name}`");
        let shape: Vec<usize> =
            tensor.size().iter().map(|&n| usize::try_from(n)).collect::<Result<_, _>>()?;
        let begin = end;
        end += tensor.numel() * usize::try_from(dtypes[index].size())?;
        let dtype = dtypes[index].to_safetensors();
        infos.push((name.clone(), TensorInfo { dtype, shape, data_offsets: (begin, end) }));
    }
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let header = Metadata::new(Some(metadata), infos)?;
    let mut json = serde_json::to_vec(&header)?;
    // The bytes begin at a multiple of eight.
    json.resize(json.len().next_multiple_of(8), b' ');
    Ok(Header { json, order })
}
