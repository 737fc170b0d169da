//! The output of a frozen backbone for each image, kept on disk: training the rest then needs neither
//! the backbone nor the pixels.
//!
//! An embedding is a function of the backbone's weights and options, of the preprocessing, of the
//! image file's content and of whether it is mirrored. Its file is named by a hash of all of these,
//! so that nothing stale is ever read, whatever changes; several runs and processes may share a
//! folder. Files are written whole or not at all, and checked against a checksum of their content.
//!
//! [`Entry`] is one file, and [`Embeddings`] is what the loader reads from. A run names the files and
//! computes missing ones.

mod entry;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use entry::is_channels_last;
pub use entry::{Entry, Found};
use sonotune_base::Error;

/// The `[embedding_cache]` table: keeps the outputs of a fully frozen backbone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingCacheConfig {
    /// Folder of the embeddings; runs and processes may share it.
    pub dir: PathBuf,
    /// Number format on disk: `fp32` trains exactly as without the cache; `bf16` halves the space.
    #[serde(default)]
    pub dtype: EmbeddingDtype,
}

/// Number format of stored embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingDtype {
    /// As computed, so that training is the same as without the cache; what was computed in fp64 is
    /// rounded.
    #[default]
    Fp32,
    /// Half the space; embeddings are rounded to 8 significant bits.
    Bf16,
}

/// The embeddings of a run's images, all of which are on disk.
#[derive(Debug)]
pub struct Embeddings {
    /// By the name of the image: the file of its embedding, and of that of its mirror image.
    files: HashMap<PathBuf, [PathBuf; 2]>,
}

impl Embeddings {
    /// Embeddings by the name of their image ([`Record::name`](sonotune_dataset::Record::name)): the file as the
    /// image is, and mirrored.
    #[must_use]
    pub fn new(files: HashMap<PathBuf, [PathBuf; 2]>) -> Self {
        Self { files }
    }

    /// The file of an image's embedding; `None` if it is not an image of this run.
    #[must_use]
    pub fn file(&self, image: &Path, flipped: bool) -> Option<&Path> {
        self.files.get(image).map(|files| files[usize::from(flipped)].as_path())
    }

    /// Reads an image's embedding.
    ///
    /// # Errors
    /// When it is missing or damaged, which it was not when the run began.
    pub fn load(&self, image: &Path, flipped: bool) -> Result<Entry> {
        let lost = |what: String| {
            Error::data(format!(
                "image {}: its embedding {what} since the run began; start again, and it \
                 will be recomputed",
                image.display()
            ))
        };
        let file = self.file(image, flipped).ok_or_else(|| lost("was not asked for".to_owned()))?;
        match Entry::read(file)? {
            Found::Whole(entry) => Ok(entry),
            Found::Absent => Err(lost(format!("{} has disappeared", file.display())).into()),
            Found::Damaged(why) => {
                Err(lost(format!("{} was damaged ({why})", file.display())).into())
            }
        }
    }
}
