//! The book's pages, put together from the repository.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

/// Where files are that the book does not have.
const REPOSITORY: &str = "https://github.com/sonotune/sonotune/blob/main/";

/// Copies the README, the pages of `docs/` and their pictures to `pages`, with links that fit there.
///
/// # Errors
/// If a page of `docs/` is not in its table of contents.
pub(super) fn collect(root: &Path, pages: &Path) -> Result<()> {
    let contents = read(&root.join("docs/book/SUMMARY.md"))?;
    fs::create_dir_all(pages).with_context(|| format!("cannot create {}", pages.display()))?;
    write(&pages.join("SUMMARY.md"), &contents)?;
    let readme = read(&root.join("README.md"))?;
    write(&pages.join("README.md"), &moved(&readme, "", &|target| in_root(root, target)))?;
    let mut left_out = BTreeSet::new();
    for path in entries(&root.join("docs"))? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.extension() == Some("md".as_ref()) {
            if !contents.contains(&format!("({name})")) {
                left_out.insert(name.to_owned());
            }
            let text = moved(&read(&path)?, "docs/", &|target| in_docs(root, target));
            write(&pages.join(name), &text)?;
        } else if path.is_dir() && name != "book" {
            copy_folder(&path, &pages.join(name))?;
        }
    }
    ensure!(left_out.is_empty(), "docs/book/SUMMARY.md lacks {left_out:?}: add a line for each");
    Ok(())
}

/// Where a link of the README leads in the book.
fn in_root(root: &Path, target: &str) -> Option<String> {
    let within = target.strip_prefix("docs/")?;
    in_docs(root, within)
}

/// Where a link of a page of `docs/` leads in the book, if the book has that file.
fn in_docs(root: &Path, target: &str) -> Option<String> {
    if target == "../README.md" {
        return Some("README.md".to_owned());
    }
    let inside = !target.starts_with("../") && root.join("docs").join(target).is_file();
    inside.then(|| target.to_owned())
}

/// Changes the targets of relative links: to what `place` says, or to the repository's page of the file, which is relative
/// to `folder` of the repository.
fn moved(text: &str, folder: &str, place: &dyn Fn(&str) -> Option<String>) -> String {
    let link = |target: &str| {
        let (path, fragment) = match target.split_once('#') {
            Some((path, fragment)) => (path, format!("#{fragment}")),
            None => (target, String::new()),
        };
        if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            return target.to_owned();
        }
        match place(path) {
            Some(place) => place + &fragment,
            None => {
                let path = match path.strip_prefix("../") {
                    Some(outside) => outside.to_owned(),
                    None => format!("{folder}{path}"),
                };
                format!("{REPOSITORY}{path}{fragment}")
            }
        }
    };
    let mut starts: Vec<usize> = ["](", "src=\"", "href=\"", "srcset=\""]
        .iter()
        .flat_map(|start| text.match_indices(start).map(|(at, _)| at + start.len()))
        .collect();
    starts.sort_unstable();
    let mut out = String::new();
    let mut done = 0;
    for start in starts {
        let end = text[start..].find([')', '"', ' ']).map_or(text.len(), |end| start + end);
        out.push_str(&text[done..start]);
        out.push_str(&link(&text[start..end]));
        done = end;
    }
    out + &text[done..]
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read =
        || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
    read().with_context(|| format!("cannot read {}", folder.display()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for path in entries(from)?.into_iter().filter(|path| path.is_file()) {
        if let Some(name) = path.file_name() {
            fs::copy(&path, to.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn links_lead_to_pages_of_the_book_or_to_the_repository() {
        let place = |target: &str| (target == "a.md").then(|| "b.md".to_owned());
        let text =
            "[x](a.md#h) ![y](i.png) <img src=\"j.png\"> [z](https://z) [w](#w) [v](../c/d.toml)";
        let expected = "[x](b.md#h) ![y](https://github.com/sonotune/sonotune/blob/main/docs/i.png) <img \
                        src=\"https://github.com/sonotune/sonotune/blob/main/docs/j.png\"> [z](https://z) [w](#w) \
                        [v](https://github.com/sonotune/sonotune/blob/main/c/d.toml)";
        assert_eq!(moved(text, "docs/", &place), expected);
    }

    #[test]
    fn every_page_of_docs_is_in_the_book() {
        let folder = tempfile::tempdir().unwrap();
        collect(&workspace::root(), folder.path()).unwrap();
        assert!(folder.path().join("configuration.md").is_file());
        let contents = fs::read_to_string(folder.path().join("SUMMARY.md")).unwrap();
        for target in contents.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            // The program prints these.
            let printed = target.starts_with("reference/");
            assert!(printed || folder.path().join(target).is_file(), "SUMMARY.md: {target}");
        }
    }
}
