//! Weights, opened: what a file or several shards hold is listed, nothing is read until asked for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
    folder::{Index, Located, locate},
    safetensors,
    torch::{Contents, Form, OtherContent, find_state_dict, join, open_numpy},
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

/// Open weights: a file, or several shards that an index joins.
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    shards: Vec<Shard>,
    container: Container,
    contents: Contents,
    metadata: BTreeMap<String, String>,
    index: HashMap<String, Position>,
}

/// A file that holds tensors.
#[derive(Debug)]
struct Shard {
    file: File,
    path: PathBuf,
    len: u64,
}

/// Where a tensor is: its number among the entries, and that of its shard.
#[derive(Debug, Clone, Copy)]
struct Position {
    entry: usize,
    shard: usize,
}

/// What one file holds.
struct Opened {
    shard: Shard,
    container: Container,
    contents: Contents,
    metadata: BTreeMap<String, String>,
}

/// Opens weights: a `.pth` or `.safetensors` file, of which the content decides the kind, not the name; an index
/// of shards; a folder that holds either, also one of the Hugging Face cache; or `hf:ORG/NAME`, looked up there.
///
/// Lists the tensors without reading them. Nothing in a file is executed, nothing is downloaded.
///
/// # Errors
/// When a file cannot be read, is of an unknown kind, is damaged or holds no tensor, or a folder does not say
/// which of its files is meant.
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

impl Opened {
    fn of(path: &Path, state_dict: &str) -> Result<Self> {
        let file = File::open(path).context("cannot open it")?;
        let meta = file.metadata()?;
        anyhow::ensure!(meta.is_file(), "not a regular file");
        let len = meta.len();
        let mut head = vec![0; len.min(512) as usize];
        file.read_exact_at(&mut head, 0)?;
        let (container, contents, metadata) = if let Some(form) = Form::of(&head) {
            let container = match form {
                Form::Zip => Container::TorchZip,
                Form::Legacy => Container::TorchLegacy,
                Form::Tar => Container::TorchTar,
            };
            let archive = form.open(&file, len)?;
            (container, find_state_dict(&archive, state_dict)?, BTreeMap::new())
        } else if safetensors::is(&head, len) {
            let (mut contents, metadata) = safetensors::open(&file, len)?;
            contents.narrow(state_dict)?;
            (Container::Safetensors, contents, metadata)
        } else if head.starts_with(&[0x80])
            && let Some(contents) = open_numpy(&file, len, state_dict)?
        {
            (Container::NumpyPickle, contents, BTreeMap::new())
        } else {
            anyhow::bail!("{}", not_weights(&head, len));
        };
        anyhow::ensure!(!contents.entries.is_empty(), "{}", no_tensor(&contents));
        let shard = Shard { file, path: path.to_owned(), len };
        Ok(Self { shard, container, contents, metadata })
    }
}

impl WeightsFile {
    fn open(path: &Path, state_dict: &str) -> Result<Self> {
        match locate(path)? {
            Located::Shards(index) => Self::open_shards(&index, state_dict),
            Located::File(file) if file == path => Opened::of(path, state_dict).map(Self::of_one),
            Located::File(file) => Opened::of(&file, state_dict)
                .map(Self::of_one)
                .with_context(|| file.display().to_string()),
        }
    }

    fn of_one(Opened { shard, container, contents, metadata }: Opened) -> Self {
        let position =
            |(entry, of): (usize, &TensorEntry)| (of.name.clone(), Position { entry, shard: 0 });
        let index = contents.entries.iter().enumerate().map(position).collect();
        let path = shard.path.clone();
        Self { path, shards: vec![shard], container, contents, metadata, index }
    }

    /// One state dict out of several files. Each must hold what the index says, and no two the same tensor.
    fn open_shards(index: &Index, state_dict: &str) -> Result<Self> {
        let mut shards: Vec<Shard> = Vec::new();
        let mut holder: HashMap<String, usize> = HashMap::new();
        let (mut contents, mut container) = (Contents::default(), Container::Safetensors);
        for (number, file) in index.files().iter().enumerate() {
            let opened = Opened::of(file, "").with_context(|| file.display().to_string())?;
            let names: HashSet<&str> =
                opened.contents.entries.iter().map(|entry| entry.name.as_str()).collect();
            index.check(file, |name| names.contains(name))?;
            for name in names {
                if let Some(other) = holder.insert(name.to_owned(), number) {
                    anyhow::bail!(
                        "both {} and {} hold a tensor `{name}`",
                        shards[other].path.display(),
                        file.display()
                    );
                }
            }
            contents.entries.extend(opened.contents.entries);
            contents.others.extend(opened.contents.others);
            container = opened.container;
            shards.push(opened.shard);
        }
        contents.narrow(state_dict)?;
        let position = |(entry, of): (usize, &TensorEntry)| {
            let shard = *holder.get(&join(&contents.found_at, &of.name))?;
            Some((of.name.clone(), Position { entry, shard }))
        };
        let positions = contents.entries.iter().enumerate().filter_map(position).collect();
        let (path, metadata) = (index.path.clone(), BTreeMap::new());
        Ok(Self { path, shards, container, contents, metadata, index: positions })
    }

    /// The file that was opened: the one given to [`open`], that found in a folder, or the index of shards.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn container(&self) -> Container {
        self.container
    }

    /// Size of the file, or of all shards, in bytes.
    #[must_use]
    pub fn file_len(&self) -> u64 {
        self.shards.iter().map(|shard| shard.len).sum()
    }

    /// The files that hold the tensors, if there are several.
    #[must_use]
    pub fn shards(&self) -> Vec<&Path> {
        match &self.shards[..] {
            [_] => Vec::new(),
            shards => shards.iter().map(|shard| shard.path.as_path()).collect(),
        }
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
        self.index.get(name).map(|at| &self.contents.entries[at.entry])
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
        let Some(&at) = self.index.get(name) else {
            let near = question(name, self.index.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |question| format!("; {question}"));
            let path = self.path.display();
            return Err(Error::weights(format!("{path} holds no tensor `{name}`{hint}")).into());
        };
        let shard = &self.shards[at.shard];
        self.contents.entries[at.entry].read(&shard.file).map_err(|error| {
            Error::weights(format!("{}: tensor `{name}`: {error:#}", shard.path.display())).into()
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
