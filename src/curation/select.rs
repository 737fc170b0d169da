//! Assigns the files of a source to roles, and pairs them by key.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex::Regex;
use sonotune_base::Error;

use crate::{
    problem::{Problem, ProblemKind},
    spec::{Duplicates, Files, MaskRule, Strings},
};
use sonotune_archive::Tree;

/// The files of a role, by key.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The files of each key, in path order.
    pub by_key: BTreeMap<String, Vec<Selected>>,
    /// Number of files that the globs matched.
    pub files: usize,
}

/// A file, with the parts of its path that the key's regex names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Path within the source.
    pub path: String,
    /// Named groups of the key's regex.
    pub groups: BTreeMap<String, String>,
}

/// Compiled globs and key.
#[derive(Debug)]
pub struct Selector {
    place: String,
    globs: Vec<String>,
    files: GlobSet,
    not: GlobSet,
    key: KeyRule,
    duplicates: Option<Duplicates>,
}

/// Extracts a key from a text: the groups of a regex, except those nested in others.
#[derive(Debug, Clone)]
pub struct KeyRule {
    regex: Regex,
    numeric: bool,
}

impl KeyRule {
    /// Compiles `pattern`. `place` is the key of the spec, for messages.
    ///
    /// # Errors
    /// Kind config, if `pattern` is not a valid regex or does not have a group.
    pub fn new(place: &str, pattern: &str, numeric: bool) -> Result<Self> {
        let regex = regex(place, pattern)?;
        if regex.captures_len() < 2 {
            bail!(Error::config(format!(
                "{place}: `{pattern}` has no group; put the part that pairs files in parentheses"
            )));
        }
        Ok(Self { regex, numeric })
    }

    /// The key in `text`, with the named groups.
    #[must_use]
    pub fn key(&self, text: &str) -> Option<(String, BTreeMap<String, String>)> {
        let captures = self.regex.captures(text)?;
        let mut parts = Vec::new();
        let mut reached = 0;
        for group in captures.iter().skip(1).flatten() {
            // A nested group names a part of the key that is already included.
            if group.end() > reached || parts.is_empty() {
                parts.push(self.normalised(group.as_str()));
                reached = group.end();
            }
        }
        let key = parts.join("/");
        let named = self.regex.capture_names().flatten();
        let named = named
            .filter_map(|name| Some((name.to_owned(), captures.name(name)?.as_str().to_owned())));
        Some((key, named.collect()))
    }

    fn normalised<'a>(&self, group: &'a str) -> &'a str {
        if !self.numeric || !group.bytes().all(|b| b.is_ascii_digit()) {
            return group;
        }
        let stripped = group.trim_start_matches('0');
        if stripped.is_empty() { "0" } else { stripped }
    }
}

/// Compiles a regex of the spec.
///
/// # Errors
/// Kind config, if the regex is malformed.
pub fn regex(place: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| Error::config(format!("{place}: {error}")).into())
}

/// Compiles globs: `*` does not match `/`, and matching is case-sensitive.
///
/// # Errors
/// Kind config; the message names the glob.
pub fn globs(place: &str, patterns: &Strings) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in &patterns.0 {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|error| Error::config(format!("{place}: {error}")))?);
    }
    set.build().with_context(|| format!("{place}: globs too many or too large"))
}

impl Selector {
    /// Compiles a table with `files`, `not` and `key`.
    ///
    /// # Errors
    /// Kind config, if a glob or regex is malformed.
    pub fn new(place: &str, files: &Files) -> Result<Self> {
        Ok(Self {
            place: place.to_owned(),
            globs: files.files.0.clone(),
            files: globs(&format!("{place}.files"), &files.files)?,
            not: globs(&format!("{place}.not"), &files.not)?,
            key: KeyRule::new(&format!("{place}.key"), &files.key, files.numeric_key)?,
            duplicates: Some(files.duplicates),
        })
    }

    /// Compiles a mask rule.
    ///
    /// # Errors
    /// Same errors as [`Selector::new`].
    pub fn of_masks(place: &str, rule: &MaskRule) -> Result<Self> {
        let files = Files {
            files: rule.files.clone(),
            not: rule.not.clone(),
            key: rule.key.clone(),
            numeric_key: rule.numeric_key,
            duplicates: rule.duplicates,
        };
        let mut selector = Self::new(place, &files)?;
        if rule.several {
            selector.duplicates = None;
        }
        Ok(selector)
    }

    /// The files of `tree` by key; a file without a key, or with a duplicate one, becomes a problem.
    ///
    /// # Errors
    /// Kind data, if no file matches; the message lists what the source contains instead.
    pub fn select(&self, tree: &Tree, problems: &mut Vec<Problem>) -> Result<Selection> {
        let mut selection = Selection::default();
        for path in tree.paths() {
            if !self.files.is_match(path) || self.not.is_match(path) {
                continue;
            }
            selection.files += 1;
            let Some((key, groups)) = self.key.key(path) else {
                problems.push(Problem::new(
                    ProblemKind::NoKey,
                    format!(
                        "{path}: {}.files matches it, {}.key `{}` does not",
                        self.place, self.place, self.key.regex
                    ),
                ));
                continue;
            };
            let file = Selected { path: path.to_owned(), groups };
            selection.by_key.entry(key).or_default().push(file);
        }
        if selection.files == 0 {
            bail!(Error::data(self.nothing_matches(tree)));
        }
        if let Some(rule) = self.duplicates {
            selection.by_key.retain(|key, files| self.resolve(key, files, rule, problems));
        }
        Ok(selection)
    }

    /// Reduces the files of a key to one. Returns whether the key is kept.
    fn resolve(
        &self,
        key: &str,
        files: &mut Vec<Selected>,
        rule: Duplicates,
        problems: &mut Vec<Problem>,
    ) -> bool {
        if files.len() > 1 {
            match rule {
                Duplicates::First => files.truncate(1),
                Duplicates::Last => drop(files.drain(..files.len() - 1)),
                Duplicates::Refuse => {
                    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
                    problems.push(Problem::new(
                        ProblemKind::DuplicateKey,
                        format!(
                            "{}: key `{key}` is shared by {}; extend the regex to include what \
                             distinguishes them, or set `duplicates`",
                            self.place,
                            paths.join(" and ")
                        ),
                    ));
                    return false;
                }
            }
        }
        true
    }

    fn nothing_matches(&self, tree: &Tree) -> String {
        let excluded: Vec<&str> = tree.paths().filter(|path| self.files.is_match(path)).collect();
        if let Some(example) = excluded.first() {
            return format!(
                "{0}.not excludes all {1} files that {0}.files matches, like {example}",
                self.place,
                excluded.len()
            );
        }
        nothing_matches(&format!("{}.files", self.place), &self.globs, tree)
    }
}

/// The message for `patterns`, the globs of the key `place`, that match no file: lists near misses
/// and what the source contains.
#[must_use]
pub fn nothing_matches(place: &str, patterns: &[String], tree: &Tree) -> String {
    let shown: Vec<String> = patterns.iter().map(|glob| format!("`{glob}`")).collect();
    let mut text = format!(
        "{place} = {} matches none of the {} files in the source",
        shown.join(", "),
        tree.paths().count()
    );
    for pattern in patterns {
        if let Some(hint) = near_miss(pattern, tree) {
            text.push_str(&format!("\n  {hint}"));
        }
    }
    text.push_str(&format!("\nThe source contains\n{}", inventory(tree, 12)));
    text
}

/// The smallest change that makes a glob match something.
fn near_miss(pattern: &str, tree: &Tree) -> Option<String> {
    let name = pattern.rsplit_once('/').map_or(pattern, |(_, name)| name);
    let without_first = pattern.split_once('/').map_or(pattern, |(_, rest)| rest);
    let other_case = "globs are case-sensitive";
    let anywhere = format!("**/{pattern}");
    let below = format!("**/{without_first}");
    let by_name = format!("**/{name}");
    // From the smallest change to the largest.
    let changes = [
        (pattern, true, format!("ignoring case, `{pattern}`")),
        (&anywhere, false, format!("`{anywhere}`")),
        (&anywhere, true, format!("ignoring case, `{anywhere}`")),
        (&below, false, format!("`{below}`")),
        (&below, true, format!("ignoring case, `{below}`")),
        (&by_name, false, format!("`{by_name}`")),
        (&by_name, true, format!("ignoring case, `{by_name}`")),
    ];
    changes.into_iter().find_map(|(glob, any_case, shown)| {
        let mut builder = GlobBuilder::new(glob);
        let glob = builder.literal_separator(true).case_insensitive(any_case).build().ok()?;
        let matcher = glob.compile_matcher();
        let mut found = tree.paths().filter(|path| matcher.is_match(path));
        let example = found.next()?;
        let why = if any_case { format!(" ({other_case})") } else { String::new() };
        Some(format!("{shown} would match {}, like {example}{why}", found.count() + 1))
    })
}

/// The kinds of files in `tree` (folder and extension), one per line, the most frequent first: count
/// and an example.
#[must_use]
pub fn inventory(tree: &Tree, lines: usize) -> String {
    let mut kinds = BTreeMap::<String, (usize, &str)>::new();
    for path in tree.paths() {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let ending = name.split_once('.').map_or("(no ending)", |(_, ending)| ending);
        let entry = kinds.entry(format!("{folder}|{ending}")).or_insert((0, path));
        entry.0 += 1;
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let mut text = String::new();
    for (count, example) in kinds.iter().take(lines) {
        text.push_str(&format!("  {count:>7} like {example}\n"));
    }
    if kinds.len() > lines {
        text.push_str(&format!("          and {} more kinds\n", kinds.len() - lines));
    }
    if kinds.is_empty() {
        text.push_str("        no files\n");
    }
    text
}
