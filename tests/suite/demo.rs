//! `sonotune demo --quick`: everything that the demo does, at sizes that mean nothing.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{assert_fails, assert_success, json, read_json, sonotune};

const CONFIG: i32 = 2;
const INTERRUPTED: i32 = 130;

/// The program in a working directory, which holds nothing of the project.
fn demo_in(home: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    command.current_dir(home).args(["demo", "--out", "my demo"]).args(more);
    command
}

fn demo(home: &Path, more: &[&str]) -> Command {
    demo_in(home, &[&["--quick"], more].concat())
}

/// Values of an attribute in a page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    page.split(begin.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_quick_demo_writes_a_page_that_needs_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("my demo");
    let said = json(&demo(home.path(), &["--json"]).output().unwrap());
    assert_eq!(said["page"], "my demo/demo.html");
    assert_eq!(said["comparison"]["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(said["prompted"].as_array().unwrap().len(), 4);
    assert_eq!(said["steps"].as_array().unwrap().len(), 9);
    assert_eq!(read_json(&folder.join("results.json"))["plan"]["seeds"], 1);

    let page = fs::read_to_string(folder.join("demo.html")).unwrap();
    let sources = values(&page, "src");
    assert!(sources.len() > 20, "{}", sources.len());
    assert!(sources.iter().all(|source| source.starts_with("data:image/jpeg;base64,")));
    assert_eq!(values(&page, "href"), [""; 0]);
    for absent in ["<script", "<link", "@import", "url(", "http-equiv=\"refresh"] {
        assert!(!page.contains(absent), "{absent}");
    }
    for present in
        ["no figure here means anything", "not patients", "class=\"interval\"", "<polyline"]
    {
        assert!(page.contains(present), "{present}");
    }
    assert!(page.contains("sonotune annotate 'my demo/images/prompted'"));
    let picture = fs::read_dir(folder.join("pictures")).unwrap().next().unwrap().unwrap();
    assert!(image::open(picture.path()).unwrap().width() > 500);

    let again = demo_in(home.path(), &["--only-page", "--json"]).output().unwrap();
    assert_eq!(json(&again), said);

    // The comparison is a study, which has nothing left to do.
    let study = folder.join("study-seed0.toml").display().to_string();
    let again = Command::new(env!("CARGO_BIN_EXE_sonotune"))
        .current_dir(home.path())
        .args(["study", &study, "--only-answer"])
        .output()
        .unwrap();
    assert_success(&again);
}

#[test]
fn a_folder_of_something_else_is_refused_and_kept() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("my demo")).unwrap();
    let thesis = home.path().join("my demo/thesis.tex");
    fs::write(&thesis, "years").unwrap();
    let output = demo(home.path(), &[]).output().unwrap();
    assert_fails(&output, CONFIG, &["my demo", "was not made by the demo", "--out"]);
    assert_eq!(fs::read_to_string(thesis).unwrap(), "years");
    assert_fails(&sonotune(&["demo", "--quick", "--full"]), CONFIG, &["--full"]);
    let absent = demo_in(home.path(), &["--only-page"]).output().unwrap();
    assert_fails(&absent, CONFIG, &["results.json is not there", "leave out --only-page"]);
}

#[test]
fn ctrl_c_ends_the_demo_and_its_step() {
    let home = tempfile::tempdir().unwrap();
    let child =
        demo(home.path(), &[]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let log = home.path().join("my demo/logs/phantoms-pretraining.log");
    let begin = Instant::now();
    while !log.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the first step has not begun");
        thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_fails(&output, INTERRUPTED, &["stopped as asked", "begins anew"]);
}

#[test]
fn copied_configs_can_be_extended_and_are_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().display().to_string();
    let said = json(&sonotune(&["config", "copy", &folder, "--json"]));
    assert!(said["files"].as_array().unwrap().len() > 60, "{said}");
    let own = home.path().join("own.toml");
    fs::write(
        &own,
        "extends = \"configs/demo/classification-random.toml\"\nrun_dir = \"runs/own\"\n",
    )
    .unwrap();
    let shown = json(&sonotune(&["config", "show", "--json", &own.display().to_string()]));
    assert_eq!(shown["config"]["backbone"]["embed_dim"], 96);

    fs::write(home.path().join("configs/base/demo.toml"), "# mine\n").unwrap();
    let refused = sonotune(&["config", "copy", &folder]);
    assert_fails(&refused, CONFIG, &["configs/base/demo.toml", "--overwrite"]);
    assert_success(&sonotune(&["config", "copy", &folder, "--overwrite"]));
    assert_success(&sonotune(&["config", "show", &own.display().to_string()]));
}
