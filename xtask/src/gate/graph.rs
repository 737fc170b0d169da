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
    let (root, mut faults) = Root::new(&files);

    let mut graph = Graph::new();
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

/// Files with these names are compiled for tests only, and no others are.
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
}

/// What the crate's root offers to its modules.
struct Root {
    modules: BTreeSet<String>,
    names: BTreeMap<String, ModulePath>,
}

impl Root {
    /// The root, and a fault for each module that it re-exports whole: where a name comes from is
    /// then not written anywhere.
    fn new(files: &[File<'_>]) -> (Self, Vec<String>) {
        let (mut modules, mut names, mut faults) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        for root in files.iter().filter(|file| file.module.is_empty()) {
            modules.extend(root.imports.modules.iter().cloned());
            for Name { name, path } in &root.imports.names {
                match name {
                    Some(name) => drop(names.insert(name.clone(), path.clone())),
                    None if path
                        .first()
                        .is_some_and(|first| root.imports.modules.contains(first)) =>
                    {
                        faults.push(format!(
                            "{}: re-exports everything in `{}`. Name the items.",
                            root.path.display(),
                            path.join("::")
                        ));
                    }
                    None => {}
                }
            }
        }
        (Self { modules, names }, faults)
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
            name = self.names.get(name)?.first()?;
        }
        None
    }
}
