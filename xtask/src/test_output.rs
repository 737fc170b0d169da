//! Copies the output of the test harness, but extracts the output of passed tests, in which a test
//! says why it skipped something.

use std::io::{BufRead, Write};

use anyhow::{Context, Result};

/// A test that ran but left something out starts a line with this.
const SKIPPED: &str = "skipped: ";

/// Summary of a test run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Test and the reason for skipping it.
    pub(crate) skipped: Vec<(String, String)>,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

/// Copies `input` (of `cargo test … -- --show-output`) to `shown`, without the output of passed tests.
///
/// # Errors
/// If reading or writing fails.
pub(crate) fn follow(input: impl BufRead, mut shown: impl Write) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut in_successes = false;
    let mut test = String::new();
    for line in input.split(b'\n') {
        // Tests may print bytes that are not UTF-8.
        let line =
            String::from_utf8_lossy(&line.context("reading the tests' output")?).into_owned();
        if line == "successes:" {
            in_successes = true;
        } else if line == "failures:" || line.starts_with("test result: ") {
            in_successes = false;
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            summary.count(result);
        }
        if !in_successes {
            writeln!(shown, "{line}").context("writing the tests' output")?;
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            name.clone_into(&mut test);
        } else if let Some(reason) = line.strip_prefix(SKIPPED) {
            summary.skipped.push((test.clone(), reason.to_owned()));
        }
    }
    Ok(summary)
}

impl Summary {
    /// Adds `ok. 12 passed; 0 failed; 1 ignored; …`.
    fn count(&mut self, result: &str) {
        let figures = result.split_once(". ").map_or(result, |(_, figures)| figures);
        for figure in figures.split("; ") {
            let Some((number, what)) = figure.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { skipped, passed, failed, ignored } = self;
        writeln!(f, "{passed} tests passed, {failed} failed, {ignored} ignored")?;
        if skipped.is_empty() {
            return write!(f, "nothing was skipped");
        }
        // Many tests are skipped for the same reason: print it once.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (test, reason) in skipped {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, tests)) => tests.push(test),
                None => reasons.push((reason, vec![test])),
            }
        }
        write!(f, "skipped in whole or part, and why:")?;
        for (reason, mut tests) in reasons {
            tests.dedup();
            write!(f, "\n  {reason}")?;
            for test in tests {
                write!(f, "\n      {test}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
chatter
skipped: no tensorboard in python3

---- b stdout ----
skipped: no tensorboard in python3


successes:
    a
    b

failures:

---- c stdout ----
why it failed

failures:
    c

test result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.1s
";

    #[test]
    fn passed_tests_are_silent_but_for_what_they_skipped() {
        let mut shown = Vec::new();
        let summary = follow(OUTPUT.as_bytes(), &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("test a ... ok") && shown.contains("why it failed"), "{shown}");
        assert!(!shown.contains("chatter") && !shown.contains("successes"), "{shown}");
        assert_eq!((summary.passed, summary.failed, summary.ignored), (2, 1, 4));
        let said = summary.to_string();
        assert_eq!(said.matches("no tensorboard").count(), 1, "{said}");
        assert!(said.contains("\n      a\n      b"), "{said}");
    }
}
