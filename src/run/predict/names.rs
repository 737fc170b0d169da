//! File names for pictures and masks.

use std::collections::HashSet;

/// Flat file names for images in any folder; no two are the same.
#[derive(Debug, Default)]
pub(super) struct FlatNames(HashSet<String>);

impl FlatNames {
    /// File name without extension.
    pub(super) fn stem(&mut self, image: &str) -> String {
        let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let flat: String = image.chars().map(plain).collect();
        let stem = flat.strip_suffix(".png").unwrap_or(&flat);
        // Neither the folder itself nor its parent.
        let stem =
            if stem.chars().all(|c| c == '.') { format!("_{stem}") } else { stem.to_owned() };
        let mut name = stem.clone();
        for count in 2.. {
            if self.0.insert(name.clone()) {
                break;
            }
            name = format!("{stem}-{count}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_images_have_different_plain_names() {
        let mut names = FlatNames::default();
        assert_eq!(names.stem("a/b c.png"), "a_b_c");
        assert_eq!(names.stem("a.jpg"), "a.jpg");
        assert_eq!(names.stem("a.jpg.png"), "a.jpg-2");
        assert!(!names.stem("../../etc/x.png").contains('/'));
        assert_eq!(names.stem("..png"), "_.");
    }
}
