//! US-43d: the shipped specs, and all of them in one go.

mod build;

use anyhow::Result;
use base::words::question;
use include_dir::{Dir, include_dir};

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
    /// The spec, with the reference's defects that are to be reproduced.
    ///
    /// # Errors
    /// Of kind config, when it has no such defect.
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

/// The shipped spec of this slug.
#[must_use]
pub fn find(slug: &str) -> Option<Shipped> {
    shipped().into_iter().find(|shipped| shipped.slug == slug)
}

/// The shipped spec whose name looks most like `slug`, in words for a message.
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
