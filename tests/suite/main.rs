//! The integration tests, one module a subject, linked once.

// Clippy takes only functions marked #[test] for tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backbone_support;
mod browser;
mod coco;
mod coco_eval_hostile;
mod coco_hostile;
mod coco_masks;
mod compare;
mod config;
mod convert_interrupted;
mod data_convert;
mod dataset_check;
mod dataset_tools;
mod finetuning;
mod image_lists;
mod jitter;
mod loader;
mod mask2former;
mod mask2former_runs;
mod mask2former_weights;
mod metrics;
mod objects_support;
mod parity_backbone;
mod parity_classification;
mod parity_coco_eval;
mod parity_coco_reference;
mod parity_mask2former;
mod parity_overlap;
mod parity_preprocess;
mod parity_resnet;
mod parity_sam;
mod parity_sam_upstream;
mod predict_outputs;
mod predict_prompts;
mod preprocess;
mod prompts_embedding;
mod prompts_support;
mod raw_support;
mod report;
mod run_folder;
mod sam_prompt;
mod scored_images;
mod support;
mod tensorboard;
mod training;
mod us43d_training;
mod weights;
mod weights_hostile;
mod weights_parts;
mod weights_upstream;
