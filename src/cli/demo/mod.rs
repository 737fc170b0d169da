//! `sonotune demo`.

mod progress;
mod runner;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use runner::Runner;
use sonotune_demo::{
    Budget, DemoFolder, Plan, Results, comparison_steps, data_steps, prediction_steps,
    pretraining_steps, write_page, write_test_images,
};
use sonotune_shipped::Existing;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The demo's own folder; what an earlier demo left there is replaced.
    #[arg(long, value_name = "DIR", default_value = "sonotune-demo")]
    out: PathBuf,
    /// The long demo: larger sets, more steps, three seeds. About 40 minutes on two cores.
    #[arg(long)]
    full: bool,
    /// Number of seeds for every model. Default: 1, with --full 3.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: Option<u64>,
    /// Only two steps on a few images: checks that everything runs, not that it learns.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Run nothing: write the page again from what is in the folder.
    #[arg(long, conflicts_with_all = ["full", "seeds", "quick"])]
    only_page: bool,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

impl DemoArgs {
    fn plan(&self) -> Plan {
        let budget = match () {
            () if self.quick => Budget::Quick,
            () if self.full => Budget::Full,
            () => Budget::Short,
        };
        Plan::new(budget, self.seeds)
    }
}

pub(super) fn run(args: &DemoArgs) -> Result<()> {
    let folder = DemoFolder::new(&args.out);
    let results = match args.only_page {
        true => Results::read_again(&folder)?,
        false => results(args.plan(), &folder)?,
    };
    results.write(&folder)?;
    write_page(&results, &folder)?;
    if args.json {
        let mut output = serde_json::to_value(&results)?;
        output["page"] = json!(folder.page());
        println!("{}", serde_json::to_string_pretty::<Value>(&output)?);
    } else {
        println!("{}\nopen {}", results.text(), folder.page().display());
    }
    Ok(())
}

/// Runs every step in order, in a folder that is emptied first.
fn results(plan: Plan, folder: &DemoFolder) -> Result<Results> {
    folder.prepare()?;
    sonotune_shipped::copy(folder.path(), Existing::Refuse)?;
    // Two sets of phantoms; for each seed a training, its scores and a comparison; then predictions.
    let num_steps = 2 + 3 * plan.seeds as usize + plan.num_predictions();
    let mut runner = Runner::new(folder, num_steps)?;
    runner.run_all(&data_steps(plan, folder))?;
    write_test_images(folder)?;
    runner.run_all(&pretraining_steps(plan, folder))?;
    runner.run_all(&comparison_steps(plan, folder)?)?;
    runner.run_all(&prediction_steps(plan, folder)?)?;
    Results::read(plan, folder, runner.into_times())
}
