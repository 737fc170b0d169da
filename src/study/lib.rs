//! A study: the same question asked of several models, with enough repeats to answer it.
//!
//! A study's file names a base config and what varies: tasks, models, strategies, seeds and folds. Each
//! combination is a [`Cell`], an ordinary run in the study's folder. This crate plans the cells, knows which
//! are done, and turns their scores into an answer; it trains nothing (the command line starts the runs).
//!
//! Everything that a study knows is in its folder:
//!
//! | place | holds |
//! |---|---|
//! | `study.toml` | the study's file, defaults written out |
//! | `folds/` | the division of the images, if the study makes one |
//! | `cells/NAME.toml` | the config of each cell, complete |
//! | `runs/NAME/` | the run of each cell |
//! | `logs/NAME.log` | what the cell's commands printed |
//! | `failures/NAME.json` | why a cell failed |

mod answer;
mod cells;
mod config;
mod cross_validation;
mod flatten;
mod folder;
mod folds;
mod image_scores;
mod leaks;
mod state;

pub use answer::{
    Answer, AurocTest, Calibration, CalibrationBin, Comparison, Cost, Decision, Design, Entry,
    FailedCell, Figure, FoldDesign, Groups, SingleImageTests, SubgroupRow, SubgroupTable,
    TaskAnswer, Verdict,
};
pub use cells::{Cell, Study};
pub use config::{
    BudgetConfig, FoldsConfig, IntervalMethod, RunsConfig, StatisticsConfig, StudyConfig,
    TaskVariant, Variant,
};
pub use cross_validation::FoldFiles;
pub use folder::StudyFiles;
pub use folds::{Folds, make_folds};
pub use image_scores::image_table;
pub use leaks::leaks;
pub use state::{Failure, State};
