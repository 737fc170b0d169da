//! US-43d: the shipped specs, and a build of the whole collection.

mod build;

use anyhow::Result;
use include_dir::{Dir, include_dir};
use sonotune_base::words::question;

pub use build::{BuildOptions, Built, MergedFile, Row, build, survey};

use crate::spec::{Choice, Spec};

static SPECS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../configs/us43d/datasets");

/// A spec that is part of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Name of its file, without `.toml`.
    pub slug: &'static str,
    text: &'static str,
}

impl Shipped {
    /// The spec, with the chosen defects of the reference.
    ///
    /// # Errors
    /// Kind config, if it does not have a chosen defect.
    pub fn spec(&self, choice: &Choice) -> Result<Spec> {
        Spec::parse(self.text, &format!("{}.toml", self.slug), choice)
    }
}

/// All shipped specs, by slug.
#[must_use]
pub fn shipped() -> Vec<Shipped> {
    let mut all: Vec<Shipped> = SPECS
        .files()
        .filter_map(|file| {
            let slug = file.path().file_name()?.to_str()?.strip_suffix(".toml")?;
            Some(Shipped { slug, text: file.contents_utf8()? })
        })
        .collect();
    all.sort_by_key(|shipped| shipped.slug);
    all
}

/// The shipped spec with this slug.
#[must_use]
pub fn find(slug: &str) -> Option<Shipped> {
    shipped().into_iter().find(|shipped| shipped.slug == slug)
}

/// The slug most similar to `slug`, as a suggestion for a message; empty if none is similar.
#[must_use]
pub fn nearest(slug: &str) -> String {
    let slugs = shipped().into_iter().map(|shipped| shipped.slug);
    question(slug, slugs).map(|question| format!(" ({question})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_spec_holds_as_intended_and_as_published() {
        let all = shipped();
        assert!(!all.is_empty());
        for shipped in all {
            let intended = shipped.spec(&Choice::AsIntended).unwrap();
            crate::readers::of(&intended).unwrap();
            let published = shipped.spec(&Choice::AsPublished).unwrap();
            crate::readers::of(&published).unwrap();
            for name in intended.defects.keys() {
                let only = shipped.spec(&Choice::Only(vec![name.clone()])).unwrap();
                assert_ne!(
                    format!("{only:?}"),
                    format!("{intended:?}"),
                    "{}: the defect {name} changes nothing",
                    shipped.slug
                );
            }
        }
    }
}
