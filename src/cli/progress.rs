//! A sign of life from verbs that take seconds and do not know how many.

use std::time::Duration;

use indicatif::ProgressBar;

/// Turns on standard error, with the time that has passed, if that is a terminal. It goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(ProgressBar);

impl Busy {
    /// `doing`: such as `reading the model`.
    pub(crate) fn new(doing: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(doing);
        if let Ok(style) = indicatif::ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
