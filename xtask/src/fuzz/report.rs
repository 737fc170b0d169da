//! Summarises libFuzzer's output in a table.

use std::fmt::Write;

/// Figures of one target.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    name: String,
    executions: u64,
    per_second: u64,
    /// Edges of the program that were reached.
    coverage: u64,
    /// Features: edges distinguished by how and how often they were reached.
    features: u64,
    peak_rss_mb: u64,
    failed: bool,
    /// File of the input that failed.
    finding: Option<String>,
}

impl Outcome {
    /// Reads libFuzzer's own output.
    pub(super) fn of(name: &str, text: &str, success: bool) -> Self {
        let stat = |key: &str| {
            let key = format!("stat::{key}:");
            let line = text.lines().rev().find_map(|line| line.strip_prefix(&key));
            line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        let counted = |key: &str| {
            let number =
                |line: &str| line.split_once(key)?.1.split_whitespace().next()?.parse().ok();
            text.lines().rev().filter(|line| line.starts_with('#')).find_map(number).unwrap_or(0)
        };
        let written = "Test unit written to ";
        let finding = text.lines().find_map(|line| line.split_once(written).map(|(_, path)| path));
        Self {
            name: name.to_owned(),
            executions: stat("number_of_executed_units"),
            per_second: stat("average_exec_per_sec"),
            coverage: counted(" cov: "),
            features: counted(" ft: "),
            peak_rss_mb: stat("peak_rss_mb"),
            failed: !success,
            finding: finding.map(|path| path.trim().to_owned()),
        }
    }

    /// The finding with the command that reproduces it.
    pub(super) fn finding_words(&self) -> Option<String> {
        if !self.failed {
            return None;
        }
        let name = &self.name;
        Some(match &self.finding {
            Some(file) => format!(
                "{name}: {file}\n  again: cargo +nightly fuzz run --sanitizer none {name} {file}"
            ),
            None => format!("{name}: stopped without a failing input; see its output above"),
        })
    }
}

/// A table, and the sum of the executions.
pub(super) fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "{:<14}{:>12}{:>9}{:>9}{:>10}{:>10}  finding\n",
        "target", "executions", "per s", "edges", "features", "peak MB"
    );
    for outcome in outcomes {
        let finding = match (&outcome.finding, outcome.failed) {
            (Some(file), _) => file,
            (None, true) => "failed",
            (None, false) => "none",
        };
        let _ = writeln!(
            text,
            "{:<14}{:>12}{:>9}{:>9}{:>10}{:>10}  {finding}",
            outcome.name,
            outcome.executions,
            outcome.per_second,
            outcome.coverage,
            outcome.features,
            outcome.peak_rss_mb,
        );
    }
    let sum: u64 = outcomes.iter().map(|outcome| outcome.executions).sum();
    let _ = write!(text, "{sum} executions in total");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
INFO: seed corpus: files: 7
#7	INITED cov: 112 ft: 140 corp: 5/40b exec/s: 0 rss: 40Mb
#2097152	pulse  cov: 451 ft: 1330 corp: 310/9Kb lim: 4096 exec/s: 699050 rss: 76Mb
stat::number_of_executed_units: 2621440
stat::average_exec_per_sec:     655360
stat::peak_rss_mb:              77
";

    #[test]
    fn figures_are_read_from_the_last_lines() {
        let outcome = Outcome::of("rle", TEXT, true);
        assert_eq!((outcome.executions, outcome.per_second), (2_621_440, 655_360));
        assert_eq!((outcome.coverage, outcome.features, outcome.peak_rss_mb), (451, 1330, 77));
        assert_eq!(outcome.finding_words(), None);
        assert!(table(&[outcome]).ends_with("2621440 executions in total"));
    }

    #[test]
    fn a_finding_comes_with_its_command() {
        let text = format!("{TEXT}Test unit written to fuzz/artifacts/rle/crash-0a\n");
        let words = Outcome::of("rle", &text, false).finding_words().unwrap();
        assert!(
            words.contains("fuzz run --sanitizer none rle fuzz/artifacts/rle/crash-0a"),
            "{words}"
        );
        assert!(
            Outcome::of("rle", TEXT, false).finding_words().unwrap().contains("stopped without")
        );
    }
}
