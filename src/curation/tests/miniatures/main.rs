//! Converts each of US-43d's datasets in miniature, in the layout of its download, with the shipped
//! spec: `tests/fixtures/us43d` describes the raw files and the expected output.

mod check;
mod fixture;
mod raster;
mod raw;
mod repeat;
mod shapes;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use sonotune_base::stop::StopFlag;
use sonotune_curation::{
    convert::{Converted, Options, convert},
    problem::OnProblem,
    spec::{Choice, Spec},
};

use check::differences;
use fixture::{Miniature, tomls};

const FIXTURES: &str = "tests/fixtures/us43d";
const SPECS: &str = "configs/us43d/datasets";
const DATASETS: usize = 43;

/// A miniature with its spec.
pub(crate) struct Case {
    pub(crate) slug: String,
    pub(crate) miniature: Miniature,
    pub(crate) spec: std::path::PathBuf,
}

/// Runs `check` for each dataset; `MINIATURE=busi` runs one. All failures are reported together.
fn for_each(check: impl Fn(&Case) -> Result<()>) -> Result<()> {
    let only = std::env::var("MINIATURE").ok();
    let specs = tomls(SPECS)?;
    let mut failures = Vec::new();
    for (slug, path) in tomls(FIXTURES)? {
        if only.as_ref().is_some_and(|only| *only != slug) {
            continue;
        }
        if !cfg!(feature = "h264") && slug == "brachial-plexus" {
            println!("skipped: {slug} is video in H.264, which this build leaves out");
            continue;
        }
        let result = Miniature::read(&path).and_then(|miniature| {
            let spec = specs.get(&slug).context("no spec")?.clone();
            check(&Case { slug: slug.clone(), miniature, spec })
        });
        if let Err(error) = result {
            failures.push(format!("== {slug}: {error:#}"));
        }
    }
    ensure!(failures.is_empty(), "{} datasets fail\n{}", failures.len(), failures.join("\n"));
    Ok(())
}

/// A temporary folder, in memory if possible: a conversion waits for the disk, and there are about five
/// hundred of them.
fn scratch() -> Result<tempfile::TempDir> {
    let in_memory = Path::new("/dev/shm");
    let folder = tempfile::tempdir_in(in_memory).or_else(|_| tempfile::tempdir());
    folder.context("creating a temporary folder")
}

fn run(spec: &Spec, source: &Path, out: &Path, options: &Options) -> Result<Converted> {
    convert(spec, source, out, options, &|_| {}, &StopFlag::default())
}

fn threads(threads: usize) -> Options {
    Options { threads: Some(threads), ..Options::default() }
}

fn ensure_same(miniature: &Miniature, out: &Path) -> Result<()> {
    let found = differences(miniature, out)?;
    ensure!(found.is_empty(), "\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn each_dataset_has_a_spec_and_a_miniature() {
    let (fixtures, specs) = (tomls(FIXTURES).unwrap(), tomls(SPECS).unwrap());
    let slugs = |files: &BTreeMap<String, _>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(slugs(&fixtures), slugs(&specs));
    assert_eq!(fixtures.len(), DATASETS);
}

#[test]
fn each_comes_out_as_its_layout_says() -> Result<()> {
    for_each(|case| {
        let folder = scratch()?;
        let source = raw::write(&case.miniature, folder.path())?;
        let spec = Spec::read(&case.spec, &Choice::AsIntended)?;
        ensure!(spec.name == case.miniature.name, "the spec's name is {}", spec.name);
        let name = case.miniature.source.trim_end_matches('/');
        ensure!(
            spec.source.iter().any(|s| s.trim_end_matches('/') == name),
            "the spec's source {:?} does not know {name}",
            spec.source
        );
        let before = repeat::snapshot(folder.path())?;
        let work = scratch()?;
        let out = work.path().join("out");
        run(&spec, &source, &out, &threads(2))?;
        ensure!(before == repeat::snapshot(folder.path())?, "the source folder was changed");
        let beside = std::fs::read_dir(work.path())?.count();
        ensure!(beside == 1, "{beside} entries beside the output folder");
        ensure_same(&case.miniature, &out)
    })
}

#[test]
fn each_comes_out_with_the_reference_s_defects_when_asked_for() -> Result<()> {
    for_each(|case| {
        for published in &case.miniature.published {
            let folder = scratch()?;
            let source = raw::write(&case.miniature, folder.path())?;
            let choice = match published.defects.as_slice() {
                [] => Choice::AsPublished,
                names => Choice::Only(names.to_vec()),
            };
            let spec = Spec::read(&case.spec, &choice)?;
            let out = folder.path().join("out");
            let place = format!("as published, {:?}", published.defects);
            run(&spec, &source, &out, &threads(1)).context(place.clone())?;
            let expected = case.miniature.as_published(published);
            ensure_same(&expected, &out).context(place)?;
        }
        Ok(())
    })
}

#[test]
fn each_defect_has_an_expectation_and_shows() -> Result<()> {
    for_each(|case| {
        let intended = Spec::read(&case.spec, &Choice::AsIntended)?;
        let published = &case.miniature.published;
        let folder = scratch()?;
        let source = raw::write(&case.miniature, folder.path())?;
        let annotations = |name: &str, spec: &Spec| {
            let out = folder.path().join(name);
            run(spec, &source, &out, &threads(1))?;
            anyhow::Ok(std::fs::read(out.join("annotations/all.json"))?)
        };
        let right = annotations("intended", &intended)?;
        for name in intended.defects.keys() {
            let is_expected =
                |p: &fixture::Published| p.defects.is_empty() || p.defects.contains(name);
            ensure!(published.iter().any(is_expected), "no expectation with the defect {name}");
            let spec = Spec::read(&case.spec, &Choice::Only(vec![name.clone()]))?;
            // Changes to test sets after conversion are not part of it.
            if spec.test_min_relative_area != intended.test_min_relative_area {
                continue;
            }
            ensure!(annotations(name, &spec)? != right, "the defect {name} changes nothing");
        }
        Ok(())
    })
}

#[test]
fn what_is_wrong_with_a_source_is_named_or_left_out() -> Result<()> {
    for_each(|case| {
        let spec = Spec::read(&case.spec, &Choice::AsIntended)?;
        for fault in &case.miniature.faults {
            check_fault(case, &spec, fault).with_context(|| fault.what.clone())?;
        }
        Ok(())
    })
}

fn check_fault(case: &Case, spec: &Spec, fault: &fixture::Fault) -> Result<()> {
    let folder = scratch()?;
    let changed = case.miniature.with_fault(fault)?;
    let source = raw::write(&changed, folder.path())?;
    let out = folder.path().join("fail");
    let error = match run(spec, &source, &out, &threads(1)) {
        Ok(_) => anyhow::bail!("no problem is found"),
        Err(error) => error,
    };
    let message = format!("{error:#}");
    let kind = error.downcast_ref::<sonotune_base::Error>().map(|e| e.kind);
    ensure!(kind == Some(sonotune_base::ErrorKind::Data), "an error of kind {kind:?}: {message}");
    for name in &fault.names {
        ensure!(message.contains(name), "the message does not name {name}: {message}");
    }
    ensure!(!out.join("annotations/all.json").exists(), "annotations were written nevertheless");

    let out = folder.path().join("skip");
    let options = Options { on_problem: OnProblem::Skip { cap: 5 }, ..threads(1) };
    let converted = run(spec, &source, &out, &options).context("with problems skipped")?;
    let problems = serde_json::to_value(&converted.left_out.problems)?;
    let is_told = |name: &String| {
        problems.to_string().contains(&serde_json::json!(name).to_string()[1..name.len() + 1])
    };
    ensure!(
        problems[0]["kind"] == serde_json::json!(fault.kind),
        "left out {problems}, expected {}",
        fault.kind
    );
    ensure!(fault.names.iter().all(is_told), "left out {problems}, expected {:?}", fault.names);
    ensure_same(&changed, &out).context("with problems skipped")?;
    let two = folder.path().join("skip-with-two-threads");
    run(spec, &source, &two, &Options { threads: Some(2), ..options })?;
    ensure!(
        repeat::snapshot(&out)? == repeat::snapshot(&two)?,
        "two threads leave out something different"
    );
    Ok(())
}

#[test]
fn threads_and_interruptions_change_no_byte() -> Result<()> {
    for_each(repeat::check)
}

#[test]
fn converting_again_does_nothing_and_another_choice_is_refused() -> Result<()> {
    for_each(repeat::check_again)
}
