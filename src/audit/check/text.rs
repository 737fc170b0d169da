//! The report as readable text.

use std::fmt::{self, Write as _};

use sonotune_base::words::{counted, share};

use super::DatasetCheck;
use sonotune_dataset::findings::{Finding, Severity};
use sonotune_dataset::{CategoryStatistics, Statistics};

/// A report as text, with a limited number of examples of each kind.
#[derive(Debug)]
pub struct CheckText<'a> {
    check: &'a DatasetCheck,
    examples: usize,
}

impl DatasetCheck {
    /// The report as text, with at most this many examples of each kind.
    #[must_use]
    pub fn text(&self, examples: usize) -> CheckText<'_> {
        CheckText { check: self, examples }
    }
}

impl fmt::Display for CheckText<'_> {
    /// By split, faults first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for split in &self.check.splits {
            writeln!(f, "{} {}", split.split, overview(&split.statistics))?;
            f.write_str(&classes(&split.statistics))?;
            self.findings(f, &split.findings)?;
            writeln!(f)?;
        }
        if !self.check.across.is_empty() {
            writeln!(f, "the dataset as a whole")?;
            self.findings(f, &self.check.across)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl CheckText<'_> {
    fn findings(&self, f: &mut fmt::Formatter<'_>, findings: &[Finding]) -> fmt::Result {
        for finding in findings {
            let severity = match finding.severity {
                Severity::Fault => "FAULT",
                Severity::Doubt => "doubt",
            };
            let Finding { code, count, meaning, remedy, examples, .. } = finding;
            writeln!(f, "  {severity} {code} ({count}): {meaning}")?;
            for example in examples.iter().take(self.examples) {
                writeln!(f, "    {example}")?;
            }
            if examples.len() > self.examples {
                writeln!(f, "    and {} more", examples.len() - self.examples)?;
            }
            writeln!(f, "    -> {remedy}")?;
        }
        Ok(())
    }
}

/// `(val.json): 3 images of 64x64, 4 objects`.
fn overview(statistics: &Statistics) -> String {
    let mut text =
        format!("({}): {}", statistics.source.display(), counted(statistics.num_images, "image"));
    if let Some([low, high]) = statistics.image_sizes {
        let _ = write!(text, " of {}x{}", low.0, low.1);
        if low != high {
            let _ = write!(text, " to {}x{}", high.0, high.1);
        }
    }
    if statistics.num_objects > 0 {
        let _ = write!(text, ", {}", counted(statistics.num_objects, "object"));
    }
    text
}

/// How often each class occurs, a line each.
fn classes(statistics: &Statistics) -> String {
    let has_objects = statistics.num_objects > 0;
    let count = |c: &CategoryStatistics| {
        if has_objects { c.num_objects } else { c.num_images }
    };
    let sum: usize = statistics.categories.iter().map(count).sum();
    let names = statistics.categories.iter().map(|c| c.name.chars().count());
    let width = names.max().unwrap_or(0).max("class".len());
    let mut text = String::new();
    if statistics.categories.is_empty() {
        return text;
    }
    let objects = if has_objects { format!("{:>9}", "objects") } else { String::new() };
    let _ = writeln!(text, "  {:width$}{objects}{:>9}{:>9}", "class", "images", "share");
    for category in &statistics.categories {
        let share = share(count(category) as f64 / sum.max(1) as f64, 1);
        let objects =
            if has_objects { format!("{:>9}", category.num_objects) } else { String::new() };
        let _ = writeln!(
            text,
            "  {:width$}{objects}{:>9}{share:>9}",
            category.name, category.num_images
        );
    }
    text
}
