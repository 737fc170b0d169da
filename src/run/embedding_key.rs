//! What an embedding depends on, as hashes.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Tensor;

use sonotune_base::Error;
use sonotune_dataset::transforms::PreprocessConfig;
use sonotune_engine::{
    backbone::{BackboneConfig, BackboneSpec},
    device::Precision,
    embedding_cache::EmbeddingDtype,
};
use sonotune_weights as weights;

/// SHA-256 of an image file, or of one of its frames.
pub(crate) type ContentHash = [u8; 32];

/// Hash of everything that the embeddings of a run have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunKey([u8; 32]);

/// What goes into a [`RunKey`].
#[derive(Debug)]
pub(crate) struct RunKeyParts<'a> {
    pub(crate) backbone: &'a dyn BackboneConfig,
    pub(crate) spec: &'a BackboneSpec,
    /// Sorted by name.
    pub(crate) variables: &'a [(String, Tensor)],
    pub(crate) preprocess: &'a PreprocessConfig,
    pub(crate) precision: Precision,
    pub(crate) dtype: EmbeddingDtype,
}

impl RunKey {
    /// Hashes the parts; reads every value of every variable.
    ///
    /// The device is not among them: what a GPU computed can be used on a laptop.
    ///
    /// # Errors
    /// When a variable cannot be read.
    pub(crate) fn new(parts: &RunKeyParts) -> Result<Self> {
        #[derive(Serialize)]
        struct Plain<'a> {
            version: &'static str,
            backbone: &'a dyn BackboneConfig,
            pixel_mean: [f64; 3],
            pixel_std: [f64; 3],
            preprocess: &'a PreprocessConfig,
            precision: Precision,
            dtype: EmbeddingDtype,
        }
        let plain = Plain {
            // Another version may resize or normalise differently.
            version: env!("CARGO_PKG_VERSION"),
            backbone: parts.backbone,
            pixel_mean: parts.spec.input.pixel_mean,
            pixel_std: parts.spec.input.pixel_std,
            preprocess: parts.preprocess,
            precision: parts.precision,
            dtype: parts.dtype,
        };
        let mut hasher = Sha256::new();
        hasher.update(serde_json::to_vec(&plain)?);
        for (name, variable) in parts.variables {
            let (shape, kind) = (variable.size(), variable.f_kind()?);
            hasher.update(format!("\n{name} {kind:?} {shape:?}\n"));
            hasher.update(weights::bytes(variable)?);
        }
        Ok(Self(hasher.finalize().into()))
    }

    /// The file of an embedding below `dir`, in one of 256 folders.
    #[must_use]
    pub(crate) fn file(&self, dir: &Path, content: &ContentHash, flipped: bool) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(content);
        hasher.update([u8::from(flipped)]);
        let mut name = String::with_capacity(64);
        for byte in hasher.finalize() {
            let _ = write!(name, "{byte:02x}");
        }
        dir.join(&name[..2]).join(format!("{name}.safetensors"))
    }
}

/// Hashes an image file.
///
/// # Errors
/// An error of kind data if it cannot be read.
pub(crate) fn content_hash(image: &Path) -> Result<ContentHash> {
    let hash = || -> io::Result<ContentHash> {
        let mut file = File::open(image)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finalize().into()),
                read => hasher.update(&buffer[..read]),
            }
        }
    };
    hash().map_err(|e| Error::data(format!("image {}: cannot read: {e}", image.display())).into())
}

/// The hash of one frame of a file; without a number, that of the file.
pub(crate) fn of_frame(file: &ContentHash, frame: Option<u32>) -> ContentHash {
    let Some(frame) = frame else { return *file };
    let mut hasher = Sha256::new();
    hasher.update(file);
    hasher.update(frame.to_le_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tch::{Device, Kind};

    use super::*;
    use sonotune_dataset::InputSpec;
    use sonotune_engine::backbone::sam_vit::SamVitConfig;

    #[test]
    fn whatever_an_embedding_depends_on_changes_its_file() {
        let config = SamVitConfig::default();
        let other_config = SamVitConfig { window_size: 7, ..config.clone() };
        let spec = BackboneSpec { input: InputSpec::imagenet(16), levels: Vec::new() };
        let weights = |value: f64| {
            let tensor = Tensor::full([3], value, (Kind::Float, Device::Cpu));
            [("backbone.x".to_owned(), tensor)]
        };
        let (variables, other_variables) = (weights(1.0), weights(1.0 + f64::from(f32::EPSILON)));
        let preprocess = PreprocessConfig::default();
        let smaller = PreprocessConfig { image_size: 512, ..preprocess.clone() };
        let parts = || RunKeyParts {
            backbone: &config,
            spec: &spec,
            variables: &variables,
            preprocess: &preprocess,
            precision: Precision::Fp32,
            dtype: EmbeddingDtype::Fp32,
        };
        let file = |parts: &RunKeyParts, content: u8, flipped| {
            RunKey::new(parts).unwrap().file(Path::new("d"), &[content; 32], flipped)
        };
        let first = file(&parts(), 1, false);
        assert_eq!(first, file(&parts(), 1, false));
        let all = HashSet::from([
            first,
            file(&parts(), 2, false),
            file(&parts(), 1, true),
            file(&RunKeyParts { backbone: &other_config, ..parts() }, 1, false),
            file(&RunKeyParts { variables: &other_variables, ..parts() }, 1, false),
            file(&RunKeyParts { preprocess: &smaller, ..parts() }, 1, false),
            file(&RunKeyParts { precision: Precision::Bf16, ..parts() }, 1, false),
            file(&RunKeyParts { dtype: EmbeddingDtype::Bf16, ..parts() }, 1, false),
        ]);
        assert_eq!(all.len(), 8);
        let frames = [None, Some(0), Some(1)].map(|frame| of_frame(&[1; 32], frame));
        assert_eq!(frames[0], [1; 32]);
        assert_eq!(HashSet::from(frames).len(), 3);
    }
}
