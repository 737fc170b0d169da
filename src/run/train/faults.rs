//! Problems that a training run reports and survives: skipped images, starved steps, operators whose
//! results differ from run to run.

use std::num::NonZero;

use anyhow::Result;
use tch::Tensor;

use super::steps::{Feed, Run};
use crate::logging::StepTime;
use sonotune_dataset::Split;
use sonotune_engine::{
    determinism,
    loader::{
        BadImage, Loader,
        starved::{Circumstances, Watch},
    },
};
use sonotune_run_folder::Faults;

impl Run<'_> {
    /// Lists the images that the loader skipped for its last batch, or for the one it could not give.
    pub(super) fn list_skipped(&mut self, batches: &mut Loader) -> Result<()> {
        let skipped = batches.newly_skipped();
        self.skipped.add(self.logger, Split::Train, self.progress.step, &skipped)
    }

    pub(super) fn list_not_scored(&mut self, skipped: &[BadImage]) -> Result<()> {
        self.skipped.add(self.logger, Split::Val, self.progress.step, skipped)
    }

    /// Watches how long the steps wait for data.
    pub(super) fn watch(&self) -> Watch {
        let trains = |(name, value): (String, Tensor)| {
            name.starts_with("backbone.") && value.requires_grad()
        };
        Watch::new(Circumstances {
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            prefetch_batches: self.config.loader.prefetch_batches,
            backbone_frozen: !self.model.vs.variables().into_iter().any(trains),
            embeddings_kept: self.plan.embeddings.is_some(),
        })
    }

    /// Warns when a stretch of steps has waited too long.
    pub(super) fn warn_if_starved(&self, feed: &mut Feed, time: StepTime) {
        let times = (time.step_seconds, time.data_seconds);
        if let Some(warning) = feed.watch.observe(times, time.images, feed.loader.load()) {
            self.logger.warn(&warning);
        }
    }

    /// All faults, for the summary; printed once more at the end.
    pub(super) fn faults(&self) -> Faults {
        let operators = determinism::operators().unwrap_or_else(|error| {
            self.logger.warn(&format!("cannot list the nondeterministic operators: {error:#}"));
            Vec::new()
        });
        if !operators.is_empty() {
            self.logger.warn(&format!(
                "these operators are not deterministic on this device, so another run may give \
                 different numbers: {}",
                operators.join(", ")
            ));
        }
        let skipped_images = self.skipped.len();
        if skipped_images > 0 {
            let list = self.folder.skipped();
            self.logger.warn(&format!("{skipped_images} image(s) skipped, see {}", list.display()));
        }
        Faults { skipped_images, nondeterministic_operators: operators, lost_records: Vec::new() }
    }
}
