//! `cargo xtask bench`: Sonotune and the Python packages in turns. The protocol between this driver
//! and a side is `benches/peers/README.md`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{self, Executable},
    python, setup,
    stages::Stages,
    workspace,
};

mod gpu;
mod measurement;
mod report;
mod scaling;

use measurement::{Case, Measurement};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    which: Option<Which>,
    /// Comparisons to run, by the names of benches/*.rs [default: all].
    names: Vec<String>,
    /// Only cases whose name contains this.
    #[arg(long)]
    case: Option<String>,
    /// Number of turns of each side.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads of each side [default: all cores].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    threads: Option<u32>,
    /// File to write the Markdown to.
    #[arg(long, default_value = "target/bench/results.md")]
    out: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Which {
    /// The bench of a GPU: make a bundle that holds it and run it, or say how to on another machine.
    Gpu(gpu::GpuArgs),
    /// What many GPUs would make of a training step, on paper, from measured buckets of gradients.
    Scaling(scaling::ScalingArgs),
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.which {
        Some(Which::Gpu(args)) => gpu::run(args),
        Some(Which::Scaling(args)) => scaling::run(args),
        None => in_turns(args),
    }
}

fn in_turns(args: &BenchArgs) -> Result<()> {
    let mut stages = Stages::new();
    stages.run("set-up", || setup::ensure_libtorch().map(|_| ()))?;
    let benches = stages.run("build the benches", build)?;
    let chosen = choose(benches, &args.names)?;
    let turns = Turns { rounds: args.rounds, threads: threads(args)?, python: python() };
    let mut cases = Vec::new();
    for bench in &chosen {
        let name = &bench.name;
        cases.extend(stages.run(name, || turns.bench(bench, args.case.as_deref()))?);
    }
    stages.summary();
    let report = report::markdown(&cases, &turns);
    let out = workspace::root().join(&args.out);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&out, &report).with_context(|| format!("cannot write {}", out.display()))?;
    println!("\n{report}\nwritten to {}", workspace::shown(&out));
    Ok(())
}

/// Settings of a bench run.
struct Turns {
    rounds: u32,
    threads: u32,
    /// Python of the peers; without one there are no peers.
    python: Option<PathBuf>,
}

impl Turns {
    /// Measures every case of one comparison.
    fn bench(&self, bench: &Executable, filter: Option<&str>) -> Result<Vec<Case>> {
        let script = workspace::root().join("benches/peers").join(format!("{}.py", bench.name));
        let peers = match &self.python {
            Some(python) if script.is_file() => {
                let mut list = Command::new(python);
                list.arg(&script).arg("--list");
                lines(&process::output(&mut list)?)
            }
            _ => Vec::new(),
        };
        let listed = process::output(Command::new(&bench.path).arg("--list"))?;
        let wanted = |name: &String| filter.is_none_or(|part| name.contains(part));
        lines(&listed)
            .into_iter()
            .filter(wanted)
            .map(|name| {
                let sides = self.sides(&name, bench, &script, &peers);
                self.case(name, &sides)
            })
            .collect()
    }

    /// Command lines that measure a case, Sonotune's first.
    fn sides(
        &self,
        name: &str,
        bench: &Executable,
        script: &Path,
        peers: &[String],
    ) -> Vec<Vec<PathBuf>> {
        let ours = vec![bench.path.clone(), name.into()];
        let of_peers = peers.iter().filter_map(|line| {
            let (case, peer) = line.split_once(char::is_whitespace)?;
            let python = self.python.clone()?;
            (case == name)
                .then(|| vec![python, script.to_path_buf(), case.into(), peer.trim().into()])
        });
        std::iter::once(ours).chain(of_peers).collect()
    }

    fn case(&self, name: String, sides: &[Vec<PathBuf>]) -> Result<Case> {
        let mut case = Case::new(name);
        for round in 1..=self.rounds {
            for side in sides {
                for measured in self.turn(side)? {
                    eprintln!("  {round}/{}  {measured}", self.rounds);
                    case.add(measured);
                }
            }
        }
        Ok(case)
    }

    /// One side's turn at one case.
    fn turn(&self, side: &[PathBuf]) -> Result<Vec<Measurement>> {
        let threads = self.threads.to_string();
        let mut command = Command::new(&side[0]);
        command.args(&side[1..]).current_dir(workspace::root());
        for variable in ["SONOTUNE_BENCH_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, &threads);
        }
        process::without_cargo_run(&mut command);
        let said = process::output(&mut command)?;
        let measured = lines(&said)
            .iter()
            .map(|line| {
                serde_json::from_str(line).with_context(|| {
                    format!(
                        "`{}` printed {line:?}, which is not a measurement",
                        process::line(&command)
                    )
                })
            })
            .collect::<Result<Vec<Measurement>>>()?;
        ensure!(!measured.is_empty(), "`{}` printed no measurement", process::line(&command));
        Ok(measured)
    }
}

fn build() -> Result<Vec<Executable>> {
    let mut build = process::cargo();
    build.args(["bench", "--package", "sonotune", "--bench", "*", "--no-run"]);
    let mut benches = process::cargo_executables(&mut build)?;
    // The binary is also built, for benches that start it.
    benches.retain(|built| built.kind == "bench");
    Ok(benches)
}

fn choose(benches: Vec<Executable>, names: &[String]) -> Result<Vec<Executable>> {
    let known = || benches.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", ");
    for name in names {
        ensure!(
            benches.iter().any(|bench| bench.name == *name),
            "there is no bench `{name}`; benches: {}",
            known()
        );
    }
    Ok(benches.into_iter().filter(|b| names.is_empty() || names.contains(&b.name)).collect())
}

fn threads(args: &BenchArgs) -> Result<u32> {
    match args.threads {
        Some(threads) => Ok(threads),
        None => {
            let cores = std::thread::available_parallelism().context("the number of cores")?;
            Ok(u32::try_from(cores.get())?)
        }
    }
}

fn python() -> Option<PathBuf> {
    let python = python::chosen();
    if python.is_none() {
        eprintln!(
            "no Python for the peers: only Sonotune is measured (`cargo xtask setup \
             --python-peers` installs one; set {} to use your own)",
            python::PYTHON_VARIABLE
        );
    }
    python
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
