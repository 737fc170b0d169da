//! `sonotune data`.

use anyhow::Result;
use clap::Subcommand;

mod phantom;

#[derive(Debug, Subcommand)]
pub(super) enum DataVerb {
    /// Write a set of synthetic ultrasound images with lesions, as COCO and as list files.
    Phantom(phantom::PhantomArgs),
}

pub(super) fn run(verb: DataVerb) -> Result<()> {
    match verb {
        DataVerb::Phantom(args) => phantom::run(&args),
    }
}
