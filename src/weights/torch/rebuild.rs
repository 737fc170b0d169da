//! The pickled calls that represent tensors and storages.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

use super::{Archive, state_dict::shortened, tar::key_text};
use crate::{
    dtype::Dtype,
    entry::{Span, TensorEntry},
    pickle::{Graph, Id, Node},
};

/// What a node is, if it represents a tensor.
pub(super) enum Found {
    Tensor(TensorEntry),
    /// A tensor of an unsupported kind; says which.
    Unreadable(String),
}

impl Archive {
    /// The tensor that a node represents, named `name`; `None` if it does not represent one.
    pub(super) fn tensor(&self, node: Id, name: &str) -> Result<Option<Found>> {
        self.rebuild(node, name).with_context(|| format!("tensor `{name}`"))
    }

    fn rebuild(&self, mut node: Id, name: &str) -> Result<Option<Found>> {
        // A parameter wraps a tensor, a subclass wraps a call: a few layers at most.
        for _ in 0..8 {
            if let Node::Persistent(key) = *self.graph.node(node) {
                if self.tensors.is_empty() {
                    return Ok(None);
                }
                let Ok(key) = key_text(&self.graph, key) else { return Ok(None) };
                let entry = self.tensors.get(&key).cloned();
                let renamed =
                    entry.map(|e| Found::Tensor(TensorEntry { name: name.to_owned(), ..e }));
                return Ok(renamed);
            }
            let Some((module, function, args)) = self.graph.call(node) else { return Ok(None) };
            if module.starts_with("numpy.") {
                return self.array(node, name);
            }
            match (module, function, args) {
                (
                    "torch._utils",
                    "_rebuild_parameter" | "_rebuild_parameter_with_state",
                    &[data, ..],
                )
                | ("torch.nn.parameter", "Parameter" | "Buffer", &[data, ..]) => node = data,
                ("torch._tensor", "_rebuild_from_type_v2", &[function, _class, args, ..]) => {
                    let (Some((_, name_of)), Some(args)) =
                        (self.graph.global(function), self.graph.items(args))
                    else {
                        return Ok(None);
                    };
                    return self.rebuild_plain(name_of, args, name);
                }
                ("torch._utils" | "torch._tensor", function, args) => {
                    return self.rebuild_plain(function, args, name);
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn rebuild_plain(&self, function: &str, args: &[Id], name: &str) -> Result<Option<Found>> {
        let dtype_at = match function {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => None,
            "_rebuild_tensor_v3" => Some(6),
            other if other.starts_with("_rebuild_") => {
                return Ok(Some(Found::Unreadable(format!(
                    "a tensor of an unsupported kind ({})",
                    shortened(other)
                ))));
            }
            _ => return Ok(None),
        };
        let &[storage, offset, shape, strides, ..] = args else {
            bail!("{function} has {} arguments, expected at least 4", args.len());
        };
        let explicit = match dtype_at {
            None => None,
            Some(at) => {
                let node = *args.get(at).context("_rebuild_tensor_v3 names no dtype")?;
                let (_, dtype) = self.graph.global(node).context("its dtype is not a name")?;
                let Some(dtype) = Dtype::from_torch_name(dtype) else {
                    return Ok(Some(Found::Unreadable(format!(
                        "numbers of type {}",
                        shortened(dtype)
                    ))));
                };
                Some(dtype)
            }
        };
        let storage = match self.storage(storage, explicit)? {
            Ok(storage) => storage,
            Err(reason) => return Ok(Some(Found::Unreadable(reason))),
        };
        let ints = |id, what: &str| -> Result<Vec<i64>> {
            let items = self.sizes(id).with_context(|| format!("its {what} is not a tuple"))?;
            ensure!(items.len() <= 64, "its {what} has {} numbers", items.len());
            items
                .iter()
                .map(|&n| {
                    self.graph.int(n).with_context(|| format!("its {what} holds a non-integer"))
                })
                .collect()
        };
        let entry = TensorEntry {
            name: name.to_owned(),
            dtype: storage.1,
            shape: ints(shape, "shape")?,
            strides: ints(strides, "strides")?,
            storage_offset: self
                .graph
                .int(offset)
                .context("its storage offset is not an integer")?,
            storage: storage.0,
        };
        entry.check_layout()?;
        Ok(Some(Found::Tensor(entry)))
    }

    /// A tuple, or `torch.Size` of one.
    fn sizes(&self, id: Id) -> Option<&[Id]> {
        match self.graph.call(id) {
            Some(("torch", "Size", &[inner])) => self.graph.items(inner),
            _ => self.graph.items(id),
        }
    }

    /// Bytes and number format of a storage; the reason if the format is not supported.
    fn storage(&self, node: Id, dtype: Option<Dtype>) -> Result<Result<(Span, Dtype), String>> {
        // `TypedStorage` objects wrap the persistent one.
        let Some(id) = StorageId::of(&self.graph, node) else {
            bail!("its storage is not a storage")
        };
        let dtype = match dtype.map_or_else(|| storage_class_dtype(&self.graph, id.class), Ok) {
            Ok(dtype) => dtype,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let key = id.key;
        let whole = *self
            .storages
            .get(key)
            .with_context(|| format!("its storage {key} is not in the file"))?;
        let Some(view) = id.view else { return Ok(Ok((whole, dtype))) };
        let Some(&[_key, offset, size]) = self.graph.items(view) else {
            bail!("its storage view is not described by a triple");
        };
        let bytes = |id| {
            let n = u64::try_from(self.graph.int(id)?).ok()?;
            n.checked_mul(dtype.size())
        };
        let (Some(offset), Some(size)) = (bytes(offset), bytes(size)) else {
            bail!("its storage view has a bad offset or size");
        };
        let start = whole.start.checked_add(offset).context("its storage view overflows")?;
        Ok(Ok((Span::checked(start, size, whole.start + whole.len)?, dtype)))
    }
}

/// The tuple by which a pickle names a storage outside it.
struct StorageId<'a> {
    class: Id,
    key: &'a str,
    view: Option<Id>,
}

impl<'a> StorageId<'a> {
    fn of(graph: &'a Graph, node: Id) -> Option<Self> {
        let Node::Persistent(id) = *graph.node(node) else { return None };
        let items = graph.items(id)?;
        let &[tag, class, key, _location, _numel, ..] = items else { return None };
        if graph.str(tag) != Some("storage") {
            return None;
        }
        let view = items.get(5).copied().filter(|&view| !matches!(graph.node(view), Node::None));
        // Keys are numbers and addresses. Looking a longer one up for many tensors would take hours.
        let key = graph.str(key).filter(|key| key.len() <= 256)?;
        Some(Self { class, key, view })
    }
}

/// Number format of every storage a pickle names; the older file forms give lengths in elements.
pub(super) fn storage_dtypes(graph: &Graph) -> HashMap<String, Dtype> {
    let mut dtypes = HashMap::new();
    for node in 0..graph.len() {
        if let Some(id) = StorageId::of(graph, node)
            && let Ok(dtype) = storage_class_dtype(graph, id.class)
        {
            dtypes.entry(id.key.to_owned()).or_insert(dtype);
        }
    }
    dtypes
}

/// `torch.FloatStorage`, `torch.cuda.FloatStorage`, or an untyped one, which is counted in bytes.
pub(super) fn storage_class_dtype(graph: &Graph, class: Id) -> Result<Dtype> {
    let (module, name) = graph.global(class).context("its storage has no class")?;
    ensure!(
        matches!(module, "torch" | "torch.cuda" | "torch.storage"),
        "a storage of class {}.{}",
        shortened(module),
        shortened(name)
    );
    if name == "UntypedStorage" {
        return Ok(Dtype::U8);
    }
    Dtype::from_storage_class(name)
        .with_context(|| format!("numbers of type {}", shortened(name.trim_end_matches("Storage"))))
}
