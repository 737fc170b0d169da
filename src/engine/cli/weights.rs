//! `sonotune weights`.

use anyhow::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum WeightsVerb {}

pub(super) fn run(verb: WeightsVerb) -> Result<()> {
    match verb {}
}
