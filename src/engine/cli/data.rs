//! `sonotune data`.

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum DataVerb {}

pub(super) fn run(verb: DataVerb) -> Result<()> {
    match verb {}
}
