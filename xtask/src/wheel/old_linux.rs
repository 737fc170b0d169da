//! A folder to link with, so that a program built on this machine starts on older ones: wherever torch's own wheel does.
//!
//! A newer GNU C library defines every symbol of the older ones under its old version, but a linker takes the newest. So
//! it is given libraries of its own: for each of the machine's, one that names the same symbols in the newest version
//! that is old enough, with nothing behind them. What newer headers call that no old version has comes with the program:
//! a few lines of C, and libstdc++'s static half.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::symbols::{self, Kind, Symbol};
use crate::{process, workspace};

/// What a `manylinux_2_28` wheel such as torch's may need (PEP 600; the figures are those of AlmaLinux 8).
const NEWEST: [(&str, &str); 6] = [
    ("GLIBC", "2.28"),
    ("GLIBCXX", "3.4.24"),
    ("CXXABI", "1.3.11"),
    ("GCC", "7.0.0"),
    ("GOMP", "4.5"),
    ("OMP", "4.5"),
];
/// The machine's libraries, and what a linker calls them.
const LIBRARIES: [(&str, &str); 5] = [
    ("libc.so.6", "c"),
    ("libm.so.6", "m"),
    ("libstdc++.so.6", "stdc++"),
    ("libgcc_s.so.1", "gcc_s"),
    ("libgomp.so.1", "gomp"),
];
/// Parts of the C library since 2.34; before, a program had to name them.
const MERGED: [(&str, &str); 2] = [("libpthread.so.0", "pthread"), ("libdl.so.2", "dl")];
const START: &str = include_str!("../../assets/wheel/start.c");
const ADDITIONS: &str = include_str!("../../assets/wheel/additions.c");
const LINKER: &str = include_str!("../../assets/wheel/linker.sh");

/// The folder, ready to link with.
pub(super) struct OldLinux {
    folder: PathBuf,
}

impl OldLinux {
    /// Makes it anew, from the libraries of this machine; its programs search `run_path` for libtorch.
    ///
    /// # Errors
    /// On another processor; if the C compiler or binutils are missing.
    pub(super) fn make(folder: &Path, run_path: &str) -> Result<Self> {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "the wheel is made for x86_64 only, and this machine is {}; `cargo xtask bundle` works on both",
            std::env::consts::ARCH
        );
        workspace::clear(folder)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let old = Self { folder: folder.to_owned() };
        old.compile("start", START)?;
        old.compile("additions", ADDITIONS)?;
        for (library, name) in LIBRARIES {
            old.stub(library)?;
            old.name(name, &old.parts(library)?)?;
        }
        for (library, name) in MERGED {
            old.link_library(library, None)?;
            old.name(name, &[old.folder.join(library)])?;
        }
        old.write_linker(run_path)?;
        Ok(old)
    }

    /// What rustc starts in place of `cc`.
    pub(super) fn linker(&self) -> PathBuf {
        self.folder.join("linker.sh")
    }

    /// Links a library from one object, against those in `search`.
    ///
    /// # Errors
    /// If the compiler fails.
    pub(super) fn shared(
        &self,
        object: &Path,
        search: &[&Path],
        needed: &[&str],
        out: &Path,
    ) -> Result<()> {
        let mut linker = Command::new("c++");
        linker.arg("-shared").arg(object).arg("-L").arg(&self.folder);
        for folder in search {
            linker.arg("-L").arg(folder);
        }
        linker.arg("-Wl,--exclude-libs,libstdc++.a,--as-needed").args(needed);
        process::run(linker.arg("-o").arg(out))
    }

    /// What a linker takes for a library: its stub, and what newer headers add to it.
    fn parts(&self, library: &str) -> Result<Vec<PathBuf>> {
        let stub = self.folder.join(library);
        Ok(match library {
            "libc.so.6" => vec![
                stub,
                self.folder.join("additions.o"),
                compilers_file("libc_nonshared.a")?,
                compilers_file("ld-linux-x86-64.so.2")?,
            ],
            "libstdc++.so.6" => vec![stub, compilers_file("libstdc++.a")?],
            _ => vec![stub],
        })
    }

    fn compile(&self, name: &str, source: &str) -> Result<()> {
        let file = self.write(&format!("{name}.c"), source)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-fPIC", "-fno-stack-protector", "-fno-builtin", "-c"]);
        process::run(compiler.arg(file).arg("-o").arg(self.folder.join(format!("{name}.o"))))
            .context("the wheel needs a C compiler (Debian, Ubuntu: apt install g++)")
    }

    /// The library of this machine, cut down to what is old enough.
    fn stub(&self, library: &str) -> Result<()> {
        let symbols = symbols::of(&compilers_file(library)?)?;
        let symbols = symbols::newest_within(symbols, &NEWEST);
        ensure!(!symbols.is_empty(), "{library} of this machine has no symbol that is old enough");
        self.write(&format!("{library}.s"), &assembly(&symbols))?;
        self.write(&format!("{library}.map"), &versions(&symbols))?;
        self.link_library(library, Some(library))
    }

    fn link_library(&self, library: &str, source: Option<&str>) -> Result<()> {
        let mut linker = Command::new("cc");
        linker.args(["-shared", "-nostdlib"]).arg("-o").arg(self.folder.join(library));
        linker.arg(format!("-Wl,-soname,{library}"));
        match source {
            Some(name) => linker
                .arg(self.folder.join(format!("{name}.s")))
                .arg(format!("-Wl,--version-script,{}/{name}.map", self.folder.display())),
            None => linker.args(["-x", "c", "/dev/null"]),
        };
        process::run(&mut linker)
    }

    /// Makes `-lNAME` mean these files.
    fn name(&self, name: &str, files: &[PathBuf]) -> Result<()> {
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let is_loader = |file: &&String| file.contains("/ld-linux");
        let (loader, files): (Vec<_>, Vec<_>) = files.iter().partition(is_loader);
        let mut script =
            format!("GROUP ( {}", files.iter().fold(String::new(), |s, f| s + f + " "));
        for loader in loader {
            let _ = write!(script, "AS_NEEDED ( {loader} ) ");
        }
        self.write(&format!("lib{name}.so"), &(script + ")\n")).map(|_| ())
    }

    fn write_linker(&self, run_path: &str) -> Result<()> {
        let mut text = LINKER.to_owned();
        let files = [
            ("@CRTI@", "crti.o"),
            ("@CRTBEGIN@", "crtbeginS.o"),
            ("@CRTEND@", "crtendS.o"),
            ("@CRTN@", "crtn.o"),
        ];
        for (place, name) in files {
            text = text.replace(place, &compilers_file(name)?.display().to_string());
        }
        text = text.replace("@FOLDER@", &self.folder.display().to_string());
        let linker = self.write("linker.sh", &text.replace("@RUN_PATH@", run_path))?;
        fs::set_permissions(&linker, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} executable", linker.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

/// A file of the compiler or the C library, where the compiler finds it.
fn compilers_file(name: &str) -> Result<PathBuf> {
    let found = process::output(Command::new("c++").arg(format!("-print-file-name={name}")))
        .context("the wheel needs a C++ compiler (Debian, Ubuntu: apt install g++)")?;
    let path = PathBuf::from(found.trim());
    ensure!(path.is_absolute(), "the C++ compiler has no {name} (Debian, Ubuntu: apt install g++)");
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}

/// Symbols with their versions and nothing behind them; data keeps its size, which a program may copy.
fn assembly(symbols: &BTreeMap<String, Symbol>) -> String {
    let mut text = String::new();
    for (index, (name, symbol)) in symbols.iter().enumerate() {
        let (section, kind, size) = match symbol.kind {
            Kind::Function => (".text", "@function", 1),
            Kind::Data => (".bss", "@object", symbol.size.max(1)),
            Kind::Local => (".section .tbss, \"awT\", @nobits", "@tls_object", symbol.size.max(1)),
        };
        let _ = write!(
            text,
            "{section}\n.balign 32\n.globl stub{index}\n.symver stub{index}, {name}@@{}\n.type stub{index}, {kind}\n\
             stub{index}: .skip {size}\n.size stub{index}, {size}\n",
            symbol.version_text(),
        );
    }
    text + ".section .note.GNU-stack, \"\", @progbits\n"
}

/// The versions as a linker wants them: each family's follow one another.
fn versions(symbols: &BTreeMap<String, Symbol>) -> String {
    let mut all: Vec<_> = symbols.values().map(|s| (&s.family, &s.version)).collect();
    all.sort();
    all.dedup();
    let (mut text, mut before) = (String::new(), None);
    for (family, version) in all {
        let parent = before.filter(|(last, _)| *last == family);
        let own = parent.map_or("local: stub*;", |_| "");
        let parent = parent.map(|(_, older)| format!(" {family}_{older}")).unwrap_or_default();
        let _ = writeln!(text, "{family}_{version} {{ {own} }}{parent};");
        before = Some((family, version));
    }
    text
}
