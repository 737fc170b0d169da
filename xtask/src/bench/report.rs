//! The table of a bench run, as Markdown.

use std::{fmt::Write, fs, path::Path, process::Command};

use super::{
    Turns,
    measurement::{Case, SONOTUNE, Side},
};
use crate::process;

const HEADER: &str = "| case | package | least s | median s | peak MiB | images/s | time ratio | memory ratio | aim |
|---|---|---|---|---|---|---|---|---|
";

/// Machine, versions, and one row per case and package.
pub(super) fn markdown(cases: &[Case], turns: &Turns) -> String {
    let mut text = String::new();
    for line in [machine(turns), versions(turns)].into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- {line}");
    }
    let _ = write!(text, "\n{HEADER}");
    for case in cases {
        for side in &case.sides {
            text.push_str(&row(case, side));
        }
    }
    let skipped: Vec<_> = cases
        .iter()
        .flat_map(|case| case.sides.iter().map(move |side| (case, side)))
        .filter_map(|(case, side)| Some((case, side, side.skipped()?)))
        .collect();
    for (case, side, why) in skipped {
        let _ = write!(text, "\n{} with {} was skipped: {why}\n", case.name, side.peer);
    }
    text
}

fn row(case: &Case, side: &Side) -> String {
    let ours = side.peer == SONOTUNE;
    let only_ours = |value: Option<f64>| number(value.filter(|_| ours), 2);
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        case.name,
        side.peer,
        number(side.seconds_min(), 4),
        number(side.seconds_median(), 4),
        number(side.peak_mib(), 0),
        number(side.images_per_second(), 1),
        only_ours(case.time_ratio()),
        only_ours(case.memory_ratio()),
        if ours { aims(case) } else { String::new() }
    )
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}"))
}

/// Each aim of the case, and whether it is met.
fn aims(case: &Case) -> String {
    let ours = case.ours();
    let aim = &case.aim;
    [
        ("time", aim.time_ratio, case.time_ratio(), "×"),
        ("memory", aim.memory_ratio, case.memory_ratio(), "×"),
        ("time", aim.seconds, ours.and_then(Side::seconds_min), " s"),
        ("memory", aim.mib, ours.and_then(Side::peak_mib), " MiB"),
    ]
    .into_iter()
    .filter_map(|(what, limit, value, unit)| {
        let limit = limit?;
        let verdict = match value {
            Some(value) if value <= limit => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        Some(format!("{what} ≤ {limit}{unit}: {verdict}"))
    })
    .collect::<Vec<_>>()
    .join("; ")
}

fn machine(turns: &Turns) -> Option<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").ok()?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "))?.1;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    Some(format!(
        "machine: {model}, {cores} cores; {} threads on each side, {} rounds in turns",
        turns.threads, turns.rounds
    ))
}

/// Versions of the packages that the peers' Python has.
fn versions(turns: &Turns) -> Option<String> {
    let python: &Path = turns.python.as_deref()?;
    let script = "
import importlib.metadata as m
names = ['torch', 'torchvision', 'segment-anything', 'transformers', 'pycocotools']
have = {d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}
print(', '.join(f'{n} {have[n]}' for n in names if n in have))";
    let said = process::output(Command::new(python).args(["-c", script])).ok()?;
    Some(format!("packages: {}", said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_ratio_and_whether_the_aim_is_met() {
        let mut case = Case::new("forward".into());
        for line in [
            r#"{"name":"forward","seconds_min":3,"seconds_median":4,"aim":{"time_ratio":0.75}}"#,
            r#"{"name":"forward","peer":"a","seconds_min":3.5,"seconds_median":4}"#,
        ] {
            case.add(serde_json::from_str(line).unwrap());
        }
        let row = row(&case, &case.sides[0]);
        assert!(row.contains("| 0.86 |") && row.contains("time ≤ 0.75×: missed"), "{row}");
        assert!(!super::row(&case, &case.sides[1]).contains("missed"));
    }
}
