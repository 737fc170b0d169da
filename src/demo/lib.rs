//! The demo: what it makes and trains, what it measures, and the page that shows it. It starts nothing; the
//! command line runs its [`Step`]s, each a command of the program as a user would type it.
//!
//! A promptable model learns from phantoms of one organ. Its backbone and a random one then learn to classify and to
//! segment lesions of another organ, with the same budget, as a [study](sonotune_study) that compares them.
//!
//! | place in the demo's folder | holds |
//! |---|---|
//! | `demo.html` | everything that was found, on one page |
//! | `results.json` | the same figures |
//! | `pictures/` | some of the page's pictures, as PNG |
//! | `configs/` | the shipped configs |
//! | `data/` | two sets of phantoms |
//! | `pretrained/seedN/` | runs of the promptable models |
//! | `study.toml`, `study-seedN.toml` | the comparison's files |
//! | `comparison/` | its folder |
//! | `images/`, `prompts/`, `predictions/` | test images, clicks and boxes on them, answers |
//! | `logs/` | what each command printed |

mod answers;
mod comparison;
mod cpu;
mod figures;
mod folder;
mod page;
mod pictures;
mod plan;
mod results;
mod shown;
mod steps;
mod test_split;
mod watched;

pub use cpu::cpu_seconds;
pub use folder::DemoFolder;
pub use page::write as write_page;
pub use plan::{Budget, Plan};
pub use results::{Results, StepTime};
pub use steps::{Step, comparison_steps, data_steps, prediction_steps, pretraining_steps};
pub use test_split::write_test_images;
pub use watched::Watched;
