//! The program that turns Markdown into a book.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{process, workspace};

/// The version whose output was looked at.
const VERSION: &str = "0.5.4";

/// The `mdbook` of that version on the path, or one of our own in `target/tools`, which is built the first time.
///
/// # Errors
/// If it cannot be built.
pub(super) fn find_or_install() -> Result<PathBuf> {
    let folder = workspace::root().join("target/tools/mdbook");
    let own = folder.join("bin/mdbook");
    for program in [Path::new("mdbook"), &own] {
        if is_wanted(program) {
            return Ok(program.to_owned());
        }
    }
    println!("building mdbook {VERSION} in {}, once", workspace::shown(&folder));
    let mut cargo = process::cargo();
    cargo.args(["install", "mdbook", "--version", &format!("={VERSION}"), "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", "search"]);
    cargo.arg("--root").arg(&folder).arg("--target-dir").arg(folder.join("build"));
    process::run(&mut cargo)?;
    Ok(own)
}

fn is_wanted(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).trim() == format!("mdbook v{VERSION}")
    })
}
