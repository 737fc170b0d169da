//! Whether the libtorch in this process is the one it was built for.

use super::{Check, LibtorchFacts};

pub(super) fn checks(facts: &LibtorchFacts) -> Vec<Check> {
    let mut checks = vec![version(facts)];
    checks.extend(origin(facts));
    checks
}

/// `2.11` of `2.11.0+cu130`: the part that determines the interface of the C++ library.
fn series(version: &str) -> Option<(&str, &str)> {
    let mut numbers = version.split(['.', '+']);
    Some((numbers.next()?, numbers.next()?))
}

fn version(facts: &LibtorchFacts) -> Check {
    let built_for = &facts.built_for;
    match &facts.loaded_version {
        None => Check::ok("libtorch", format!("{built_for} (the loaded version is unknown)")),
        Some(loaded) if series(loaded) == series(built_for) => {
            Check::ok("libtorch", format!("{loaded}, built for {built_for}"))
        }
        Some(loaded) => Check::fail(
            "libtorch",
            format!("{loaded} is loaded, but this program was built for {built_for}"),
            "use a libtorch of the same series: unset LD_LIBRARY_PATH, or rebuild with LIBTORCH \
             set to the one you want",
        ),
    }
}

fn origin(facts: &LibtorchFacts) -> Vec<Check> {
    const NAME: &str = "libtorch's place";
    let folders: Vec<_> = facts.loaded.iter().filter_map(|file| file.parent()).collect();
    let Some(folder) = folders.first() else { return Vec::new() };
    if folders.len() > 1 {
        let all: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        return vec![Check::fail(
            NAME,
            format!("{} copies of libtorch are in this process: {}", all.len(), all.join(", ")),
            "there must be only one: check LD_PRELOAD and LD_LIBRARY_PATH",
        )];
    }
    let elsewhere = facts.linked_folder.as_deref().filter(|linked| {
        let same = |a: &std::path::Path| a.canonicalize().unwrap_or_else(|_| a.to_owned());
        same(linked) != same(folder)
    });
    // The loader searches there before the program's run path.
    let shadowing = facts
        .ld_library_path
        .as_deref()
        .is_some_and(|paths| std::env::split_paths(paths).any(|path| path.as_path() == *folder));
    vec![match elsewhere {
        Some(linked) if shadowing => Check::warn(
            NAME,
            format!(
                "{}, by LD_LIBRARY_PATH; the program was linked against {}",
                folder.display(),
                linked.display()
            ),
            "unset LD_LIBRARY_PATH, unless you want this libtorch",
        ),
        _ => Check::ok(NAME, folder.display().to_string()),
    }]
}
