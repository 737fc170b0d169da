//! `sonotune list`.

use anyhow::Result;
use clap::Args;

use sonotune_config::Schema;
use sonotune_run::config::{RunConfig, registered};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let all = registered()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    let width = all.iter().map(|r| r.name.len()).max().unwrap_or(0);
    for &table in RunConfig::TABLES {
        println!("{table}s ([{table}] type = …)");
        let mut none = true;
        for one in all.iter().filter(|r| r.table == table) {
            println!("  {:width$}  {}", one.name, one.summary);
            none = false;
        }
        if none {
            println!("  none linked in");
        }
    }
    Ok(())
}
