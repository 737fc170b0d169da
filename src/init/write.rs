//! The config as text: each line below its reason.

use std::fmt::Write as _;

use crate::{Report, line::Line};

/// Longest line of a comment, characters.
const WIDTH: usize = 100;

/// The config of a report, as TOML with comments.
pub(crate) fn config(report: &Report) -> String {
    let mut text = head(report);
    let mut tables: Vec<&str> = Vec::new();
    for line in &report.lines {
        if !tables.contains(&&*line.table) {
            tables.push(&line.table);
        }
    }
    for table in tables {
        if !table.is_empty() {
            let _ = writeln!(text, "\n[{table}]");
        }
        for line in report.lines.iter().filter(|line| line.table == table) {
            add(&mut text, line);
        }
    }
    text
}

fn head(report: &Report) -> String {
    let mut text = String::new();
    comment(
        &mut text,
        &format!("A first config for {}, written by `sonotune init`.", report.data.display()),
    );
    text.push_str("#\n");
    for command in &report.commands {
        // In one line, however long: it is to be copied.
        let _ = writeln!(text, "#   {command}");
    }
    text.push_str("#\n");
    comment(&mut text, &format!("Found: {}.", report.layout));
    comment(&mut text, &format!("For: {}.", report.machine.words()));
    for decision in &report.decisions {
        let mark = if decision.guess { "Guess: " } else { "" };
        comment(&mut text, &format!("{mark}{}.", decision.what));
    }
    for note in &report.notes {
        comment(&mut text, &format!("Note: {note}."));
    }
    comment(
        &mut text,
        "A reason stands above each line; `guess` marks what the data do not say for sure. docs/first-config.md has the rules.",
    );
    text.push('\n');
    text
}

fn add(text: &mut String, line: &Line) {
    let mark = if line.guess { "guess: " } else { "" };
    comment(text, &format!("{mark}{}", line.reason));
    let _ = writeln!(text, "{} = {}", line.key, line.value);
}

/// Comment lines of words, none with a control character: names of files may have any.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        let word: String = word.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if line.len() > 1 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(&word);
    }
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_wrapped_and_values_are_toml() {
        let mut text = String::new();
        let reason = "word ".repeat(60);
        let value =
            toml::Value::Table(toml::Table::from_iter([("a \"b\"".to_owned(), 1.5.into())]));
        add(&mut text, &Line::new("task", "class_weights", value, reason));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let read: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(read["class_weights"]["a \"b\""].as_float(), Some(1.5));
    }
}
