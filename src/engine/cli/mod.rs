//! The command line: one file a verb; the only part of the engine that prints or ends the process.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod config;
mod data;
mod list;
mod weights;

/// Turns a pretrained ultrasound foundation model into a working model for your own task.
#[derive(Debug, Parser)]
#[command(name = "sonotune", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show or validate a config.
    #[command(subcommand)]
    Config(config::ConfigVerb),
    /// Make and look at data.
    #[command(subcommand)]
    Data(data::DataVerb),
    /// Look into weight files and convert them.
    #[command(subcommand)]
    Weights(weights::WeightsVerb),
    /// List the backbones, tasks and datasets that are linked in.
    List(list::ListArgs),
}

/// Parses the process's arguments, does what they say, and reports errors with their exit code.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(crate::error::exit_code(&error))
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    match verb {
        Verb::Config(verb) => config::run(verb),
        Verb::Data(verb) => data::run(verb),
        Verb::Weights(verb) => weights::run(verb),
        Verb::List(args) => list::run(&args),
    }
}
