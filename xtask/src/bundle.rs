//! later
#[derive(Debug, clap::Args)]
pub(crate) struct BundleArgs {}
pub(crate) fn run(_: &BundleArgs) -> anyhow::Result<()> {
    Ok(())
}
