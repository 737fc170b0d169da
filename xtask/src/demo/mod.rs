//! `cargo xtask demo`: the UltraSam paper in miniature. Trains promptable models on phantoms of one
//! kind; then classifiers and instance segmenters for another kind, from their backbones and from a
//! random start.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{bundle, setup, stages::Stages, workspace};

mod folder;
mod results;
mod sonotune;

use folder::DemoFolder;
use results::{ComparedResults, PromptedResults, Results, Score};
use sonotune::{Sonotune, Start, Task};

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Only a few steps on a few images with one seed: checks that everything runs, not that it learns.
    #[arg(long)]
    quick: bool,
    /// Number of seeds for each kind of start.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The demo's own folder; results of an earlier demo there are replaced.
    #[arg(long, default_value = "runs/demo")]
    out: PathBuf,
    /// A `sonotune` to use instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    let folder = DemoFolder::new(workspace::root().join(&args.out));
    // Refused before minutes of building, not after.
    folder.ensure_ours()?;
    let mut stages = Stages::new();
    let binary = match &args.binary {
        // The commands run in the repository's root, wherever the demo was started.
        Some(binary) => std::path::absolute(binary).context("--binary")?,
        None => {
            stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
            stages.run("build", bundle::build_release)?
        }
    };
    let sonotune = Sonotune { binary, quick: args.quick };
    stages.run("phantoms of two kinds", || {
        folder.prepare()?;
        sonotune.phantoms(&folder)
    })?;
    let seeds = if args.quick { 1 } else { args.seeds };
    let prompted = prompt(&mut stages, &sonotune, &folder, seeds)?;
    let compared = Task::ALL
        .map(|task| compare(&mut stages, &sonotune, &folder, task, seeds))
        .into_iter()
        .collect::<Result<_>>()?;
    let results = Results { prompted, compared };
    stages.run("predict images it has not seen", || {
        folder.copy_test_images()?;
        sonotune.predict(&folder)
    })?;
    stages.summary();
    results.write(&folder.results())?;
    println!("\n{results}\n\n{folder}");
    if args.quick {
        println!("\n--quick trains for a few steps only: the figures above mean nothing.");
    }
    Ok(())
}

/// Promptable models from random starts.
fn prompt(
    stages: &mut Stages,
    sonotune: &Sonotune,
    folder: &DemoFolder,
    seeds: u64,
) -> Result<PromptedResults> {
    let mut scores = Vec::new();
    for seed in 0..seeds {
        let name = format!("train with prompts on the one kind, seed {seed}");
        scores.push(stages.run(&name, || {
            sonotune.prompt_train(folder, seed)?;
            sonotune.evaluate(&folder.prompted(seed), PromptedResults::wanted)
        })?);
    }
    Ok(PromptedResults(scores))
}

/// Both kinds of start, in turns, with the same budget and the same seeds.
fn compare(
    stages: &mut Stages,
    sonotune: &Sonotune,
    folder: &DemoFolder,
    task: Task,
    seeds: u64,
) -> Result<ComparedResults> {
    let mut scores = Vec::new();
    for seed in 0..seeds {
        for start in Start::ALL {
            let name = format!("{task} on the other kind: {start} start, seed {seed}");
            let metrics = stages.run(&name, || sonotune.fine_tune(folder, task, start, seed))?;
            scores.push(Score { start, seed, metrics });
        }
    }
    ComparedResults::new(task, scores)
}
