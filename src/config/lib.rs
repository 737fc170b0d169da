//! A config as plain data, read from TOML; what its keys are, a [`Schema`] says.
//!
//! [`load`] goes file → tree that knows its lines ([`parse`](self)) → `extends` → overrides →
//! typed schema → ranges. `docs/configuration.md` is the user's side of it.

mod de;
mod diagnose;
mod inherit;
mod json_schema;
mod keys;
mod locate;
mod node;
mod overrides;
mod parse;
mod problem;
mod registry;
mod render;

use std::path::{Path, PathBuf};

pub use json_schema::{DescribedKey, described_keys, disagreements, json_schema, schema_of_types};
pub use keys::KeyInfo;
pub use node::Origin;
pub use problem::{Problem, Severity};
pub use registry::{Registered, Summary, known_keys, registered};
pub use schemars;
use serde::{Serialize, de::DeserializeOwned};

use anyhow::Result;
use sonotune_base::Error;

/// The typed form of a config, and what types cannot say about it.
pub trait Schema: Serialize + DeserializeOwned + schemars::JsonSchema {
    /// Its tables that a linked crate can add a `type` to.
    const TABLES: &'static [&'static str];

    /// Ranges, and keys that contradict each other; each problem names its key.
    fn validate(&self) -> Vec<Problem>;

    /// Checks that no two linked-in types share a name.
    ///
    /// # Errors
    /// Names them.
    fn check_linked() -> Result<()> {
        Ok(())
    }
}

/// A config with all that it inherits and overrides, checked.
#[derive(Debug)]
pub struct Loaded<C> {
    /// The typed config.
    pub config: C,
    /// The whole config as TOML, defaults written out; loading it gives the same config.
    pub resolved: String,
    /// Problems that do not keep a run from starting.
    pub warnings: Vec<Problem>,
    path: PathBuf,
    tree: node::Node,
}

/// Reads a config, follows `extends`, applies `key=value` overrides, and checks the result.
///
/// Relative paths inside `extends` start at the file that holds them; all others (`run_dir`,
/// dataset and weight paths) at the working directory.
///
/// # Errors
/// Of kind config; one text that names every problem with file, line and key.
pub fn load<C: Schema>(path: &Path, overrides: &[String]) -> Result<Loaded<C>> {
    check(path, overrides).map_err(|problems| Error::config(problem::report(&problems)).into())
}

/// Same as [`load`] for the first of `paths`, on top of which the others are merged in their order, as if a file
/// extended them all.
///
/// # Errors
/// Same errors as [`load`]; also if there is no path.
pub fn load_layers<C: Schema>(paths: &[PathBuf], overrides: &[String]) -> Result<Loaded<C>> {
    let problems = |problems: Vec<Problem>| Error::config(problem::report(&problems));
    registry::ensure_unique::<C>()?;
    let mut reader = inherit::Reader::default();
    let tree = reader.read_layers(paths).map_err(|problem| problems(vec![problem]))?;
    let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
    complete(first, tree, overrides, reader).map_err(|found| problems(found).into())
}

/// Same as [`load`], with the problems one by one.
///
/// # Errors
/// All that is wrong.
pub fn check<C: Schema>(path: &Path, overrides: &[String]) -> Result<Loaded<C>, Vec<Problem>> {
    registry::ensure_unique::<C>().map_err(|error| vec![Problem::error(format!("{error:#}"))])?;
    let mut reader = inherit::Reader::default();
    let tree = reader.read(path).map_err(|problem| vec![problem])?;
    complete(path, tree, overrides, reader)
}

/// From the tree of a file, with what it inherits, to the checked config.
fn complete<C: Schema>(
    path: &Path,
    mut tree: node::Node,
    overrides: &[String],
    mut reader: inherit::Reader,
) -> Result<Loaded<C>, Vec<Problem>> {
    overrides::apply(&mut tree, overrides, &mut reader).map_err(|problem| vec![problem])?;
    let config: C = diagnose::deserialize(&tree)?;
    let resolved = render::resolved(&config).map_err(|e| vec![Problem::error(format!("{e:#}"))])?;
    let mut loaded =
        Loaded { config, resolved, warnings: reader.notes, path: path.to_owned(), tree };
    let (errors, warnings): (Vec<_>, Vec<_>) = loaded
        .config
        .validate()
        .into_iter()
        .map(|problem| match loaded.origin(&problem.key) {
            Some(origin) => problem.at(origin.clone()),
            None => problem,
        })
        .partition(|problem| problem.severity == Severity::Error);
    if errors.is_empty() {
        for warning in warnings {
            if !loaded.warnings.contains(&warning) {
                loaded.warnings.push(warning);
            }
        }
        return Ok(loaded);
    }
    Err(errors)
}

impl<C: Schema> Loaded<C> {
    /// The file that was loaded.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same config with further `key=value` overrides.
    ///
    /// # Errors
    /// Same errors as [`load`].
    pub fn with_overrides(&self, overrides: &[String]) -> Result<Self> {
        let mut reader = inherit::Reader::default();
        reader.notes.clone_from(&self.warnings);
        complete(&self.path, self.tree.clone(), overrides, reader)
            .map_err(|problems| Error::config(problem::report(&problems)).into())
    }

    /// Where a key, e.g. `optimizer.groups.0.lr_multiplier`, was given; `None`: it is a default.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        let path = parse::dotted_key(key)?;
        self.tree.origin_at(&path)
    }

    /// `FILE:LINE: ` or `override N (…): ` to start a message about a key; defaults are marked as such.
    #[must_use]
    pub fn locate(&self, key: &str) -> String {
        match self.origin(key) {
            Some(origin) => format!("{origin}: `{key}`"),
            None => format!("{}: `{key}` (default)", self.path.display()),
        }
    }

    /// The resolved text with a comment after each value that says where it came from.
    #[must_use]
    pub fn with_origins(&self) -> String {
        render::with_origins(&self.resolved, |path| self.origin_text(path))
    }

    /// Every value's key, and where it came from: an origin, or `default`.
    #[must_use]
    pub fn origins(&self) -> Vec<(String, String)> {
        let values = render::values(&self.resolved);
        let text = |(path, _): (Vec<String>, usize)| (node::dotted(&path), self.origin_text(&path));
        values.into_iter().map(text).collect()
    }

    fn origin_text(&self, path: &[String]) -> String {
        self.tree.origin_at(path).map_or("default".to_owned(), ToString::to_string)
    }
}
