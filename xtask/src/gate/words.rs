//! Habits of translated English, found and answered with better wording.

use std::path::Path;

use anyhow::Result;
use regex_lite::Regex;
use serde::Deserialize;

use super::{
    prose::{self, Prose},
    source::{FIXTURES, Source},
    tree::Tree,
};

pub(super) const FILE: &str = "xtask/words.toml";

/// Extensions of other files than Rust that people read.
const DOCUMENTS: [&str; 5] = ["md", "toml", "py", "cpp", "h"];

/// History stays as it was written, and the list itself is made of what it refuses.
const EXEMPT: [&str; 2] = ["CHANGELOG.md", FILE];

/// `xtask/words.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    habits: Vec<Habit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Habit {
    /// A regular expression; a space in it matches any white space, line breaks included.
    #[serde(deserialize_with = "compile")]
    phrase: Regex,
    better: String,
    /// A match that this one also matches is good English.
    #[serde(default, deserialize_with = "compile_some")]
    unless: Option<Regex>,
    /// How many there may still be.
    #[serde(default)]
    known: usize,
}

fn compile<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    // `^` and `$` are those of lines.
    Regex::new(&format!("(?m){}", text.replace(' ', r"\s+"))).map_err(serde::de::Error::custom)
}

fn compile_some<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Regex>, D::Error> {
    compile(deserializer).map(Some)
}

impl Words {
    /// Every hit in comments, string literals and documents, by habit.
    ///
    /// # Errors
    /// When a document cannot be read.
    pub(super) fn faults(&self, tree: &Tree, sources: &[Source]) -> Result<Vec<String>> {
        let mut hits: Vec<Vec<String>> = vec![Vec::new(); self.habits.len()];
        for source in sources {
            self.search(&source.path, &source.prose, &mut hits);
        }
        for file in tree.files().filter(|file| is_document(file)) {
            self.search(file, &prose::of_document(&tree.text(file)?), &mut hits);
        }
        let excess = hits.into_iter().zip(&self.habits).filter(|(hits, h)| hits.len() > h.known);
        Ok(excess.flat_map(|(hits, _)| hits).collect())
    }

    fn search(&self, file: &Path, prose: &[Prose], hits: &mut [Vec<String>]) {
        for Prose { line, text } in prose {
            for (habit, hits) in self.habits.iter().zip(&mut *hits) {
                for found in habit.phrase.find_iter(text) {
                    let words = found.as_str();
                    if habit.unless.as_ref().is_some_and(|unless| unless.is_match(words)) {
                        continue;
                    }
                    // A match may begin with the end of the line before.
                    let start = found.end() - words.trim_start().len();
                    let line = line + text[..start].matches('\n').count();
                    let words = Vec::from_iter(words.split_whitespace()).join(" ");
                    let (file, better) = (file.display(), &habit.better);
                    hits.push(format!("{file}:{line}: \"{words}\"; better: {better}"));
                }
            }
        }
    }
}

fn is_document(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| DOCUMENTS.contains(&extension))
        && !file.starts_with(FIXTURES)
        && !EXEMPT.iter().any(|exempt| file == Path::new(exempt))
}
