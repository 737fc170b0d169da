//! A Python dict of NumPy arrays, saved with `numpy.save`: the `.npy` file then holds a pickle.
//!
//! The pickle is read as data; nothing that it names is imported or called.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Seek},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use sonotune_base::{
    Error,
    pickle::{Graph, Id, Machine, Node},
};

use super::{
    elements::Elements,
    npy::{Array, Header, number_type},
};

/// Most bytes of arrays per byte of the file; more than 1 is possible when names share an array.
const MAX_UNFOLDED: u64 = 16;

/// Reads the arrays of the dict found under `keys` in the pickled dict of a `.npy` file:
/// with `["structures"]` those of `{"structures": {"artery": array, …}}`.
///
/// # Errors
/// [`sonotune_base::ErrorKind::Data`] with the path: no such file, a missing key (the message lists the keys
/// that exist), or a value that is not an array of numbers.
pub fn read_arrays(path: &Path, keys: &[&str]) -> Result<BTreeMap<String, Array>> {
    read(path, keys).map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
}

fn read(path: &Path, keys: &[&str]) -> Result<BTreeMap<String, Array>> {
    let mut file = File::open(path).context("cannot be opened")?;
    let header = Header::read(&mut file)?;
    ensure!(
        header.is_object() && header.shape.is_empty(),
        "it holds an array of type {} and shape {:?}; expected a pickled dict, which is a single \
         object",
        header.descr,
        header.shape
    );
    let len = file.metadata().context("cannot be read")?.len();
    file.stream_position().context("cannot be read")?;
    let (graph, root, _) = Machine::run(BufReader::new(file)).context("its pickle")?;
    let pickle = Pickle { graph };
    let mut node = pickle.single_object(root)?;
    for (depth, key) in keys.iter().enumerate() {
        node = pickle.graph.get(node, key).with_context(|| {
            let place =
                if depth == 0 { String::new() } else { format!(" in {:?}", keys[depth - 1]) };
            let there: Vec<_> = pickle.names(node).take(20).collect();
            format!("it has no key {key:?}{place}; its keys are {there:?}")
        })?;
    }
    pickle.ensure_dict(node, keys)?;
    let mut arrays = BTreeMap::new();
    let mut unfolded = 0;
    for (name, value) in pickle.graph.pairs(node) {
        let name = pickle.graph.str(name).context("one of its keys is not text")?;
        let array = pickle.array(value).with_context(|| format!("its array {name:?}"))?;
        // Any number of names may refer to one array.
        unfolded += array.num_bytes();
        ensure!(
            unfolded <= MAX_UNFOLDED.saturating_mul(len),
            "its arrays unfold to more than {MAX_UNFOLDED} times the file"
        );
        arrays.insert(name.to_owned(), array);
    }
    Ok(arrays)
}

struct Pickle {
    graph: Graph,
}

impl Pickle {
    /// `numpy.save` pickles an array that holds the object, not the object itself.
    fn single_object(&self, root: Id) -> Result<Id> {
        let Some((_, _, state)) = self.reconstructed(root) else { return Ok(root) };
        match self.graph.items(state.data) {
            Some(&[object]) => Ok(object),
            _ => bail!("its pickle is not an array of one object"),
        }
    }

    fn names(&self, dict: Id) -> impl Iterator<Item = String> {
        self.graph
            .pairs(dict)
            .into_iter()
            .map(|(key, _)| self.graph.str(key).unwrap_or("(not text)").to_owned())
    }

    fn ensure_dict(&self, node: Id, keys: &[&str]) -> Result<()> {
        let place = keys.last().map_or_else(|| "it".to_owned(), |key| format!("its {key:?}"));
        let is_dict = match self.graph.node(node) {
            Node::Dict(_) => true,
            Node::Call(_) => self.reconstructed(node).is_none(),
            _ => false,
        };
        ensure!(is_dict, "{place} is not a dict of arrays");
        Ok(())
    }

    /// The call `_reconstruct` with the state `(version, shape, dtype, columns first, data)`.
    fn reconstructed(&self, node: Id) -> Option<(bool, Vec<Id>, State)> {
        let (module, function, _) = self.graph.call(node)?;
        // NumPy 2 renamed `core`.
        let ours = matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray");
        if !ours || function != "_reconstruct" {
            return None;
        }
        let Node::Call(call) = self.graph.node(node) else { return None };
        let &[_version, shape, dtype, order, data] = self.graph.items(call.state?)? else {
            return None;
        };
        let columns_first = matches!(self.graph.node(order), Node::Bool(true));
        Some((columns_first, self.graph.items(shape)?.to_vec(), State { dtype, data }))
    }

    fn array(&self, node: Id) -> Result<Array> {
        let (fortran, shape, state) = match self.reconstructed(node) {
            Some(parts) => parts,
            None => self.buffered(node).context("is not an array")?,
        };
        ensure!(shape.len() <= 32, "claims {} axes", shape.len());
        let shape: Vec<usize> = shape
            .iter()
            .map(|&n| self.graph.int(n).and_then(|n| usize::try_from(n).ok()))
            .collect::<Option<_>>()
            .context("has an invalid shape")?;
        let (dtype, big_endian) = number_type(&self.descr(state.dtype)?)?;
        let bytes = self.bytes(state.data).context("has no bytes")?;
        Array::new(shape, fortran, Elements { dtype, big_endian, bytes })
    }

    /// Protocol 5: `_frombuffer(data, dtype, shape, order)`.
    fn buffered(&self, node: Id) -> Option<(bool, Vec<Id>, State)> {
        let (module, function, args) = self.graph.call(node)?;
        let ours = matches!(module, "numpy.core.numeric" | "numpy._core.numeric");
        let &[data, dtype, shape, order, ..] = args else { return None };
        let columns_first = self.graph.str(order) == Some("F");
        let parts = (columns_first, self.graph.items(shape)?.to_vec(), State { dtype, data });
        (ours && function == "_frombuffer").then_some(parts)
    }

    /// `numpy.dtype("f4", …)` with the state `(version, byte order, …)`, in NumPy's short form.
    fn descr(&self, dtype: Id) -> Result<String> {
        let Some(("numpy", "dtype", &[code, ..])) = self.graph.call(dtype) else {
            bail!("has no number type");
        };
        let Node::Call(call) = self.graph.node(dtype) else { bail!("has no number type") };
        let state = call.state.and_then(|state| self.graph.items(state)).unwrap_or_default();
        let order = state.get(1).and_then(|&order| self.graph.str(order)).unwrap_or("|");
        Ok(format!("{order}{}", self.graph.str(code).context("has no number type")?))
    }

    /// Protocols before 3 do not have bytes: Python 3 then writes the call
    /// `_codecs.encode(text, "latin1")`, Python 2 a string of the bytes themselves.
    fn bytes(&self, data: Id) -> Option<Vec<u8>> {
        match self.graph.node(data) {
            Node::Bytes(bytes) => Some(bytes.to_vec()),
            _ => match self.graph.call(data)? {
                ("_codecs", "encode", &[text, ..]) => {
                    self.graph.str(text)?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
                }
                // An empty array.
                ("builtins" | "__builtin__", "bytes", &[]) => Some(Vec::new()),
                _ => None,
            },
        }
    }
}

/// The parts of an array that are looked up further.
struct State {
    dtype: Id,
    data: Id,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        fixture,
        write::{DictArray, Numbers, npy_dict},
    };

    /// The fixtures hold the same dict: `{"image": …, "structures": {"artery": [[0, 1, 0], [1, 1,
    /// 0]] as u8, "liver": its transpose in Fortran order as f64, "stomach": `artery` as bool,
    /// "vein": `artery` × 200 as big-endian i8}}`.
    #[test]
    fn parity_with_numpy_in_every_protocol_and_spelling() {
        for name in ["protocol_2", "protocol_3", "protocol_4", "protocol_5", "numpy_1"] {
            let path = fixture(&format!("arrays/dict_{name}.npy"));
            let arrays = read_arrays(&path, &["structures"]).unwrap();
            let labels = |name: &str| arrays[name].labels(0).unwrap();
            assert_eq!(arrays.keys().collect::<Vec<_>>(), ["artery", "liver", "stomach", "vein"]);
            assert_eq!(labels("artery").data, [0, 1, 0, 1, 1, 0], "{name}");
            assert_eq!(labels("stomach").data, [0, 1, 0, 1, 1, 0], "{name}");
            assert_eq!(labels("vein").data, [0, 200, 0, 200, 200, 0], "{name}");
            let liver = labels("liver");
            assert_eq!((liver.height, liver.width), (3, 2));
            assert_eq!(liver.data, [0, 1, 1, 1, 0, 0], "{name}");
        }
    }

    #[test]
    fn missing_keys_name_those_that_are_there() {
        let path = fixture("arrays/dict_protocol_4.npy");
        let error = |keys: &[&str]| read_arrays(&path, keys).unwrap_err().to_string();
        assert!(error(&["masks"]).contains("[\"image\", \"structures\"]"), "{}", error(&["masks"]));
        assert!(error(&["structures", "x"]).contains("no key \"x\" in \"structures\""));
        assert!(error(&["image"]).contains("is not a dict"), "{}", error(&["image"]));
        let plain = read_arrays(&fixture("arrays/u1.npy"), &[]).unwrap_err().to_string();
        assert!(plain.contains("expected a pickled dict"), "{plain}");
        assert!(Array::open(&path).unwrap_err().to_string().contains("pickled dict"));
    }

    #[test]
    fn truncated_and_damaged_pickles_are_errors_or_arrays_but_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for name in ["protocol_2", "protocol_5"] {
            let bytes = fs::read(fixture(&format!("arrays/dict_{name}.npy"))).unwrap();
            for len in 0..bytes.len() {
                fs::write(&path, &bytes[..len]).unwrap();
                assert!(read_arrays(&path, &["structures"]).is_err(), "{len} bytes");
            }
            let mut rng = sonotune_base::seed::Rng::at(4, &[]);
            for _ in 0..500 {
                let mut bad = bytes.clone();
                let at = rng.below(bad.len() as u64) as usize;
                bad[at] = rng.below(256) as u8;
                fs::write(&path, bad).unwrap();
                if let Ok(arrays) = read_arrays(&path, &["structures"]) {
                    arrays.values().for_each(|array| drop(array.plane(0)));
                }
            }
        }
    }

    /// A dict of this many names for one array of 4,000 bytes, pickled once.
    fn sharing(names: u8) -> Vec<u8> {
        let numpy = fs::read(fixture("arrays/dict_protocol_5.npy")).unwrap();
        let header = 10 + usize::from(u16::from_le_bytes([numpy[8], numpy[9]]));
        let mut file = numpy[..header].to_vec();
        file.extend(b"\x80\x03}(");
        for name in 0..names {
            file.extend([b'X', 1, 0, 0, 0, b'0' + name]);
            if name > 0 {
                file.extend(b"h\0");
                continue;
            }
            file.extend(b"cnumpy.core.numeric\n_frombuffer\n(B");
            file.extend(4000u32.to_le_bytes());
            file.extend([1; 4000]);
            file.extend(b"cnumpy\ndtype\n(X\x02\0\0\0u1tR(M\xa0\x0ftX\x01\0\0\0CtRq\0");
        }
        file.extend(b"u.");
        file
    }

    #[test]
    fn names_that_share_an_array_cannot_fill_the_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        fs::write(&path, sharing(10)).unwrap();
        let arrays = read_arrays(&path, &[]).unwrap();
        assert_eq!((arrays.len(), arrays["9"].num_bytes()), (10, 4000));
        fs::write(&path, sharing(40)).unwrap();
        let error = read_arrays(&path, &[]).unwrap_err().to_string();
        assert!(error.contains("unfold to more than 16 times the file"), "{error}");
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let array = |name, numbers| DictArray {
            keys: vec!["structures", name],
            shape: vec![2, 1],
            numbers,
        };
        let arrays = [
            array("artery", Numbers::U8(&[1, 0])),
            DictArray { keys: vec!["image"], shape: vec![1], numbers: Numbers::F64(&[0.5]) },
            array("vein", Numbers::Bool(&[true, true])),
        ];
        npy_dict(&path, &arrays).unwrap();
        let read = read_arrays(&path, &["structures"]).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read["artery"].labels(0).unwrap().data, [1, 0]);
        assert_eq!(read["vein"].labels(0).unwrap().data, [1, 1]);
    }
}
