//! `cargo xtask`: the project's own commands.
//!
//! Each needs only Cargo, a C++ compiler and a Python with pip, and runs its prerequisites
//! automatically: `cargo xtask demo` in a fresh clone first downloads libtorch and builds.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod book;
mod bundle;
mod check;
mod demo;
#[cfg(test)]
mod documents;
mod elf;
mod fuzz;
mod gate;
mod libtorch;
mod package;
mod process;
mod python;
mod setup;
mod stages;
mod test;
mod test_output;
mod torchrun;
mod wheel;
mod workspace;

/// Set-up, demo, tests, checks, benches, bundle and wheel of Sonotune.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download libtorch 2.11 into .libtorch/ (if LIBTORCH is set, that one is used instead).
    Setup(setup::SetupArgs),
    /// Build, then train, compare and predict on phantoms, and show all of it on one page (`sonotune demo`).
    Demo(demo::DemoArgs),
    /// Run all tests, and list at the end what was skipped and why.
    Test(test::TestArgs),
    /// Run every check, cheapest first: structure and words, formatting, lints, documentation, tests.
    Check(check::CheckArgs),
    /// Measure Sonotune next to the Python packages, taking turns, and print the ratios.
    Bench(bench::BenchArgs),
    /// Make a book of docs/, with the reference that the program prints, and follow its links.
    Book(book::BookArgs),
    /// Make a folder that runs on any Linux machine whose Python has torch 2.11.
    Bundle(bundle::BundleArgs),
    /// Make a package for pip, pipx and uv, which install torch 2.11 with it.
    Wheel(wheel::WheelArgs),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Book(args) => book::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Wheel(args) => wheel::run(&args),
    }
}
