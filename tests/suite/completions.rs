//! `sonotune completions` in real shells, and `sonotune man`.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::support::{assert_fails, json, sonotune, stdout};

/// What bash offers after these words, the last of which is unfinished.
fn offered(script: &Path, folder: &Path, words: &[&str]) -> BTreeSet<String> {
    let (command, last) = (words[0], words.len() - 1);
    let words: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    // As bash itself calls a completion: the command, the word and the one before it.
    let code = format!(
        "source '{}'; COMP_WORDS=({}); COMP_CWORD={last}; f=$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
         $f {command} \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        words.join(" "),
    );
    let output =
        Command::new("bash").args(["--norc", "-c", &code]).current_dir(folder).output().unwrap();
    stdout(&output).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_values_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("sonotune.bash");
    fs::write(&script, stdout(&sonotune(&["completions", "bash"]))).unwrap();
    fs::write(folder.path().join("my-config.toml"), "").unwrap();
    fs::create_dir(folder.path().join("my-run")).unwrap();
    let offered = |words: &[&str]| offered(&script, folder.path(), words);
    let verbs = offered(&["sonotune", "co"]);
    assert!(
        ["compare", "coco-eval", "config", "completions"].iter().all(|verb| verbs.contains(*verb)),
        "{verbs:?}"
    );
    assert!(offered(&["sonotune", "data", "sp"]).contains("split"));
    assert!(offered(&["sonotune", "eval", "--sp"]).contains("--split"));
    assert!(offered(&["sonotune", "completions", "z"]).contains("zsh"));
    // Files where a file is expected; for a folder bash itself adds folders, when it completes a line.
    assert!(offered(&["sonotune", "predict", "--config", "my"]).contains("my-config.toml"));
    assert!(!offered(&["sonotune", "eval", "--run", "my"]).contains("my-config.toml"));
}

/// Runs a shell on its script, if the shell is there.
fn accepts(shell: &str, args: &[&str], script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    fs::write(&file, script).unwrap();
    match Command::new(shell).args(args).arg(&file).output() {
        Ok(output) => {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(_) => eprintln!("skipped: no {shell} to read its script"),
    }
}

#[test]
fn each_shell_accepts_its_script() {
    for (shell, parse) in [("bash", &["-n"][..]), ("zsh", &["-n"]), ("fish", &["--no-execute"])] {
        accepts(shell, parse, &stdout(&sonotune(&["completions", shell])));
    }
    for shell in ["elvish", "powershell"] {
        assert!(stdout(&sonotune(&["completions", shell])).contains("annotate"), "{shell}");
    }
    assert_fails(&sonotune(&["completions", "tcsh"]), 2, &["tcsh", "elvish"]);
}

#[test]
fn a_page_for_each_command_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("share/man1").display().to_string();
    let written = json(&sonotune(&["man", &out, "--json"]));
    let pages: Vec<_> =
        written["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
    for page in
        ["sonotune.1", "sonotune-train.1", "sonotune-data-check.1", "sonotune-weights-inspect.1"]
    {
        assert!(pages.contains(&page), "{page} is not among {pages:?}");
    }
    for page in &pages {
        let text = fs::read_to_string(Path::new(&out).join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
    let page = fs::read_to_string(Path::new(&out).join("sonotune-data-check.1")).unwrap();
    assert!(page.contains("sonotune data check"), "the synopsis has the whole command: {page}");
    assert_fails(&sonotune(&["man", &out]), 2, &["sonotune.1 already exists", "--overwrite"]);
    stdout(&sonotune(&["man", &out, "--overwrite"]));
}
