//! How a promptable model is scored: prompts derived from annotations, then the COCO metric and overlap
//! with the prompted objects.

mod evaluator;
mod protocol;

pub(crate) use {
    evaluator::{PromptEvaluator, metric_names},
    protocol::ask_about,
};
