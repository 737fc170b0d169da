//! Computations recorded as graphs of libtorch's operators.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::{ShimError, ffi};

/// What to record.
#[derive(Debug, Clone, Copy)]
pub struct Recording<'a> {
    /// Name of the method.
    pub name: &'a str,
    /// Example inputs.
    pub inputs: &'a [Tensor],
    /// The same with other sizes where inputs may have any size; empty: all sizes are fixed.
    pub other_inputs: &'a [Tensor],
}

/// The computation to record.
pub type Body<'a> = &'a dyn Fn(&[Tensor]) -> Result<Vec<Tensor>, String>;

/// A TorchScript module whose methods are recorded.
#[derive(Debug)]
pub struct Script {
    handle: *mut c_void,
}

/// A recorded computation, as libtorch's own data.
struct Traced {
    handle: *mut c_void,
}

/// A recorded computation as data. Attributes are constants, and what no input changes is computed.
#[derive(Debug, Default)]
pub struct Graph {
    /// By the numbers that nodes refer to.
    pub values: Vec<Value>,
    pub nodes: Vec<Node>,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
}

/// A value of a graph.
#[derive(Debug, Default)]
pub struct Value {
    /// The sizes of a tensor; −1: as the inputs decide. `None`: not a tensor, or not known.
    pub sizes: Option<Vec<i64>>,
    /// Number format of a tensor.
    pub kind: Option<Kind>,
    pub constant: Option<Constant>,
}

/// A value that no input changes.
#[derive(Debug)]
pub enum Constant {
    None,
    /// An integer, a truth value, or the number of a dtype.
    Int(i64),
    Float(f64),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Text(String),
    Tensor(Tensor),
    Tensors(Vec<Tensor>),
    /// A device or another kind of value; says which.
    Other(String),
}

/// An operator and the values that it takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// `aten::conv2d`.
    pub operator: String,
    pub inputs: Vec<usize>,
    pub outputs: Vec<usize>,
}

impl Script {
    /// A module without methods. `variables` are its attributes, by name
    /// (`backbone.blocks.0.attn.qkv.weight`); they must not require gradients.
    ///
    /// # Errors
    /// Propagates errors from libtorch.
    pub fn new(variables: &[(String, Tensor)]) -> Result<Self, ShimError> {
        let names = variables.iter().map(|(name, _)| c_text(name.as_bytes()));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let variables = ffi::handles(variables.iter().map(|(_, tensor)| tensor));
        let mut handle = std::ptr::null_mut();
        // SAFETY: the arrays outlive the call; `handle` is written on success.
        ffi::check(unsafe {
            ffi::shim_script(variables.len(), names.as_ptr(), variables.as_ptr(), &mut handle)
        })?;
        Ok(Self { handle })
    }

    /// Runs `body` with the example inputs and adds a method that does the same; with `other_inputs` a second
    /// time, and sizes that differ become sizes of the inputs' own. Operators in place are recorded as their plain
    /// forms, kernels of this crate as libtorch's operators, tensors that are not attributes as constants.
    ///
    /// # Errors
    /// Propagates errors of `body`; when it takes another course for other sizes, or an operator cannot take
    /// sizes that the inputs decide.
    pub fn record(
        &mut self,
        recording: &Recording<'_>,
        body: Body<'_>,
    ) -> Result<Graph, ShimError> {
        let name = c_text(recording.name.as_bytes())?;
        let inputs = ffi::handles(recording.inputs);
        let others = ffi::handles(recording.other_inputs);
        if !others.is_empty() && others.len() != inputs.len() {
            return Err(ShimError(format!("{} inputs, but {} others", inputs.len(), others.len())));
        }
        let others = if others.is_empty() { std::ptr::null() } else { others.as_ptr() };
        let mut handle = std::ptr::null_mut();
        let mut body = body;
        // SAFETY: the arrays and the closure outlive the call; `handle` is written on success.
        ffi::check(unsafe {
            ffi::shim_script_record(
                self.handle,
                name.as_ptr(),
                inputs.len(),
                inputs.as_ptr(),
                others,
                std::ptr::from_mut(&mut body).cast(),
                call,
                &mut handle,
            )
        })?;
        Traced { handle }.graph()
    }

    /// Writes the module, with `text` as the file `name` in the archive (`_extra_files` of
    /// `torch.jit.load`).
    ///
    /// # Errors
    /// Propagates errors from libtorch, such as a path that cannot be written.
    pub fn save(&self, path: &Path, (name, text): (&str, &str)) -> Result<(), ShimError> {
        let path = c_text(path.as_os_str().as_encoded_bytes())?;
        let (name, text) = (c_text(name.as_bytes())?, c_text(text.as_bytes())?);
        // SAFETY: a live handle; the strings outlive the call.
        ffi::check(unsafe {
            ffi::shim_script_save(self.handle, path.as_ptr(), name.as_ptr(), text.as_ptr())
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { ffi::shim_script_free(self.handle) };
    }
}

fn c_text(bytes: &[u8]) -> Result<CString, ShimError> {
    CString::new(bytes).map_err(|e| ShimError(e.to_string()))
}

impl Traced {
    /// The graph as data.
    fn graph(&self) -> Result<Graph, ShimError> {
        let (mut text, mut count) = (std::ptr::null_mut(), 0);
        // SAFETY: a live handle; both are written on success.
        ffi::check(unsafe { ffi::shim_traced_graph(self.handle, &mut text, &mut count) })?;
        // SAFETY: the shim hands over a string of its own, freed once.
        let lines = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
        // SAFETY: see above.
        unsafe { ffi::shim_free(text) };
        let tensor = |index| {
            let mut out = std::ptr::null_mut();
            // SAFETY: a live handle; `out` is written on success.
            ffi::check(unsafe { ffi::shim_traced_tensor(self.handle, index, &mut out) })?;
            // SAFETY: a new tensor that nobody else owns.
            Ok(unsafe { Tensor::from_ptr(out) })
        };
        let tensors = (0..count).map(tensor).collect::<Result<Vec<_>, ShimError>>()?;
        lines.lines().try_fold(Graph::default(), |graph, line| graph.with(line, &tensors))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { ffi::shim_traced_free(self.handle) };
    }
}

impl Graph {
    /// Adds what a line of the shim says.
    fn with(mut self, line: &str, tensors: &[Tensor]) -> Result<Self, ShimError> {
        let fields: Vec<_> = line.split('\t').collect();
        let parsed = match *fields.as_slice() {
            ["value", id] => self.value(id).map(drop),
            ["value", id, kind, sizes] => self.value(id).and_then(|value| {
                value.kind = kind_of(kind.parse().ok()?);
                value.sizes = Some(numbers(sizes)?);
                Some(())
            }),
            ["constant", id, form, ..] => {
                let content = line.splitn(4, '\t').nth(3).unwrap_or_default();
                let constant = constant(form, content, tensors);
                self.value(id).and_then(|value| {
                    value.constant = Some(constant?);
                    Some(())
                })
            }
            ["node", operator, inputs, outputs] => {
                numbers(inputs).zip(numbers(outputs)).map(|(inputs, outputs)| {
                    self.nodes.push(Node { operator: operator.to_owned(), inputs, outputs });
                })
            }
            ["inputs", ids] => numbers(ids).map(|ids| self.inputs = ids),
            ["outputs", ids] => numbers(ids).map(|ids| self.outputs = ids),
            // The rest of a text with line feeds.
            _ => Some(()),
        };
        parsed.map(|()| self).ok_or_else(|| ShimError(format!("cannot read the graph: {line}")))
    }

    fn value(&mut self, id: &str) -> Option<&mut Value> {
        let id: usize = id.parse().ok()?;
        if id >= self.values.len() {
            self.values.resize_with(id + 1, Value::default);
        }
        self.values.get_mut(id)
    }
}

fn constant(form: &str, content: &str, tensors: &[Tensor]) -> Option<Constant> {
    Some(match form {
        "none" => Constant::None,
        "int" => Constant::Int(content.parse().ok()?),
        "float" => Constant::Float(content.parse().ok()?),
        "ints" => Constant::Ints(numbers(content)?),
        "floats" => Constant::Floats(numbers(content)?),
        "text" => Constant::Text(content.to_owned()),
        "tensor" => Constant::Tensor(tensors.get(content.parse::<usize>().ok()?)?.shallow_clone()),
        "tensors" => {
            let [first, count] = *numbers::<usize>(content)?.as_slice() else { return None };
            let tensors = tensors.get(first..first + count)?;
            Constant::Tensors(tensors.iter().map(Tensor::shallow_clone).collect())
        }
        _ => Constant::Other(content.to_owned()),
    })
}

/// The dtype that libtorch gives a number (`c10::ScalarType`).
#[must_use]
pub fn kind_of(number: i64) -> Option<Kind> {
    Some(match number {
        0 => Kind::Uint8,
        1 => Kind::Int8,
        2 => Kind::Int16,
        3 => Kind::Int,
        4 => Kind::Int64,
        5 => Kind::Half,
        6 => Kind::Float,
        7 => Kind::Double,
        11 => Kind::Bool,
        15 => Kind::BFloat16,
        _ => return None,
    })
}

/// Separated by commas.
fn numbers<N: std::str::FromStr>(text: &str) -> Option<Vec<N>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|number| number.parse().ok()).collect()
}

/// # Safety
/// `data` is a live `&dyn Fn` of [`Script::record`], `inputs` an array of `count` live tensors, `results` what
/// the shim expects back.
unsafe extern "C" fn call(
    data: *mut c_void,
    inputs: *mut *mut C_tensor,
    count: usize,
    results: *mut c_void,
) -> *mut c_char {
    // A panic must not cross into C++.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: see above; the clones share the tensors without owning C++'s handles.
        let body = unsafe { *data.cast::<Body<'_>>() };
        let inputs: Vec<_> = (0..count)
            // SAFETY: see above.
            .map(|i| unsafe { Tensor::clone_from_ptr(*inputs.add(i)) })
            .collect();
        body(&inputs)
    }));
    let message = match ran {
        Ok(Ok(tensors)) => {
            for tensor in &tensors {
                // SAFETY: copies the live handle's tensor.
                unsafe { ffi::shim_push_result(results, tensor.as_ptr().cast_mut()) };
            }
            return std::ptr::null_mut();
        }
        Ok(Err(message)) => message,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&t| t.to_owned()));
            text.unwrap_or_else(|| "the traced computation panicked".to_owned())
        }
    };
    // SAFETY: C++ frees the message with `free`, so it comes from `strdup`.
    unsafe { ffi::strdup(CString::new(message).unwrap_or_default().as_ptr()) }
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
