//! The terminal: a progress bar with the lines above it, or plain lines without a terminal.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where messages for people go: standard error, so that standard output contains only the result.
#[derive(Debug)]
pub(super) enum Console {
    Bar(ProgressBar),
    Plain,
    /// Another process speaks to people.
    Silent,
}

impl Console {
    pub(super) fn new(total_steps: u64, first_step: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Plain;
        }
        let bar = ProgressBar::with_draw_target(Some(total_steps), ProgressDrawTarget::stderr());
        // The template is a constant and correct; if it ever is not, indicatif's own will do.
        if let Ok(style) = ProgressStyle::with_template("{bar:10} {pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_position(first_step);
        Self::Bar(bar)
    }

    pub(super) fn line(&self, text: &str) {
        match self {
            Self::Bar(bar) if !bar.is_finished() => bar.println(text),
            Self::Silent => {}
            // A closed pipe must not end the run.
            _ => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Moves the bar, and shows `status` beside it.
    pub(super) fn progress(&self, step: u64, status: &str) {
        if let Self::Bar(bar) = self {
            bar.set_message(status.to_owned());
            bar.set_position(step);
        }
    }

    /// Shows another count than the steps, until [`Self::back_to_steps`].
    pub(super) fn other_progress(&self, done: u64, total: u64, status: &str) {
        if let Self::Bar(bar) = self {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(status.to_owned());
        }
    }

    pub(super) fn back_to_steps(&self, step: u64, total_steps: u64) {
        if let Self::Bar(bar) = self {
            bar.set_length(total_steps);
            bar.set_position(step);
            bar.set_message("");
        }
    }

    /// Whether to print log lines of training steps: with a bar, it already shows them.
    pub(super) fn prints_steps(&self) -> bool {
        matches!(self, Self::Plain)
    }

    pub(super) fn close(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
