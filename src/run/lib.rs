//! One run, top to bottom: the only place that knows every part of the engine.
//!
//! ```text
//! config ─► dataset ─► backbone ─► task ─► weights ─► groups ─► loader ─► trainer ─► report
//!                                                                  ▲          │
//!                                                 every_steps:     └─ evaluate, log, save
//! ```
//!
//! [`train()`] goes all the way; [`evaluate()`] and [`predict()`] follow the same path and stop earlier.

// Registers its backbones.
use sonotune_backbones as _;

mod coco_eval;
pub mod config;
mod data_record;
pub mod doctor;
mod drawing;
mod dry_run;
mod embed;
mod embedding_key;
mod encoder;
mod ensemble;
mod evaluate;
mod export;
mod gpus;
mod largest_batch;
mod live;
pub mod logging;
mod model;
mod predict;
mod predictor;
mod prepared;
mod progress;
mod report;
mod resume_or_start;
mod scored_images;
mod scoring;
mod sent;
mod skipped;
mod splits;
mod stored_notes;
mod train;
mod trial;

pub use coco_eval::{CategoryScores, CocoCounts, CocoEvalOptions, CocoEvalRecord, coco_eval};
pub use dry_run::{
    DryRunOptions, DryRunReport, Embedding, Loading, Memory, Timing, Together, TriedBatch, dry_run,
    require_ready,
};
pub use evaluate::{EvalOptions, Evaluated, evaluate, evaluate_ensemble};
pub use export::{Export, ExportOptions, ExportRecord, export};
pub use largest_batch::LargestBatch;
pub use live::{Live, LiveAbout, LiveAnswer, LiveImage};
pub use model::{Decided, Model, ModelSource, Opened, decided_by_weights};
pub use predict::{
    ClipScore, MaskFiles, PredictOptions, PredictRecord, PromptSource, predict, predict_ensemble,
};
pub use resume_or_start::{Begun, begun, summary};
pub use scoring::ScoredImage;
pub use splits::check_data;
pub use train::{TrainOptions, TrainOutcome, train};
pub use trial::EvaluatedBatch;
