//! A wheel as a user meets it: installed by pip into an environment of its own, and with the wrong torch.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{OldLinux, PACKAGE, filled, lay_package, needs, pack, share, tag};
use crate::{elf::Needs, libtorch, package, process, workspace};

/// A Python with `venv` and pip; without one, says why the test is skipped.
fn python() -> Option<PathBuf> {
    let found = crate::python::with_pip();
    if let Err(error) = &found {
        eprintln!("skipped: {error:#}");
    }
    found.ok()
}

/// The launcher, with `torch` beside it as `version` says (`None`: no torch), started by `python -m sonotune`.
struct Installed {
    site: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let site = tempfile::tempdir().unwrap();
        let package = site.path().join("sonotune");
        fs::create_dir(&package).unwrap();
        for (name, text) in PACKAGE {
            fs::write(package.join(name), filled(text)).unwrap();
        }
        Self { site }
    }

    /// A torch that fails if it is imported.
    fn torch(&self, folder: &str, version: &str) -> PathBuf {
        let torch = self.site.path().join(folder).join("torch");
        fs::create_dir_all(torch.join("lib")).unwrap();
        fs::write(torch.join("__init__.py"), "raise SystemExit('imported')").unwrap();
        fs::write(torch.join("version.py"), format!("__version__ = '{version}'\n")).unwrap();
        torch
    }

    /// In place of the program, a script that shows what it was given.
    fn program(&self) {
        let bin = self.site.path().join("sonotune/bin");
        fs::create_dir(&bin).unwrap();
        let program = bin.join("sonotune");
        fs::write(&program, "#!/bin/sh\necho \"$1 [${LD_LIBRARY_PATH:-}]\"; exit 3\n").unwrap();
        let mut chmod = Command::new("chmod");
        assert!(chmod.arg("+x").arg(program).status().unwrap().success());
    }

    fn start(&self, python: &Path, more: &[&Path]) -> Output {
        let places = [self.site.path()].into_iter().chain(more.iter().copied());
        Command::new(python)
            // Neither the user's own packages nor the environment's.
            .args(["-S", "-m", "sonotune", "--version"])
            .env("PYTHONPATH", std::env::join_paths(places).unwrap())
            .env_remove("LD_LIBRARY_PATH")
            .current_dir(self.site.path())
            .output()
            .unwrap()
    }

    fn refused(&self, python: &Path) -> String {
        let output = self.start(python, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn the_launcher_says_what_is_wrong_with_torch() {
    let Some(python) = python() else { return };
    let installed = Installed::new();
    let said = installed.refused(&python);
    assert!(said.contains("has no torch") && said.contains("'torch==2.11.*'"), "{said}");
    for other in ["2.10.1+cpu", "2.13.0", "2.110.0"] {
        installed.torch("", other);
        let said = installed.refused(&python);
        assert!(said.contains(&format!("is {other}; Sonotune needs 2.11.")), "{said}");
        assert!(said.contains("pipx install") && said.contains("-m venv"), "{said}");
    }
    let torch = installed.torch("", "2.11.0+cu130");
    let said = installed.refused(&python);
    assert!(said.contains("libtorch_cpu.so is in none of") && said.contains("--force-reinstall"));
    fs::write(torch.join("lib/libtorch_cpu.so"), "").unwrap();
    let said = installed.refused(&python);
    assert!(said.contains("cannot start") && said.contains("Install the wheel anew"), "{said}");
}

#[test]
fn the_program_gets_its_arguments_and_a_torch_elsewhere_by_the_environment() {
    let Some(python) = python() else { return };
    let installed = Installed::new();
    installed.program();
    let elsewhere = installed.torch("elsewhere", "2.11.1");
    fs::write(elsewhere.join("lib/libtorch_cpu.so"), "").unwrap();
    let said = |output: Output| {
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let found = said(installed.start(&python, &[&installed.site.path().join("elsewhere")]));
    assert_eq!(found, format!("--version [{}]\n", elsewhere.join("lib").display()));
    // Beside the package its run path leads there.
    fs::rename(&elsewhere, installed.site.path().join("torch")).unwrap();
    assert_eq!(said(installed.start(&python, &[])), "--version []\n");
}

/// Start-up, exceptions, streams, threads, files and arithmetic, as newer headers compile them.
const PROGRAM: &str = r#"
#include <cmath>
#include <exception>
#include <iostream>
#include <sstream>
#include <string_view>
#include <sys/stat.h>
#include <thread>
static int initialised = 0;
struct Initialiser { Initialiser() { initialised = 42; } } initialiser;
int main(int argc, char **argv) {
    std::exception_ptr caught;
    std::thread([&] {
        try { throw std::runtime_error("thrown"); } catch (...) { caught = std::current_exception(); }
    }).join();
    std::ostringstream out;
    try { auto copy = caught; std::rethrow_exception(copy); } catch (std::exception &error) { out << error.what(); }
    struct stat found;
    out << ' ' << initialised << ' ' << argc << ' ' << stat("/", &found) << ' ' << std::hypot(3.0 * argc, 4.0);
    try { int many = -argc; delete[] new int[many]; } catch (std::bad_alloc &) { out << " bad"; }
    const std::string kept = out.str();
    std::string_view text = kept;
    std::cout << text << std::endl;
}
"#;

#[test]
fn what_is_linked_for_older_machines_runs_and_needs_no_more_than_they_have() {
    let home = tempfile::tempdir().unwrap();
    let old = match OldLinux::make(&home.path().join("old-linux"), "$ORIGIN/../torch/lib") {
        Ok(old) => old,
        Err(error) => {
            eprintln!("skipped: {error:#}");
            return;
        }
    };
    let source = home.path().join("program.cpp");
    fs::write(&source, PROGRAM).unwrap();
    let object = source.with_extension("o");
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++20", "-fPIE", "-c"]).arg(&source).arg("-o").arg(&object);
    process::run(&mut compiler).unwrap();
    let link = |linker: &mut Command, name: &str| {
        let out = home.path().join(name);
        linker.args(["-pie", "-nodefaultlibs", "-Wl,-rpath,/of/this/machine"]).arg(&object);
        linker.args(["-lstdc++", "-lm", "-lgcc_s", "-lc", "-lgcc", "-o"]).arg(&out);
        process::run(linker).unwrap();
        out
    };
    let program = link(&mut Command::new(old.linker()), "program");
    let needs = Needs::of(&program).unwrap();
    assert_eq!(needs.run_path, [Path::new("$ORIGIN/../torch/lib")]);
    tag::ensure_promised(&needs).unwrap();
    let glibc = needs.glibc().unwrap().to_string();
    let minor: u32 = glibc.strip_prefix("2.").unwrap().split('.').next().unwrap().parse().unwrap();
    assert!(minor <= 28, "it needs {glibc}");
    let said = process::output(&mut Command::new(&program)).unwrap();
    assert_eq!(said, "thrown 42 1 0 5 bad\n");
    // The tag tells what is not linked so: it needs more here, unless this machine itself is that old.
    let usual = link(&mut Command::new("c++"), "usual");
    assert!(Needs::of(&usual).unwrap().glibc().unwrap() >= needs.glibc().unwrap());
}

/// `.libtorch` in an environment, as pip would install it: torch, and the libraries that it needs.
fn link_torch(site: &Path) -> Option<()> {
    let found =
        libtorch::of_the_user().ok().flatten().or_else(|| libtorch::of_the_project().ok()?);
    let Some(torch) = found.filter(|torch| torch.dir.join("version.py").exists()) else {
        eprintln!("skipped: there is no libtorch out of a torch package (run `cargo xtask setup`)");
        return None;
    };
    std::os::unix::fs::symlink(&torch.dir, site.join("torch")).unwrap();
    Some(())
}

/// The development program of this build, with the tests' own run path.
fn program() -> Option<PathBuf> {
    let tests = std::env::current_exe().ok()?;
    let program = tests.parent()?.parent()?.join("sonotune");
    if !program.exists() {
        eprintln!("skipped: {} has not been built", program.display());
        return None;
    }
    Some(program)
}

#[test]
fn pip_installs_the_wheel_and_its_program_trains() {
    let (Some(python), Some(program)) = (python(), program()) else { return };
    let home = tempfile::tempdir().unwrap();
    let site = home.path().join("site");
    let bin = lay_package(&site, &program).unwrap();
    package::shell_files(&program, &share(&site)).unwrap();
    let wheel = pack(&site, &needs(&bin).unwrap(), &home.path().join("dist"), 1).unwrap();
    let venv = home.path().join("venv");
    process::run(Command::new(&python).args(["-m", "venv"]).arg(&venv)).unwrap();
    // torch is linked: what pip would download is what `cargo xtask setup` has.
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]).arg(&wheel);
    process::run(&mut pip).unwrap();
    let place = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages =
        process::output(Command::new(venv.join("bin/python")).args(["-c", place])).unwrap();
    if link_torch(Path::new(packages.trim())).is_none() {
        return;
    }
    let sonotune = |arguments: &str| {
        let mut command = Command::new(venv.join("bin/sonotune"));
        command.args(arguments.split(' ')).current_dir(home.path());
        process::output(&mut command).unwrap()
    };
    assert_eq!(sonotune("--version").trim(), format!("sonotune {}", env!("CARGO_PKG_VERSION")));
    assert!(sonotune("doctor").contains("libtorch"));
    sonotune("data phantom data --num-images 8 --image-size 64");
    fs::write(home.path().join("tiny.toml"), TINY).unwrap();
    sonotune("train tiny.toml");
    assert!(home.path().join("run/report.html").exists());
    for file in ["man/man1/sonotune-data-check.1", "bash-completion/completions/sonotune"] {
        assert!(venv.join("share").join(file).exists(), "{file}");
    }
    // What pip wrote down is what is there.
    let mut pip = Command::new(venv.join("bin/python"));
    let listed = process::output(pip.args(["-m", "pip", "show", "--files", "sonotune"])).unwrap();
    for file in ["bin/sonotune", "THIRD-PARTY.txt", "LICENSE-MIT", "launcher.py"] {
        assert!(listed.contains(file), "{listed}");
    }
}

/// Two steps of a network of two blocks.
const TINY: &str = r#"
run_dir = "run"
device = "cpu"
[dataset]
type = "coco"
root = "data"
train = "annotations/train.json"
val = "annotations/val.json"
[preprocess]
image_size = 64
[loader]
batch_size = 2
[backbone]
type = "sam_vit"
embed_dim = 16
depth = 2
num_heads = 2
window_size = 2
global_attn_indexes = [1]
image_size = 64
out_channels = 0
[task]
type = "classification"
[train]
max_steps = 2
"#;

#[test]
fn metadata_asks_for_the_series_that_the_program_is_built_for() {
    let text = filled(super::METADATA);
    assert!(text.contains("Requires-Dist: torch>=2.11,<2.12\n"), "{text}");
    assert!(!text.contains('@'), "{text}");
    assert!(workspace::root().join("LICENSE-MIT").exists());
}
