//! `sonotune config`.

mod copy;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use sonotune_base::{Error, fs::atomic_write};
use sonotune_config::{Origin, Problem, Severity, json_schema, known_keys};
use sonotune_run::config::{self, Loaded, RunConfig};
use sonotune_study::StudyConfig;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Print the resolved config: parents merged, overrides applied, defaults written out.
    Show(ShowArgs),
    /// Check configs, and their data as training does before its first step; no weights, no device.
    Validate(ValidateArgs),
    /// List every key that a config can contain.
    Keys(KeysArgs),
    /// Write all shipped configs to a folder, where yours can extend them.
    Copy(copy::CopyArgs),
    /// Print the JSON Schema of configs, by which editors complete and check them.
    Schema(SchemaArgs),
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Config file.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Overrides, e.g. `optimizer.lr=1e-4`; `~weights` removes a key.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Show after each value which line or override it came from.
    #[arg(long)]
    origins: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Config files.
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<PathBuf>,
    /// Override applied to every config; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    /// Those of the file of a study.
    #[arg(long)]
    study: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// That of the file of a study.
    #[arg(long)]
    study: bool,
    /// File to write it to; otherwise it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(verb: ConfigVerb) -> Result<()> {
    match verb {
        ConfigVerb::Show(args) => show(&args),
        ConfigVerb::Validate(args) => validate(&args),
        ConfigVerb::Keys(args) => keys(&args),
        ConfigVerb::Copy(args) => copy::run(&args),
        ConfigVerb::Schema(args) => schema(&args),
    }
}

fn show(args: &ShowArgs) -> Result<()> {
    let loaded = config::load_for_prediction(&args.config, &args.overrides)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    if args.json {
        let mut output = json!({ "config": loaded.config, "warnings": problems(&loaded.warnings) });
        if args.origins {
            output["origins"] = loaded.origins().into_iter().collect::<Value>();
        }
        println!("{}", serde_json::to_string_pretty(&output)?);
    } else if args.origins {
        print!("{}", loaded.with_origins());
    } else {
        print!("{}", loaded.resolved);
    }
    Ok(())
}

fn validate(args: &ValidateArgs) -> Result<()> {
    let results: Vec<_> =
        args.configs.iter().map(|path| (path, check(path, &args.overrides))).collect();
    let num_bad = results.iter().filter(|(_, result)| result.is_err()).count();
    if args.json {
        let files: Vec<Value> = results
            .iter()
            .map(|(path, result)| {
                json!({ "config": path, "valid": result.is_ok(), "problems": problems(found(result)) })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&json!({ "configs": files }))?);
    } else {
        for (path, result) in &results {
            let verdict = if result.is_ok() { "ok" } else { "invalid" };
            println!("{}: {verdict}", path.display());
            for problem in found(result) {
                println!("  {}: {}", severity(problem), problem.to_string().replace('\n', "\n  "));
            }
        }
    }
    if num_bad == 0 {
        return Ok(());
    }
    Err(Error::config(format!("{num_bad} of {} configs invalid", results.len())).into())
}

/// Checks a config, then its data.
fn check(path: &Path, overrides: &[String]) -> Result<Loaded, Vec<Problem>> {
    let mut loaded = config::check(path, overrides)?;
    match sonotune_run::check_data(&loaded.config) {
        Ok(notes) => loaded.warnings.extend(notes.into_iter().map(Problem::warning)),
        Err(error) => return Err(vec![Problem::error(format!("{error:#}")).key("dataset")]),
    }
    Ok(loaded)
}

fn found(result: &Result<Loaded, Vec<Problem>>) -> &[Problem] {
    match result {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    }
}

fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn problems(problems: &[Problem]) -> Vec<Value> {
    let one = |problem: &Problem| {
        let mut value = json!({
            "severity": severity(problem),
            "key": problem.key,
            "message": problem.message,
            "help": problem.help,
        });
        match &problem.origin {
            Some(Origin::File { file, line }) => {
                value["file"] = json!(file.to_string_lossy());
                value["line"] = json!(line);
            }
            Some(Origin::Override { position, text }) => {
                value["override"] = json!({ "position": position, "text": text.as_ref() });
            }
            None => {}
        }
        value
    };
    problems.iter().map(one).collect()
}

fn keys(args: &KeysArgs) -> Result<()> {
    let keys = if args.study { known_keys::<StudyConfig>() } else { known_keys::<RunConfig>() };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&keys)?);
        return Ok(());
    }
    let width = keys.iter().map(|key| key.path.len()).max().unwrap_or(0);
    for key in &keys {
        let only = key.only_for_type.as_ref().map_or(String::new(), |t| format!("  (type {t:?})"));
        println!("{:width$}  {}{only}", key.path, key.value);
    }
    Ok(())
}

fn schema(args: &SchemaArgs) -> Result<()> {
    let schema = if args.study { study_schema() } else { json_schema::<RunConfig>() };
    let text = serde_json::to_string_pretty(&schema)? + "\n";
    match &args.out {
        Some(path) => atomic_write(path, text.as_bytes()),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// The schema of a study's file, in which `set` holds keys of a run's config.
fn study_schema() -> Value {
    let mut schema = json_schema::<StudyConfig>();
    let mut run = json_schema::<RunConfig>();
    for key in ["$schema", "title", "description"] {
        run.as_object_mut().map(|run| run.remove(key));
    }
    for axis in ["tasks", "models", "strategies"] {
        let set = schema.pointer_mut(&format!("/properties/{axis}/items/properties/set"));
        if let Some(set) = set.and_then(Value::as_object_mut) {
            set.remove("additionalProperties");
            set.insert("$ref".to_owned(), json!("#/$defs/run"));
        }
    }
    schema["$defs"]["run"] = run;
    schema
}
