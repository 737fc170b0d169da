//! The command line, command by command.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::markdown::cell;

/// The page about the program and all its commands.
pub(super) fn page(mut program: Command) -> String {
    program.build();
    let mut page = "# The command line\n\nEvery command with its arguments, printed from the program; `sonotune COMMAND \
                    --help` says the same. `KEY=VALUE` are [overrides](../configuration.md#overrides) of the config.\n"
        .to_owned();
    for command in program.get_subcommands().filter(|command| shown(command)) {
        section(&mut page, command, "sonotune", 2);
    }
    page
}

fn shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn section(page: &mut String, command: &Command, above: &str, level: usize) {
    let name = format!("{above} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let about = about.unwrap_or_default();
    let heading = "#".repeat(level);
    let _ = write!(page, "\n{heading} `{name}`\n\n{}.\n", about.trim_end_matches('.'));
    let within: Vec<&Command> =
        command.get_subcommands().filter(|command| shown(command)).collect();
    if within.is_empty() {
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        let _ = write!(page, "\n```text\n{usage}\n```\n");
        arguments(page, command);
    }
    for command in within {
        section(page, command, &name, level + 1);
    }
}

fn arguments(page: &mut String, command: &Command) {
    let own =
        |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let arguments: Vec<&Arg> = command.get_arguments().filter(own).collect();
    if arguments.is_empty() {
        return;
    }
    page.push_str("\n| argument | default | meaning |\n|---|---|---|\n");
    for arg in arguments {
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|v| format!("`{}`", v.to_string_lossy())).collect();
        let takes = arg.get_action().takes_values();
        let defaults = if takes { defaults.join(", ") } else { String::new() };
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
        let mut help = cell(&help.unwrap_or_default());
        let values = arg.get_possible_values();
        if takes && !values.is_empty() {
            let one = |value: &clap::builder::PossibleValue| {
                let name = format!("`{}`", value.get_name());
                value.get_help().map_or(name.clone(), |help| format!("{name}: {help}"))
            };
            let values: Vec<String> = values.iter().filter(|v| !v.is_hide_set()).map(one).collect();
            let _ = write!(help, "<br>• {}", values.join("<br>• "));
        }
        let _ = writeln!(page, "| `{}` | {defaults} | {help} |", spelling(arg).replace('|', "\\|"));
    }
}

/// `--out FILE`, `CONFIG`, `KEY=VALUE...`.
fn spelling(arg: &Arg) -> String {
    let mut text = arg.get_long().map_or(String::new(), |long| format!("--{long}"));
    if arg.get_action().takes_values() {
        let names: Vec<String> = match arg.get_value_names() {
            Some(names) => names.iter().map(ToString::to_string).collect(),
            None => vec![arg.get_id().as_str().to_uppercase()],
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&names.join(" "));
        if arg.get_num_args().is_some_and(|range| range.max_values() > names.len())
            || matches!(arg.get_action(), clap::ArgAction::Append)
        {
            text.push('…');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_and_option_is_on_the_page() {
        let mut program = crate::Cli::command();
        program.build();
        let page = page(crate::Cli::command());
        let mut left = vec![(String::from("sonotune"), &program)];
        while let Some((name, command)) = left.pop() {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                let long = arg.get_long().filter(|long| !matches!(*long, "help" | "version"));
                let spelled = long.is_none_or(|long| page.contains(&format!("| `--{long}")));
                assert!(spelled, "{name} --{long:?}");
            }
            for within in command.get_subcommands().filter(|command| shown(command)) {
                let name = format!("{name} {}", within.get_name());
                assert!(page.contains(&format!("# `{name}`")), "{name}");
                left.push((name, within));
            }
        }
    }
}
