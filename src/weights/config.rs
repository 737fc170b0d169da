//! The `[weights]` table.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[weights]`: pretrained weights to start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsConfig {
    /// A file, a folder with weights, also one of the Hugging Face cache, or `hf:ORG/NAME[@REVISION][/FILE]`,
    /// which is looked up in that cache and never downloaded.
    pub path: PathBuf,
    /// Dotted path of the state dict within the file, or the start of its tensors' names, if the file
    /// holds several (`model_ema`).
    #[serde(default)]
    pub state_dict: Option<String>,
    /// Naming convention of the file; recognised if absent.
    pub convention: Option<String>,
    /// What a run has trained, saved alone: applied on top of the file at `path`.
    pub overlay: Option<PathBuf>,
    /// Patterns of file keys or model variables that are not loaded, although the file has them.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Patterns of model variables that may be missing from the file (`head.*`); `*` matches any
    /// run of characters.
    #[serde(default)]
    pub allow_missing: Vec<String>,
    /// Patterns of file keys that may have no place in the model.
    #[serde(default)]
    pub allow_unexpected: Vec<String>,
    /// Patterns of model variables that keep their random start if shapes differ.
    #[serde(default)]
    pub allow_misshapen: Vec<String>,
    /// Files that some of the variables come from instead.
    #[serde(default)]
    pub parts: Vec<WeightsPartConfig>,
}

/// `[[weights.parts]]`: a file that gives some of the variables, such as a head trained elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsPartConfig {
    /// Same as [`WeightsConfig::path`].
    pub path: PathBuf,
    /// Patterns of the model variables that come from this file and from no other.
    pub variables: Vec<String>,
    /// Same as [`WeightsConfig::state_dict`].
    #[serde(default)]
    pub state_dict: Option<String>,
    /// Naming convention of the file; recognised if absent.
    pub convention: Option<String>,
    /// Same as [`WeightsConfig::ignore`].
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Same as [`WeightsConfig::allow_missing`].
    #[serde(default)]
    pub allow_missing: Vec<String>,
    /// Same as [`WeightsConfig::allow_unexpected`]; keys for other variables are always allowed.
    #[serde(default)]
    pub allow_unexpected: Vec<String>,
    /// Same as [`WeightsConfig::allow_misshapen`].
    #[serde(default)]
    pub allow_misshapen: Vec<String>,
}
