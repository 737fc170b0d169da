//! The `[weights]` table.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[weights]`: pretrained weights to start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsConfig {
    /// A file, a folder with weights, also one of the Hugging Face cache, or `hf:ORG/NAME[@REVISION][/FILE]`,
    /// which is looked up in that cache and never downloaded. docs/weights.md says where to download public ones.
    pub path: PathBuf,
    /// Dotted path of the state dict within the file, or the start of its tensors' names, e.g. `"model_ema"`.
    /// Needed if the file holds several that fit. If absent, it is found.
    #[serde(default)]
    pub state_dict: Option<String>,
    /// Naming convention of the file's keys. If absent, it is recognised.
    pub convention: Option<String>,
    /// The variables that a run has trained, saved separately by `sonotune weights export`; applied on top of
    /// `path`, which must be the file it was trained on. Together they must hold every variable.
    pub overlay: Option<PathBuf>,
    /// Keys of the file, or variables of the model, that are not loaded although the file has them, e.g.
    /// `["head.*"]` for a head with the same size but another meaning.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Model variables that the file may lack, e.g. `["head.*"]` for a new head.
    #[serde(default)]
    pub allow_missing: Vec<String>,
    /// Keys of the file that may have no counterpart in the model.
    #[serde(default)]
    pub allow_unexpected: Vec<String>,
    /// Model variables that keep their random start if shapes differ.
    #[serde(default)]
    pub allow_misshapen: Vec<String>,
    /// Files that provide some of the variables in place of the one at `path`, such as a head trained elsewhere:
    /// `[[weights.parts]]` tables (docs/weights.md has a recipe).
    #[serde(default)]
    pub parts: Vec<WeightsPartConfig>,
}

/// `[[weights.parts]]`: a file that gives some of the variables, such as a head trained elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsPartConfig {
    /// Same as [`WeightsConfig::path`].
    pub path: PathBuf,
    /// Model variables that come from this file and no other, e.g. `["panoptic_head.*"]`. Each pattern must match
    /// at least one, and no variable may belong to two parts.
    pub variables: Vec<String>,
    /// Dotted path of the state dict within the file, or the start of its tensors' names. If absent, it is found.
    #[serde(default)]
    pub state_dict: Option<String>,
    /// Naming convention of the file's keys. If absent, it is recognised.
    pub convention: Option<String>,
    /// Keys of the file, or variables of the model, that are not loaded although the file has them.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Those of `variables` that the file may lack.
    #[serde(default)]
    pub allow_missing: Vec<String>,
    /// Keys of the file that may have no counterpart among `variables`. Keys of other variables are always
    /// allowed.
    #[serde(default)]
    pub allow_unexpected: Vec<String>,
    /// Those of `variables` that keep their random start if shapes differ.
    #[serde(default)]
    pub allow_misshapen: Vec<String>,
}
