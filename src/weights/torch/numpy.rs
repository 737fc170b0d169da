//! A plain pickle of NumPy arrays, as detectron2 publishes weights: `{"model": {name: array}}`. The
//! arrays' bytes are within the pickle; only their position is recorded.

use std::{cell::Cell, collections::HashMap, fs::File, io::BufReader};

use anyhow::{Context, Result, ensure};

use super::{Archive, Contents, find_state_dict, rebuild::Found, state_dict::shortened};
use crate::{
    dtype::Dtype,
    entry::{Span, TensorEntry, row_major},
    pickle::{Id, Machine, Node},
};

/// What a pickle holds; `None` if that is not arrays.
///
/// # Errors
/// When it is damaged.
pub(crate) fn open(file: &File, file_len: u64, state_dict: &str) -> Result<Option<Contents>> {
    let (graph, root, _) = Machine::run_leaving_bytes(BufReader::new(file))?;
    let (storages, tensors, visits) = (HashMap::new(), HashMap::new(), Cell::default());
    let archive = Archive { graph, root, storages, tensors, visits };
    let arrays = (0..archive.graph.len()).filter(|&node| archive.is_array(node));
    if arrays.count() == 0 {
        return Ok(None);
    }
    let contents = find_state_dict(&archive, state_dict)?;
    for entry in &contents.entries {
        Span::checked(entry.storage.start, entry.storage.len, file_len)?;
    }
    Ok(Some(contents))
}

/// The description of an array that NumPy pickles.
struct Array<'a> {
    shape: Id,
    dtype: Id,
    columns_first: bool,
    data: &'a Node,
}

impl Archive {
    fn is_array(&self, node: Id) -> bool {
        self.parts(node).is_some_and(|array| matches!(array.data, Node::Stored { .. }))
    }

    /// The array that a node stands for, named `name`; `None` when it stands for none, or for one
    /// whose bytes were not left in place.
    pub(super) fn array(&self, node: Id, name: &str) -> Result<Option<Found>> {
        let Some(array) = self.parts(node) else { return Ok(None) };
        let &Node::Stored { start, len } = array.data else { return Ok(None) };
        let dtype = match self.array_dtype(array.dtype) {
            Ok(dtype) => dtype,
            Err(reason) => return Ok(Some(Found::Unreadable(reason))),
        };
        let items = self.graph.items(array.shape).context("its shape is not a tuple")?;
        ensure!(items.len() <= 64, "its shape has {} numbers", items.len());
        let shape: Vec<i64> = items
            .iter()
            .map(|&n| self.graph.int(n).context("its shape holds a non-integer"))
            .collect::<Result<_>>()?;
        let strides = if array.columns_first {
            let mut reversed = row_major(&shape.iter().rev().copied().collect::<Vec<_>>());
            reversed.reverse();
            reversed
        } else {
            row_major(&shape)
        };
        let name = name.to_owned();
        let storage = Span { start, len };
        let entry = TensorEntry { name, dtype, shape, strides, storage_offset: 0, storage };
        entry.check_layout()?;
        Ok(Some(Found::Tensor(entry)))
    }

    /// `_reconstruct` with the state `(version, shape, dtype, columns first, data)`, or, since
    /// pickle's protocol 5, `_frombuffer(data, dtype, shape, order)`.
    fn parts(&self, node: Id) -> Option<Array<'_>> {
        let (module, function, args) = self.graph.call(node)?;
        let submodule =
            module.strip_prefix("numpy.core.").or(module.strip_prefix("numpy._core."))?;
        match (submodule, function) {
            ("multiarray", "_reconstruct") => {
                let Node::Call(call) = self.graph.node(node) else { return None };
                let &[_version, shape, dtype, order, data] = self.graph.items(call.state?)? else {
                    return None;
                };
                let columns_first = matches!(self.graph.node(order), Node::Bool(true));
                Some(Array { shape, dtype, columns_first, data: self.graph.node(data) })
            }
            ("numeric", "_frombuffer") => {
                let &[data, dtype, shape, order, ..] = args else { return None };
                let columns_first = self.graph.str(order) == Some("F");
                Some(Array { shape, dtype, columns_first, data: self.graph.node(data) })
            }
            _ => None,
        }
    }

    /// `numpy.dtype("f4", …)` with the state `(version, byte order, …)`; else a description.
    fn array_dtype(&self, id: Id) -> Result<Dtype, String> {
        let unknown = || "an array of numbers of unknown type".to_owned();
        let Some(("numpy", "dtype", &[code, ..])) = self.graph.call(id) else {
            return Err(unknown());
        };
        let Node::Call(call) = self.graph.node(id) else { return Err(unknown()) };
        let state = call.state.and_then(|state| self.graph.items(state)).unwrap_or_default();
        let order = state.get(1).and_then(|&order| self.graph.str(order));
        let code = self.graph.str(code).unwrap_or_default();
        let dtype = match code {
            "b1" => Dtype::Bool,
            "u1" => Dtype::U8,
            "i1" => Dtype::I8,
            "i2" => Dtype::I16,
            "i4" => Dtype::I32,
            "i8" => Dtype::I64,
            "f2" => Dtype::F16,
            "f4" => Dtype::F32,
            "f8" => Dtype::F64,
            other => return Err(format!("an array of type {}", shortened(other))),
        };
        match order {
            Some("<" | "|" | "=") => Ok(dtype),
            _ => Err(format!("an array of type {code}, not little-endian")),
        }
    }
}
