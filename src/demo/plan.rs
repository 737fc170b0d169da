//! What the demo makes and trains, by its budget.

use serde::{Deserialize, Serialize};

/// How much the demo trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Two steps on a few images: checks that everything runs, not that it learns.
    Quick,
    /// Minutes on two cores.
    Short,
    /// Two thirds of an hour on two cores, with three seeds.
    Full,
}

/// The demo's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub budget: Budget,
    /// Every model is trained with the seeds from 0 up to this number.
    pub seeds: u64,
}

/// A set of phantoms; the configs' comments repeat these figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Phantoms {
    pub(crate) kind: &'static str,
    pub(crate) num_images: u32,
    /// Height and width in pixels.
    pub(crate) image_size: u32,
    /// Shares of the training and the validation split; the rest is the test split.
    pub(crate) fractions: (f64, f64),
    pub(crate) seed: u64,
}

/// What is learnt on the second organ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    Classification,
    Instances,
}

impl Task {
    /// As in the study and on the page.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Instances => "instance segmentation",
        }
    }

    /// Ends of the names of its configs begin with this.
    pub(crate) fn config(self) -> &'static str {
        match self {
            Self::Classification => "classification-random.toml",
            Self::Instances => "mask2former-random.toml",
        }
    }

    /// The figure of single images that ranks the starts.
    pub(crate) fn metric(self) -> &'static str {
        match self {
            // Macro, of all classes.
            Self::Classification => "f1",
            Self::Instances => "panoptic_quality",
        }
    }

    /// Whether a metric of the whole test split goes into the table.
    pub(crate) fn shows(self, metric: &str) -> bool {
        match self {
            // Those that are not for a single class.
            Self::Classification => !metric.contains('/'),
            Self::Instances => {
                ["segm_mAP", "segm_mAP_50", "bbox_mAP", "bbox_mAP_50"].contains(&metric)
            }
        }
    }
}

/// Names of the two starts in the study and on the page.
pub(crate) const RANDOM: &str = "random start";
pub(crate) const PRETRAINED: &str = "pretrained start";

impl Plan {
    /// A demo of the usual number of seeds, or of `seeds`.
    #[must_use]
    pub fn new(budget: Budget, seeds: Option<u64>) -> Self {
        let usual = if budget == Budget::Full { 3 } else { 1 };
        Self { budget, seeds: seeds.unwrap_or(usual) }
    }

    /// Phantoms to pretrain on.
    pub(crate) fn pretraining(self) -> Phantoms {
        let phantoms = |num_images, image_size| Phantoms {
            kind: "ovary",
            num_images,
            image_size,
            fractions: (0.85, 0.05),
            seed: 3,
        };
        match self.budget {
            Budget::Quick => Phantoms { fractions: (0.5, 0.25), ..phantoms(24, 64) },
            Budget::Short => phantoms(1500, 128),
            Budget::Full => phantoms(3000, 128),
        }
    }

    /// Phantoms of the other organ: few for training, many for testing, so that noise does not hide the differences
    /// between starts.
    pub(crate) fn fine_tuning(self) -> Phantoms {
        let phantoms = |num_images, image_size, fractions| Phantoms {
            kind: "breast",
            num_images,
            image_size,
            fractions,
            seed: 4,
        };
        match self.budget {
            Budget::Quick => phantoms(24, 64, (0.4, 0.25)),
            Budget::Short => phantoms(600, 128, (0.4, 0.15)),
            Budget::Full => phantoms(800, 128, (0.4, 0.1)),
        }
    }

    /// Folder of the configs, relative to that of `configs`.
    pub(crate) fn configs(self) -> &'static str {
        match self.budget {
            Budget::Short => "configs/demo/short",
            Budget::Quick | Budget::Full => "configs/demo",
        }
    }

    /// What both starts learn. Instance segmentation needs more steps than the short budget has.
    pub(crate) fn tasks(self) -> &'static [Task] {
        match self.budget {
            Budget::Short => &[Task::Classification],
            Budget::Quick | Budget::Full => &[Task::Classification, Task::Instances],
        }
    }

    /// Commands that predict at the end: from clicks, from boxes, and one for each task.
    #[must_use]
    pub fn num_predictions(self) -> usize {
        2 + self.tasks().len()
    }

    /// Whether both starts learn this.
    pub(crate) fn has(self, task: Task) -> bool {
        self.tasks().contains(&task)
    }

    /// Steps of every run, in place of those of its config.
    pub(crate) fn steps(self) -> Option<u64> {
        (self.budget == Budget::Quick).then_some(2)
    }
}
