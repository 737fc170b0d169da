//! One line for each step: its title, a bar while it runs, how long it took.

use indicatif::{ProgressBar, ProgressStyle};

use sonotune_demo::{Step, Watched};

/// Parts of a bar.
const WHOLE: u64 = 1000;

/// The line of a step, on standard error; the bar appears on a terminal alone.
pub(super) struct Bar {
    bar: ProgressBar,
    line: String,
}

impl Bar {
    pub(super) fn new(step: &Step, (number, of): (usize, usize)) -> Self {
        let line = format!("[{number:>2}/{of}] {}", step.title);
        let bar = ProgressBar::new(WHOLE);
        let template = match step.watched {
            Watched::Nothing => "{msg}  {elapsed}",
            _ => "{msg}  {bar:24} {percent} %  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(line.clone());
        Self { bar, line }
    }

    pub(super) fn show(&self, watched: &Watched) {
        // Reading files ten times a second is for somebody who looks.
        if self.bar.is_hidden() {
            return;
        }
        if let Some(share) = watched.done() {
            self.bar.set_position((share * WHOLE as f64) as u64);
        }
        self.bar.tick();
    }

    /// The line stays, with how the step ended.
    pub(super) fn end(self, how: &str) {
        self.bar.finish_and_clear();
        eprintln!("{:<68} {how:>8}", self.line);
    }
}
