//! Copies the output of the test harness, but extracts the output of passed tests, in which a test
//! says why it skipped something.

use std::{
    collections::BTreeSet,
    io::{BufRead, Write},
};

use anyhow::{Context, Result};

/// A test that ran but left something out starts a line with this.
const SKIPPED: &str = "skipped: ";

/// Summary of a test run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Test and the reason for skipping it or a part of it.
    pub(crate) reasons: Vec<(String, String)>,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// Tests that said so, which the harness counts as passed, and those it left out itself.
    pub(crate) skipped: u64,
}

/// Copies `input` (of `cargo test … -- --show-output`) to `shown`, without the output of passed tests.
///
/// # Errors
/// If reading or writing fails.
pub(crate) fn follow(input: impl BufRead, mut shown: impl Write) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut in_successes = false;
    let mut test = String::new();
    // Only within the running binary: two binaries may have tests of the same name.
    let mut skipped = BTreeSet::new();
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
            summary.count(result, std::mem::take(&mut skipped).len() as u64);
        }
        if !in_successes {
            summary.reasons.extend(ignored(&line));
            writeln!(shown, "{line}").context("writing the tests' output")?;
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            name.clone_into(&mut test);
        } else if let Some(reason) = line.strip_prefix(SKIPPED) {
            skipped.insert(test.clone());
            summary.reasons.push((test.clone(), reason.to_owned()));
        }
    }
    Ok(summary)
}

/// Test and reason of `test name ... ignored, reason`.
fn ignored(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let reason = rest.strip_prefix(", ").unwrap_or("runs only when asked for: --ignored");
    Some((name.to_owned(), reason.to_owned()))
}

impl Summary {
    /// Adds `ok. 12 passed; 0 failed; 1 ignored; …`, where `skipped` of the passed did nothing.
    fn count(&mut self, result: &str, skipped: u64) {
        let figures = result.split_once(". ").map_or(result, |(_, figures)| figures);
        for figure in figures.split("; ") {
            let Some((number, what)) = figure.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number.saturating_sub(skipped),
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
        self.skipped += skipped;
    }
}

/// The reasons, then the figures on a line of their own.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Many tests are skipped for the same reason: print it once.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (test, reason) in &self.reasons {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, tests)) => tests.push(test),
                None => reasons.push((reason, vec![test])),
            }
        }
        if !reasons.is_empty() {
            writeln!(f, "skipped in whole or part, and why:")?;
        }
        for (reason, mut tests) in reasons {
            tests.dedup();
            writeln!(f, "  {reason}")?;
            for test in tests {
                writeln!(f, "      {test}")?;
            }
        }
        let Self { passed, failed, skipped, .. } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "
running 5 tests
test a ... ok
test b ... ok
test c ... FAILED
test d ... ignored, takes long
test e ... ok

successes:

---- a stdout ----
chatter
skipped: no tensorboard in python3

---- b stdout ----
skipped: no tensorboard in python3


successes:
    a
    b
    e

failures:

---- c stdout ----
why it failed

failures:
    c

test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s
";

    fn summary(output: &str) -> (Summary, String) {
        let mut shown = Vec::new();
        let summary = follow(output.as_bytes(), &mut shown).unwrap();
        (summary, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn passed_tests_are_silent_but_for_what_they_skipped() {
        let (summary, shown) = summary(OUTPUT);
        assert!(shown.contains("test a ... ok") && shown.contains("why it failed"), "{shown}");
        assert!(!shown.contains("chatter") && !shown.contains("successes"), "{shown}");
        let said = summary.to_string();
        assert_eq!(said.matches("no tensorboard").count(), 1, "{said}");
        assert!(said.contains("\n      a\n      b"), "{said}");
        assert!(said.contains("\n  takes long\n      d\n"), "{said}");
    }

    #[test]
    fn skipped_tests_do_not_count_as_passed() {
        let (summary, _) = summary(OUTPUT);
        assert_eq!((summary.passed, summary.failed, summary.skipped), (1, 1, 3));
        let said = summary.to_string();
        assert_eq!(said.lines().last(), Some("1 passed, 1 failed, 3 skipped"), "{said}");
    }

    /// Two reasons of one test count once; the same name in the next binary is another test.
    #[test]
    fn a_test_is_skipped_once_and_in_its_own_binary() {
        let binary = "successes:\n\n---- a stdout ----\nskipped: x\nskipped: y\n\n\nsuccesses:\n    \
                      a\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n";
        let (summary, _) = summary(&binary.repeat(2));
        assert_eq!((summary.passed, summary.skipped), (2, 2));
    }

    #[test]
    fn without_reasons_the_figures_stand_alone() {
        let (summary, _) = summary("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured\n");
        assert_eq!(summary.to_string(), "7 passed, 0 failed, 0 skipped");
    }

    /// What a failed test left out does not make it a skipped one.
    #[test]
    fn a_failed_test_counts_as_failed() {
        let output = "failures:\n\n---- c stdout ----\nskipped: x\n\nfailures:\n    c\n\n\
                      test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured\n";
        let (summary, _) = summary(output);
        assert_eq!(summary.to_string(), "3 passed, 1 failed, 0 skipped");
    }
}
