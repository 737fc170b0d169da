//! Paths that lead out of a folder.

use std::path::{Component, Path, PathBuf};

/// Whether a path leads out of a folder, judged by its text alone (links are not followed).
pub fn path_leaves(path: &Path, folder: &Path) -> bool {
    let (path, folder) = (tidy(path), tidy(folder));
    let leads_up = folder.as_os_str().is_empty()
        && matches!(path.components().next(), Some(Component::ParentDir | Component::RootDir));
    leads_up || !path.starts_with(&folder)
}

/// A path without `.` and with `..` resolved.
#[must_use]
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(tidy.components().next_back(), Some(Component::Normal(_))) =>
            {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_are_told_from_those_that_turn_round() {
        let leaves = |path: &str, folder: &str| path_leaves(Path::new(path), Path::new(folder));
        assert!(!leaves("data/set/images/1.png", "data/set"));
        assert!(!leaves("data/set/images/../masks/1.png", "data/set/"));
        assert!(leaves("data/set/../1.png", "data/set"));
        assert!(leaves("/data/1.png", "data/set"));
        assert!(leaves("data/setting/1.png", "data/set"));
        assert!(!leaves("./images/1.png", "") && !leaves("images/1.png", "."));
        assert!(leaves("../1.png", "") && leaves("/1.png", ""));
        assert!(!leaves("../other/1.png", "../other"));
        assert!(leaves("../../1.png", "../other"));
    }
}
