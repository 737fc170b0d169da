//! later
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}
pub(crate) fn run(_: &DemoArgs) -> anyhow::Result<()> {
    Ok(())
}
