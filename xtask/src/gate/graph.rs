//! Which of a crate's top-level modules imports which.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    imports::{self, Import, Imports, ModulePath, Name},
    manifests::Member,
    source::Source,
    tree::Tree,
};

/// For each module those that it imports, each with the first place that does.
pub(super) type Graph = BTreeMap<String, BTreeMap<String, Place>>;

#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// The graph of `member`, and the faults that keep it from being complete.
pub(super) fn of_crate(member: &Member, tree: &Tree, sources: &[Source]) -> (Graph, Vec<String>) {
    let own = sources.iter().filter(|source| {
        tree.package_of(&source.path) == Some(&*member.folder) && !is_test_file(&source.path)
    });
    let folder = member.crate_root.parent().unwrap_or(Path::new(""));
    let files: Vec<File> = own.filter_map(|source| File::new(source, member, folder)).collect();
    let tests: BTreeSet<PathBuf> = files.iter().flat_map(File::test_files).collect();
    let files: Vec<_> = files.into_iter().filter(|file| !file.is_in(&tests)).collect();
    let root = Root::new(&files);

    let (mut graph, mut faults) = (Graph::new(), Vec::new());
    for file in files {
        for Import { from, path, line } in file.imports.paths {
            let place = Place { file: file.path.to_path_buf(), line };
            let Some(from) = from.into_iter().next().filter(|name| root.modules.contains(name))
            else {
                continue;
            };
            let Some(first) = path.first() else {
                faults.push(format!(
                    "{}:{line}: imports everything in the crate's root, which hides what it needs. \
                     Name the items.",
                    file.path.display()
                ));
                continue;
            };
            if let Some(to) = root.module_of(first).filter(|to| *to != from) {
                graph.entry(from).or_default().entry(to).or_insert(place);
            }
        }
    }
    (graph, faults)
}

/// Files with these names are compiled for tests only.
fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folders = path.parent().into_iter().flat_map(Path::components);
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || folders.into_iter().any(|folder| folder.as_os_str() == "tests")
}

struct File<'s> {
    path: &'s Path,
    /// Empty for the crate's root.
    module: ModulePath,
    imports: Imports,
}

impl<'s> File<'s> {
    /// `None` for what is not in the crate's module tree, e.g. a build script beside `src`.
    fn new(source: &'s Source, member: &Member, folder: &Path) -> Option<Self> {
        let mut module = Vec::new();
        if source.path != member.crate_root {
            let inside = source.path.strip_prefix(folder).ok()?.with_extension("");
            module.extend(inside.iter().map(|part| part.to_string_lossy().into_owned()));
            module.pop_if(|last| last.as_str() == "mod");
        }
        let imports = imports::of_file(&source.tokens, module.clone());
        Some(Self { path: &source.path, module, imports })
    }

    /// What the file's test modules may be called on disk: files, and folders of further files.
    fn test_files(&self) -> Vec<PathBuf> {
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let stem = self.path.file_stem().unwrap_or_default();
        let heads_folder = self.module.is_empty() || stem == "mod";
        let below = if heads_folder { beside.to_path_buf() } else { beside.join(stem) };
        let names = self.imports.test_modules.iter();
        names
            .flat_map(|name| match name.strip_suffix(".rs") {
                Some(_) => vec![beside.join(name)],
                None => vec![below.join(format!("{name}.rs")), below.join(name)],
            })
            .collect()
    }

    fn is_in(&self, tests: &BTreeSet<PathBuf>) -> bool {
        self.path.ancestors().any(|path| tests.contains(path))
    }
}

/// What the crate's root offers to its modules.
struct Root {
    modules: BTreeSet<String>,
    names: BTreeMap<String, ModulePath>,
    /// Items of each module that the root re-exports whole.
    globs: BTreeMap<String, BTreeSet<String>>,
}

impl Root {
    fn new(files: &[File<'_>]) -> Self {
        let root = files.iter().find(|file| file.module.is_empty());
        let modules = root.iter().flat_map(|root| root.imports.modules.iter().cloned()).collect();
        let (mut names, mut globs) = (BTreeMap::new(), BTreeMap::new());
        for Name { name, path } in root.iter().flat_map(|root| &root.imports.names) {
            match name {
                Some(name) => drop(names.insert(name.clone(), path.clone())),
                None => {
                    let inside = files.iter().filter(|file| file.module.first() == path.first());
                    let items = inside.flat_map(|file| file.imports.items.iter().cloned());
                    globs.insert(path.first().cloned().unwrap_or_default(), items.collect());
                }
            }
        }
        Self { modules, names, globs }
    }

    /// The module that `crate::name` comes from; `None` for what the root itself or another crate
    /// defines.
    fn module_of(&self, name: &str) -> Option<String> {
        let mut name = name;
        // A re-export of a re-export: as many steps as there are names, lest a circle goes on.
        for _ in 0..=self.names.len() {
            if self.modules.contains(name) {
                return Some(name.to_owned());
            }
            match self.names.get(name).and_then(|path| path.first()) {
                Some(first) if first != name => name = first,
                _ => break,
            }
        }
        let glob = self.globs.iter().find(|(_, items)| items.contains(name));
        glob.map(|(module, _)| module.clone()).filter(|module| self.modules.contains(module))
    }
}
