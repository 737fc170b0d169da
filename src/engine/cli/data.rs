//! `sonotune data`.

use anyhow::Result;
use clap::Subcommand;

mod check;
mod phantom;

#[derive(Debug, Subcommand)]
pub(super) enum DataVerb {
    /// Look a dataset over: counts by class, unreadable images, odd boxes and masks, leaks between
    /// splits.
    Check(check::CheckArgs),
    /// Write a set of synthetic ultrasound images with lesions, as COCO and as list files.
    Phantom(phantom::PhantomArgs),
}

pub(super) fn run(verb: DataVerb) -> Result<()> {
    match verb {
        DataVerb::Check(args) => check::run(&args),
        DataVerb::Phantom(args) => phantom::run(&args),
    }
}
