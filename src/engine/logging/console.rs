//! The terminal: a progress bar with the lines above it, or plain lines without a terminal.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where messages for people go: standard error, so that standard output contains only the result.
#[derive(Debug)]
pub(super) enum Console {
    Bar(ProgressBar),
    Plain,
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

/// `12.3 GiB`, in the largest unit that leaves at least 1.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (count.max(1).ilog2() as usize / 10).min(UNITS.len() - 1);
    if unit == 0 {
        return format!("{count} B");
    }
    format!("{:.1} {}", count as f64 / f64::powi(1024.0, unit as i32), UNITS[unit])
}

/// `1h 02m`, `3m 20s`, `45s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

/// About four significant digits, in the simplest notation.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) && value.is_finite() => {
            let text = format!("{value:.3e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        size if size >= 1.0 => {
            let decimals = 3usize.saturating_sub(size.log10() as usize);
            format!("{value:.decimals$}")
        }
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
        assert_eq!(duration(Duration::from_secs(45)), "45s");
        assert_eq!(duration(Duration::from_secs(200)), "3m 20s");
        assert_eq!(duration(Duration::from_secs(3725)), "1h 02m");
        let shown: Vec<String> =
            [0.0, 1e-4, 0.512345, 1.0, 12.3456, 1234.5, 2e7, f64::NAN].map(number).into();
        assert_eq!(shown, ["0", "1e-4", "0.5123", "1.000", "12.35", "1234", "2e7", "NaN"]);
    }
}
