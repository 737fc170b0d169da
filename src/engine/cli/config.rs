//! `sonotune config`.

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {}

pub(super) fn run(verb: ConfigVerb) -> Result<()> {
    match verb {}
}
