//! What a plugin needs: `use sonotune_engine::prelude::*;`.

pub use anyhow::{Context, Result, anyhow, bail, ensure};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use sonotune_base::{
    Category, Error, ErrorKind, ImageId, Rle, Segmentation, Size, seed::Rng, words,
};
pub use sonotune_config::Summary;
pub use sonotune_dataset::{
    Dataset, DatasetConfig, ImagePrompts, InputSpec, Object, ObjectPrompt, PointPrompt, Record,
    Split, TargetNeeds, missing_split, sha256,
};
pub use sonotune_metrics::{Confusion, Direction, ImageScores, Metric, Report, Table};
pub use sonotune_weights::keymap::{Convention, Rule, RuleSet};
pub use tch::{Device, Kind, Tensor, nn, no_grad};
pub use {inventory, schemars, serde, serde_json, tch, typetag};

pub use crate::{
    backbone::{Backbone, BackboneConfig, BackboneSpec, Level},
    batch::{Batch, Elsewhere, Preparation, Prepared, Target},
    nn::{Dims, at_least_float, wide_kind},
    task::{
        Answer, Averaging, Evaluator, Instance, Loss, Meaning, Over, Part, PartInput, PartOutput,
        Parts, Prediction, PromptRules, Promptable, Refinement, Scalar, StepOutput, Task,
        TaskConfig, ValueErrors,
    },
    upload,
};
