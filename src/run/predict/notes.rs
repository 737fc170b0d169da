//! What else a user should know about predictions.

use crate::stored_notes::StoredNotes;

/// What was noticed about the images and their predictions.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) others: Vec<String>,
    pub(super) stored: StoredNotes,
    pub(super) below_min_score: usize,
    /// Annotated objects that are crowds or have no pixels.
    pub(super) not_asked: usize,
    pub(super) empty_masks: usize,
    pub(super) without_objects: usize,
    /// Images by whether the size of a pixel is known.
    pub(super) with_spacing: usize,
    pub(super) without_spacing: usize,
}

impl Notes {
    /// One sentence each.
    pub(super) fn sentences(self, min_score: f64) -> Vec<String> {
        let mut sentences = self.others;
        sentences.extend(self.stored.sentences());
        if self.below_min_score > 0 {
            sentences.push(format!(
                "{} object(s) with a score below {min_score} were left out (--min-score)",
                self.below_min_score
            ));
        }
        if self.not_asked > 0 {
            sentences.push(format!(
                "{} annotated object(s) were not used as prompts: crowds, or without pixels",
                self.not_asked
            ));
        }
        if self.without_objects > 0 {
            sentences.push(format!("{} image(s) without an object", self.without_objects));
        }
        if self.with_spacing > 0 && self.without_spacing > 0 {
            sentences.push(format!(
                "the size of a pixel is known for {} image(s); `measures` of the other {} are in pixels",
                self.with_spacing, self.without_spacing
            ));
        }
        if self.empty_masks > 0 {
            sentences.push(format!(
                "{} answer(s) are empty masks; they are in the files with area 0",
                self.empty_masks
            ));
        }
        sentences
    }
}
