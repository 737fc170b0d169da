//! A file of weights, opened: what it holds is listed, nothing is read until asked for.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;
use sonotune_base::words::question;
use tch::Tensor;

use super::{
    entry::TensorEntry,
    safetensors,
    torch::{Contents, Form, OtherContent, find_state_dict, open_numpy},
};
use sonotune_base::Error;

/// Kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    Safetensors,
    /// `torch.save` since PyTorch 1.6.
    TorchZip,
    /// `torch.save` before, or `_use_new_zipfile_serialization=False`.
    TorchLegacy,
    /// `torch.save` of 2016.
    TorchTar,
    /// `pickle.dump` of NumPy arrays, as detectron2 publishes weights.
    NumpyPickle,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip => "PyTorch (zip)",
            Self::TorchLegacy => "PyTorch (legacy)",
            Self::TorchTar => "PyTorch (tar)",
            Self::NumpyPickle => "pickle of NumPy arrays",
        })
    }
}

/// An open file of weights.
#[derive(Debug)]
pub struct WeightsFile {
    file: File,
    path: PathBuf,
    container: Container,
    file_len: u64,
    contents: Contents,
    metadata: BTreeMap<String, String>,
    index: HashMap<String, usize>,
}

/// Opens a `.pth` or `.safetensors` file; the content decides the kind, not the name.
///
/// Lists the tensors without reading them. Nothing in the file is executed.
///
/// # Errors
/// When the file cannot be read, is of an unknown kind, is damaged or holds no tensor.
pub fn open(path: &Path) -> Result<WeightsFile> {
    open_state_dict(path, None)
}

/// Same as [`open`], with the dotted path of the state dict within the file, or the start of its
/// tensors' names (`model_ema`); `None`: it is looked for.
///
/// # Errors
/// Same errors as [`open`]; also when there is no tensor under that path.
pub fn open_state_dict(path: &Path, state_dict: Option<&str>) -> Result<WeightsFile> {
    let state_dict = state_dict.unwrap_or_default().trim_end_matches('.');
    WeightsFile::open(path, state_dict)
        .map_err(|error| Error::weights(format!("{}: {error:#}", path.display())).into())
}

impl WeightsFile {
    fn open(path: &Path, state_dict: &str) -> Result<Self> {
        let file = File::open(path).context("cannot open it")?;
        let meta = file.metadata()?;
        anyhow::ensure!(meta.is_file(), "not a regular file");
        let file_len = meta.len();
        let mut head = vec![0; file_len.min(512) as usize];
        file.read_exact_at(&mut head, 0)?;
        let (container, contents, metadata) = if let Some(form) = Form::of(&head) {
            let container = match form {
                Form::Zip => Container::TorchZip,
                Form::Legacy => Container::TorchLegacy,
                Form::Tar => Container::TorchTar,
            };
            let archive = form.open(&file, file_len)?;
            (container, find_state_dict(&archive, state_dict)?, BTreeMap::new())
        } else if safetensors::is(&head, file_len) {
            let (mut contents, metadata) = safetensors::open(&file, file_len)?;
            contents.narrow(state_dict)?;
            (Container::Safetensors, contents, metadata)
        } else if head.starts_with(&[0x80])
            && let Some(contents) = open_numpy(&file, file_len, state_dict)?
        {
            (Container::NumpyPickle, contents, BTreeMap::new())
        } else {
            anyhow::bail!("{}", not_weights(&head, file_len));
        };
        anyhow::ensure!(!contents.entries.is_empty(), "{}", no_tensor(&contents));
        let index = contents.entries.iter().enumerate().map(|(i, e)| (e.name.clone(), i)).collect();
        let path = path.to_owned();
        Ok(Self { file, path, container, file_len, contents, metadata, index })
    }

    /// Path as given to [`open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn container(&self) -> Container {
        self.container
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Dotted path of the state dict in the saved object; empty at its top.
    #[must_use]
    pub fn found_at(&self) -> &str {
        &self.contents.found_at
    }

    /// The model's tensors, in the file's order; names are unique.
    #[must_use]
    pub fn entries(&self) -> &[TensorEntry] {
        &self.contents.entries
    }

    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&TensorEntry> {
        self.index.get(name).map(|&i| &self.contents.entries[i])
    }

    /// What the file holds beside the model's tensors.
    #[must_use]
    pub fn others(&self) -> &[OtherContent] {
        &self.contents.others
    }

    /// Containers that could also be the state dict: path, and names of the tensors.
    pub(super) fn rivals(&self) -> &[(String, Vec<String>)] {
        &self.contents.rivals
    }

    /// The text metadata of a `.safetensors` file.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads one tensor: contiguous, on the CPU, in the file's number format.
    ///
    /// # Errors
    /// When there is no such tensor or the file cannot be read.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let Some(entry) = self.entry(name) else {
            let near = question(name, self.index.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |question| format!("; {question}"));
            let path = self.path.display();
            return Err(Error::weights(format!("{path} holds no tensor `{name}`{hint}")).into());
        };
        entry.read(&self.file).map_err(|error| {
            Error::weights(format!("{}: tensor `{name}`: {error:#}", self.path.display())).into()
        })
    }
}

fn not_weights(head: &[u8], file_len: u64) -> String {
    let expected = "expected a .safetensors file, a .pth file that torch.save wrote or a .pkl file of \
                    NumPy arrays";
    let text = |start: &str| head.starts_with(start.as_bytes());
    if file_len == 0 {
        format!("it is empty; {expected}")
    } else if text("version https://git-lfs") {
        "it is a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`"
            .to_owned()
    } else if text("<") {
        format!("it is a web page, probably saved instead of a download; {expected}")
    } else if head.starts_with(&[0x1f, 0x8b]) {
        format!("it is compressed with gzip; unpack it first; {expected}")
    } else if head.starts_with(&[0x80]) {
        format!(
            "it is a plain pickle, which pickle.dump wrote, without NumPy arrays that Python 3 wrote; \
             {expected}. In Python: torch.save(pickle.load(open(FILE, 'rb')), NEW_FILE)"
        )
    } else {
        let len = head.first_chunk::<8>().map(|len| u64::from_le_bytes(*len));
        match len {
            Some(len) if head.get(8) == Some(&b'{') => format!(
                "its safetensors header claims {len} bytes, but the file has {file_len}: it is cut \
                 off or damaged"
            ),
            _ => format!("its kind is unknown; {expected}"),
        }
    }
}

fn no_tensor(contents: &Contents) -> String {
    let mut message = "it holds no tensor".to_owned();
    let names: Vec<_> =
        contents.others.iter().take(8).map(|o| format!("{} ({})", o.name, o.what)).collect();
    if !names.is_empty() {
        message += &format!("; it holds {}", names.join(", "));
    }
    message
}
