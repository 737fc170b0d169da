//! The integration tests, one module per subject, linked once.

// Clippy treats only functions marked #[test] as tests, not the helpers beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_images;
mod before_a_run;
mod browser;
mod checkpoints;
mod compare;
mod config;
mod convert_interrupted;
mod cuda_parallel;
mod cuda_planted;
mod cuda_refused;
mod cuda_runs;
mod cuda_support;
mod cuda_waits;
mod data_convert;
mod data_parallel;
mod dataset_check;
mod dataset_stats;
mod dataset_tools;
mod defects_support;
mod disk_full;
mod failed_evaluation;
mod finetuning;
mod fp64;
mod golden;
mod gpu_bench;
mod hostile;
mod jitter;
mod mask2former_runs;
mod notes_on_scores;
mod parity_coco_eval;
mod planted_defects;
mod predict_outputs;
mod predict_prompts;
mod processes;
mod processes_support;
mod prompts_support;
mod random_failures;
mod raw_support;
mod real_datasets;
mod report;
mod resume_killed;
mod resume_or_start;
mod resume_oracle;
mod scored_images;
mod small_disk;
mod support;
mod tiny_vit;
mod torchrun;
mod training;
mod tutorial;
mod unusable_data;
mod us43d_training;
mod wrapped_task;
