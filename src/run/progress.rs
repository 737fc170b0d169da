//! How far a pass over images is, for verbs without a log.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, drawn only if that is a terminal. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct PassBar(ProgressBar);

impl PassBar {
    /// `doing`: what is done with the images, such as `scoring`.
    pub(crate) fn new(images: usize, doing: &'static str) -> Self {
        let bar = ProgressBar::new(images as u64).with_message(doing);
        // The template is a constant and correct; if it ever is not, indicatif's own will do.
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} images, {per_sec}, {eta}")
        {
            bar.set_style(style);
        }
        // The first images take longest: show at once that there is something to wait for.
        bar.tick();
        Self(bar)
    }

    /// One more image is done.
    pub(crate) fn done(&self) {
        self.0.inc(1);
    }
}

impl Drop for PassBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
