//! Counts of what the annotations of a split say.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use sonotune_base::{Category, words::counted};

use crate::Dataset;

/// Counts of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    pub source: PathBuf,
    pub source_sha256: Option<String>,
    pub num_images: usize,
    pub num_objects: usize,
    /// Included in `num_objects`.
    pub num_crowds: usize,
    pub images_without_objects: usize,
    pub images_without_label: usize,
    /// Smallest and largest `(height, width)` in the annotations, for each side separately.
    pub image_sizes: Option<[(u32, u32); 2]>,
    pub categories: Vec<CategoryStatistics>,
    /// As in [`Dataset::notes`].
    pub notes: Vec<String>,
}

/// Counts of a category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CategoryStatistics {
    /// Class index.
    pub index: usize,
    /// Id in the annotation file.
    pub id: i64,
    pub name: String,
    pub num_objects: usize,
    /// Images with this label.
    pub num_images: usize,
}

impl Statistics {
    /// Counts a split.
    #[must_use]
    pub fn of(dataset: &Dataset) -> Self {
        let mut counts = Self {
            source: dataset.source.clone(),
            source_sha256: dataset.source_sha256.clone(),
            num_images: dataset.records.len(),
            num_objects: 0,
            num_crowds: 0,
            images_without_objects: 0,
            images_without_label: 0,
            image_sizes: None,
            categories: categories(dataset),
            notes: dataset.notes.clone(),
        };
        for record in &dataset.records {
            counts.num_objects += record.objects.len();
            counts.num_crowds += record.objects.iter().filter(|o| o.is_crowd).count();
            counts.images_without_objects += usize::from(record.objects.is_empty());
            counts.images_without_label += usize::from(record.image_labels.is_empty());
            if let Some((h, w)) = record.size {
                let [low, high] = counts.image_sizes.unwrap_or([(h, w); 2]);
                counts.image_sizes =
                    Some([(low.0.min(h), low.1.min(w)), (high.0.max(h), high.1.max(w))]);
            }
            for object in &record.objects {
                if let Some(category) = counts.categories.get_mut(object.category as usize) {
                    category.num_objects += 1;
                }
            }
            for &label in &record.image_labels {
                if let Some(category) = counts.categories.get_mut(label as usize) {
                    category.num_images += 1;
                }
            }
        }
        counts
    }
}

fn categories(dataset: &Dataset) -> Vec<CategoryStatistics> {
    let counted = |(index, category): (usize, &Category)| CategoryStatistics {
        index,
        id: category.id,
        name: category.name.clone(),
        num_objects: 0,
        num_images: 0,
    };
    dataset.categories.iter().enumerate().map(counted).collect()
}

impl fmt::Display for Statistics {
    /// A paragraph: the split in one line, a line for each category, and the notes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source.display(), counted(self.num_images, "image"))?;
        if let Some([low, high]) = self.image_sizes {
            write!(f, " of {}x{}", low.0, low.1)?;
            if low != high {
                write!(f, " to {}x{}", high.0, high.1)?;
            }
        }
        write!(f, ", {}", counted(self.num_objects, "object"))?;
        if self.num_crowds > 0 {
            write!(f, " ({} as crowds)", self.num_crowds)?;
        }
        // What is true of all images (a list file has no objects at all) is not worth reporting.
        for (count, what) in [
            (self.images_without_objects, "without objects"),
            (self.images_without_label, "without label"),
        ] {
            if count > 0 && count < self.num_images {
                write!(f, ", {} {what}", counted(count, "image"))?;
            }
        }
        writeln!(f)?;
        let width = self.categories.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
        for category in &self.categories {
            writeln!(
                f,
                "  class {} = {:width$}  (id {}): {}, {}",
                category.index,
                category.name,
                category.id,
                counted(category.num_objects, "object"),
                counted(category.num_images, "image"),
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}
