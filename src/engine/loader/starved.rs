//! Whether training waits for its data, and what helps.
//!
//! ```text
//! step ├── waiting for the batch ──┤── forward, backward, update ──┤
//!       share = waiting / step, over a stretch of steps
//! ```

use sonotune_base::words::{counted, share};

/// What a loader's threads have done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Time of all threads together, for reading, decoding and resizing.
    pub busy_seconds: f64,
    /// Prepared in that time.
    pub images: u64,
    pub workers: usize,
}

/// What the remedies depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    pub cores: usize,
    pub prefetch_batches: usize,
    /// No part of the backbone is trained, so its embeddings could be cached.
    pub backbone_frozen: bool,
    /// The embeddings are cached.
    pub embeddings_kept: bool,
}

/// Watches the share of time that steps spend waiting.
#[derive(Debug)]
pub struct Watch {
    circumstances: Circumstances,
    /// Steps seen at the start, when nothing is prepared ahead yet.
    skipped: u64,
    stretch: Stretch,
    /// The load when the stretch began.
    before: Load,
    /// The share reported last.
    told: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    steps: u64,
    images: u64,
    seconds: f64,
    waited: f64,
}

impl Watch {
    /// Steps at the start that are ignored: they fill caches and wait for the first batches.
    const START_STEPS: u64 = 5;
    /// A stretch has at least this many steps …
    const STRETCH_STEPS: u64 = 20;
    /// … and lasts this long: in a training of seconds, waiting does not matter.
    const STRETCH_SECONDS: f64 = 10.0;
    /// Share of the time that is worth a warning.
    const WORTH: f64 = 0.3;
    /// A share is reported again if it is worse by this much.
    const WORSE: f64 = 0.2;

    /// For a training that begins.
    #[must_use]
    pub fn new(circumstances: Circumstances) -> Self {
        let (stretch, before) = (Stretch::default(), Load::default());
        Self { circumstances, skipped: 0, stretch, before, told: None }
    }

    /// Records a step of `seconds`, of which it waited `waited` for its `images`; `load` is that of the
    /// loader at its end. Returns the warning to give, if there is one.
    pub fn observe(
        &mut self,
        (seconds, waited): (f64, f64),
        images: u64,
        load: Load,
    ) -> Option<String> {
        if self.skipped < Self::START_STEPS {
            self.skipped += 1;
            self.before = load;
            return None;
        }
        let stretch = &mut self.stretch;
        stretch.steps += 1;
        stretch.images += images;
        stretch.seconds += seconds;
        stretch.waited += waited;
        if stretch.steps < Self::STRETCH_STEPS || stretch.seconds < Self::STRETCH_SECONDS {
            return None;
        }
        let stretch = std::mem::take(&mut self.stretch);
        let before = std::mem::replace(&mut self.before, load);
        let share = stretch.waited / stretch.seconds;
        if share < self.told.map_or(Self::WORTH, |told| told + Self::WORSE) {
            return None;
        }
        self.told = Some(share);
        let load = Load {
            busy_seconds: load.busy_seconds - before.busy_seconds,
            images: load.images.saturating_sub(before.images),
            workers: load.workers,
        };
        Some(text(stretch, load, self.circumstances))
    }
}

/// Share, cause and remedies.
fn text(stretch: Stretch, load: Load, circumstances: Circumstances) -> String {
    let Stretch { steps, images, seconds, waited } = stretch;
    let per_image = load.busy_seconds / load.images.max(1) as f64;
    let busy = load.busy_seconds / (load.workers.max(1) as f64 * seconds);
    let delivers = load.workers as f64 / per_image.max(f64::MIN_POSITIVE);
    let wants = images as f64 / (seconds - waited).max(f64::MIN_POSITIVE);
    let mut text = format!(
        "training waits for data: {} of the last {steps} steps. An image takes {:.0} ms to \
         read and decode, so that {} on {} give at most {delivers:.1} images/s; the model would \
         take {wants:.1} images/s. ",
        share(waited / seconds, 0),
        1e3 * per_image,
        counted(load.workers, "worker"),
        counted(circumstances.cores, "core"),
    );
    text += &if busy >= 0.8 {
        format!("The workers are the limit, busy {} of the time. ", share(busy, 0))
    } else {
        format!(
            "The workers are busy only {} of the time: batches are not prepared far enough \
             ahead. ",
            share(busy, 0)
        )
    };
    text + "What helps, cheapest first: " + &remedies(busy, load.workers, circumstances)
}

fn remedies(busy: f64, workers: usize, circumstances: Circumstances) -> String {
    let Circumstances { cores, prefetch_batches, backbone_frozen, embeddings_kept } = circumstances;
    let deeper = format!("loader.prefetch_batches above {prefetch_batches}");
    let mut remedies = Vec::new();
    if busy < 0.8 {
        remedies.push(deeper);
    }
    if workers < cores {
        remedies.push(format!("loader.num_workers = {cores}, one for each core"));
    }
    if backbone_frozen && !embeddings_kept {
        remedies.push(
            "[embedding_cache], since the backbone is frozen: each image is then decoded once"
                .to_owned(),
        );
    }
    if embeddings_kept {
        remedies.push("an embedding_cache.dir on a faster disk".to_owned());
    } else {
        remedies.push(
            "smaller files: images scaled to preprocess.image_size beforehand, on a local disk"
                .to_owned(),
        );
    }
    remedies.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROZEN: Circumstances = Circumstances {
        cores: 8,
        prefetch_batches: 4,
        backbone_frozen: true,
        embeddings_kept: false,
    };

    /// The warnings of `steps` steps of one second with 8 images each, `waited` seconds of each.
    fn warnings(watch: &mut Watch, steps: u64, waited: f64, load: &mut Load) -> Vec<String> {
        let step = |_| {
            load.busy_seconds += 1.875;
            load.images += 8;
            watch.observe((1.0, waited), 8, *load)
        };
        (0..steps).filter_map(step).collect()
    }

    #[test]
    fn it_is_told_once_and_again_only_when_worse() {
        let (mut watch, mut load) = (Watch::new(FROZEN), Load { workers: 2, ..Load::default() });
        let mut of = |steps, waited| warnings(&mut watch, steps, waited, &mut load).len();
        assert_eq!(of(5, 0.99), 0, "the first steps wait in any case");
        assert_eq!(of(40, 0.29), 0);
        assert_eq!(of(60, 0.5), 1);
        assert_eq!(of(40, 0.6), 0);
        assert_eq!(of(40, 0.75), 1);
        assert_eq!(of(40, 0.3), 0);
    }

    #[test]
    fn a_run_of_seconds_is_left_alone() {
        let mut watch = Watch::new(FROZEN);
        let load = Load { workers: 1, ..Load::default() };
        assert!((0..900).all(|_| watch.observe((0.01, 0.009), 8, load).is_none()));
    }

    #[test]
    fn it_says_the_share_what_limits_and_the_remedies_in_order() {
        let (mut watch, mut load) = (Watch::new(FROZEN), Load { workers: 2, ..Load::default() });
        let text = warnings(&mut watch, 25, 0.5, &mut load).pop().unwrap();
        assert_eq!(
            text,
            "training waits for data: 50 % of the last 20 steps. An image takes 234 ms to read and \
             decode, so that 2 workers on 8 cores give at most 8.5 images/s; the model would take \
             16.0 images/s. The workers are the limit, busy 94 % of the time. What helps, \
             cheapest first: loader.num_workers = 8, one for each core; [embedding_cache], since \
             the backbone is frozen: each image is then decoded once; smaller files: images scaled \
             to preprocess.image_size beforehand, on a local disk"
        );
    }

    #[test]
    fn remedies_fit_the_circumstances() {
        let all_cores = remedies(0.95, 8, Circumstances { backbone_frozen: false, ..FROZEN });
        assert!(all_cores.starts_with("smaller files"), "{all_cores}");
        let idle = remedies(0.3, 8, FROZEN);
        assert!(idle.starts_with("loader.prefetch_batches above 4; [embedding_cache]"), "{idle}");
        let cached = remedies(0.95, 8, Circumstances { embeddings_kept: true, ..FROZEN });
        assert_eq!(cached, "an embedding_cache.dir on a faster disk");
    }
}
