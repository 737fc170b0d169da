//! The same command line again and again, as job schedulers give it: it starts, resumes or is done.

use std::{fs, path::Path, process::Output};

use sonotune_testing::Tiny;

use crate::support::{
    CLASSIFICATION, assert_contains, assert_fails, assert_success, json, last, metrics, phantoms,
    read_json, sonotune, stdout,
};

const CONFIG: i32 = 2;

fn tiny(folder: &Path) -> Tiny {
    let tiny = Tiny::run(folder).data(&phantoms().join("phantoms")).task(CLASSIFICATION);
    tiny.set("train.checkpoint_every_steps=2")
}

fn again(folder: &Path, more: &[&str]) -> Output {
    let config = folder.join("config.toml").display().to_string();
    sonotune(&[&["train", &config, "--resume-or-start"], more].concat())
}

#[test]
fn a_run_starts_goes_on_and_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let through = folder.path().join("through");
    let _ = tiny(folder.path()).set("train.keep_checkpoints=9").write();
    assert_success(&again(folder.path(), &[&format!("run_dir={}", through.display())]));

    // What a process that was killed after step 2 has left.
    let run = folder.path().join("run");
    fs::create_dir_all(run.join("checkpoints")).unwrap();
    for name in ["config.toml", "env.json", "metrics.jsonl"] {
        fs::copy(through.join(name), run.join(name)).unwrap();
    }
    let (step, last_file) = ("step-00000002.safetensors", "checkpoints/last.safetensors");
    fs::copy(through.join("checkpoints").join(step), run.join(last_file)).unwrap();
    let resumed = again(folder.path(), &[]);
    assert_contains(&(stdout(&resumed) + &String::from_utf8_lossy(&resumed.stderr)), &["step 2"]);
    assert!(last(&run) == last(&through));
    assert_eq!(metrics(&run), metrics(&through));

    let (summary, bytes) = (read_json(&run.join("summary.json")), last(&run));
    let text = stdout(&again(folder.path(), &[]));
    assert_contains(&text, &["is finished: 6 steps", &run.display().to_string()]);
    assert_eq!(json(&again(folder.path(), &["--json"]))["summary"], summary);
    assert!(last(&run) == bytes && read_json(&run.join("summary.json")) == summary);
}

#[test]
fn what_a_start_left_before_its_first_checkpoint_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let _ = tiny(folder.path()).write();
    assert_success(&again(folder.path(), &[]));
    let run = folder.path().join("run");
    let bytes = last(&run);
    let begin_again = || {
        assert_success(&again(folder.path(), &[]));
        assert!(last(&run) == bytes);
    };
    // Stopped while it wrote the first checkpoint.
    fs::rename(
        run.join("checkpoints/last.safetensors"),
        run.join("checkpoints/.last.safetensors.aB3xYz.tmp"),
    )
    .unwrap();
    begin_again();
    assert!(!run.join("checkpoints/.last.safetensors.aB3xYz.tmp").exists());
    // Stopped when it had only marked the folder.
    fs::remove_dir_all(&run).unwrap();
    fs::create_dir_all(run.join("checkpoints")).unwrap();
    fs::write(run.join("env.json"), "{\"sonotune\":\"0.1.0\"}").unwrap();
    begin_again();
    // Stopped before that.
    fs::remove_dir_all(&run).unwrap();
    fs::create_dir_all(run.join("checkpoints")).unwrap();
    begin_again();
}

#[test]
fn nothing_that_somebody_may_miss_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let _ = tiny(folder.path()).set("train.keep_checkpoints=1").write();
    assert_success(&again(folder.path(), &[]));
    let run = folder.path().join("run");
    let (last, step) = ("checkpoints/last.safetensors", "checkpoints/step-00000006.safetensors");
    let bytes = fs::read(run.join(last)).unwrap();
    fs::remove_file(run.join(last)).unwrap();
    let refused = again(folder.path(), &[]);
    assert_fails(&refused, CONFIG, &["no last.safetensors", "step-00000006", "--checkpoint STEP"]);
    assert_eq!(fs::read(run.join(step)).unwrap(), bytes);
    // The remedy that it names.
    let resumed = sonotune(&["train", "--resume", &run.display().to_string(), "--checkpoint", "6"]);
    assert_success(&resumed);
    assert_eq!(fs::read(run.join(last)).unwrap(), bytes);

    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    fs::write(run.join("eval-test.json"), "{}").unwrap();
    assert_fails(&again(folder.path(), &[]), CONFIG, &["eval-test.json", "--overwrite"]);

    // A folder of something else.
    fs::remove_dir_all(&run).unwrap();
    fs::create_dir(&run).unwrap();
    fs::write(run.join("thesis.tex"), "").unwrap();
    assert_fails(&again(folder.path(), &[]), CONFIG, &["not a run folder", "thesis.tex"]);
}

#[test]
fn a_run_of_another_config_is_left_alone_and_the_difference_shown() {
    let folder = tempfile::tempdir().unwrap();
    let _ = tiny(folder.path()).write();
    assert_success(&again(folder.path(), &[]));
    let run = folder.path().join("run");
    let bytes = last(&run);
    let other = again(folder.path(), &["optimizer.lr=0.5", "train.ema.decay=0.9"]);
    let words =
        ["optimizer.lr: the run has 0.001, given is 0.5", "train.ema", "given is", "--resume"];
    assert_fails(&other, CONFIG, &words);
    assert!(last(&run) == bytes);
    // The folder is the same under another name.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&run, &link).unwrap();
    assert_success(&again(folder.path(), &[&format!("run_dir={}", link.display())]));
    // Without a checkpoint there is still a run of another config.
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    assert_fails(&again(folder.path(), &["optimizer.lr=0.5"]), CONFIG, &["optimizer.lr"]);
}

#[test]
fn it_excludes_what_says_something_else() {
    for other in ["--overwrite", "--dry-run"] {
        let output = sonotune(&["train", "x.toml", "--resume-or-start", other]);
        assert_fails(&output, CONFIG, &["cannot be used with", other]);
    }
    let output = sonotune(&["train", "--resume", "x", "--resume-or-start"]);
    assert_fails(&output, CONFIG, &["cannot be used with"]);
}
