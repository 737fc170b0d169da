//! Whether every link of the book leads somewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

/// Follows all links among the pages in `html`, fragments included, and returns how many there are.
///
/// # Errors
/// Names each page and link that leads nowhere.
pub(super) fn check(html: &Path) -> Result<usize> {
    let mut pages = BTreeMap::new();
    read_pages(html, &mut pages)?;
    let id = Regex::new(r#"\sid="([^"]+)""#)?;
    let target = Regex::new(r#"\s(?:href|src)="([^"]+)""#)?;
    let ids: BTreeMap<&PathBuf, BTreeSet<&str>> =
        pages.iter().map(|(page, text)| (page, all(&id, text).collect::<BTreeSet<_>>())).collect();
    let mut number = 0;
    let mut broken = BTreeSet::new();
    for (page, text) in &pages {
        for link in all(&target, text).filter(|link| !is_elsewhere(link)) {
            number += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let to = match path {
                "" => page.clone(),
                path => plain(&page.parent().unwrap_or(html).join(path)),
            };
            let there = match ids.get(&to) {
                Some(ids) => fragment.is_empty() || ids.contains(fragment),
                None => to.is_file(),
            };
            if !there {
                let page = page.strip_prefix(html).unwrap_or(page).display();
                broken.insert(format!("{page}: {link}"));
            }
        }
    }
    if broken.is_empty() {
        return Ok(number);
    }
    let list: Vec<_> = broken.into_iter().collect();
    bail!("links that lead nowhere:\n{}", list.join("\n"))
}

/// What the first group of a pattern matches.
fn all<'t>(pattern: &Regex, text: &'t str) -> impl Iterator<Item = &'t str> {
    let found: Vec<_> = pattern.captures_iter(text).collect();
    found.into_iter().filter_map(|captures| Some(captures.get(1)?.as_str()))
}

fn is_elsewhere(link: &str) -> bool {
    link.contains("://") || ["mailto:", "data:", "javascript:"].iter().any(|s| link.starts_with(s))
}

fn read_pages(folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            read_pages(&path, pages)?;
        } else if name.ends_with(".html") && !matches!(name, "404.html" | "toc.html" | "print.html")
        {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            pages.insert(path, text);
        }
    }
    Ok(())
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_headings_that_are_not_there_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        write(
            "a.html",
            r##"<h2 id="here"></h2><a href="#here"> <a href="sub/b.html"> <a href="https://x">"##,
        );
        write("sub/b.html", r#"<a href="../a.html#here">"#);
        assert_eq!(check(folder.path()).unwrap(), 3);
        write("sub/b.html", r#"<a href="../a.html#there"> <img src="c.png">"#);
        let message = check(folder.path()).unwrap_err().to_string();
        assert!(message.contains("sub/b.html: ../a.html#there"), "{message}");
        assert!(message.contains("sub/b.html: c.png"), "{message}");
    }
}
