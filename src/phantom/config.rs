//! What to generate, as plain data.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use sonotune_base::Error;

/// Organ-like appearance; decides probe, background, lesion classes and distractors.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Linear probe on layered tissue: `cyst`, `benign`, `malignant`.
    Breast,
    /// Endocavity convex probe on banded, heterogeneous tissue: `simple_cyst`, `endometrioma`,
    /// `dermoid`, `carcinoma`.
    Ovary,
    /// Abdominal convex probe on homogeneous tissue with vessels: `cyst`, `haemangioma`,
    /// `metastasis`.
    Liver,
}

impl Kind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Breast, Self::Ovary, Self::Liver];

    /// The name in configs and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Breast => "breast",
            Self::Ovary => "ovary",
            Self::Liver => "liver",
        }
    }

    /// Names of its classes, in the order of category ids (from 1) and class indices (from 0).
    #[must_use]
    pub fn classes(self) -> Vec<&'static str> {
        super::traits::lesions(self).iter().map(|lesion| lesion.name).collect()
    }
}

/// A phantom dataset. Image `index` depends on `seed`, `kind` and the rendering options alone, so
/// a larger `num_images` extends a smaller set (its splits are drawn again).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhantomConfig {
    /// Images over all splits.
    pub num_images: usize,
    /// Height and width of each image, pixels.
    pub image_size: u32,
    /// Every random choice derives from it.
    pub seed: u64,
    /// Organ-like appearance.
    pub kind: Kind,
    /// Views of one patient: the same lesion and machine, a different plane. The last patient may have
    /// fewer.
    pub images_per_patient: usize,
    /// An image shows 1 to this many lesions.
    pub max_lesions: usize,
    /// Share of images without a lesion, in [0, 1).
    pub empty_fraction: f64,
    /// Whether lesions of one image may differ in class; otherwise all have the patient's class
    /// and the image has a label.
    pub mixed_classes: bool,
    /// Share of the patients of each class in the training split.
    pub train_fraction: f64,
    /// Share in the validation split; the rest is the test split.
    pub val_fraction: f64,
    /// Depth ruler, grey bar and focus mark as scanners draw them.
    pub marks: bool,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self {
            num_images: 1000,
            image_size: 512,
            seed: 0,
            kind: Kind::Breast,
            images_per_patient: 3,
            max_lesions: 1,
            empty_fraction: 0.0,
            mixed_classes: false,
            train_fraction: 0.7,
            val_fraction: 0.15,
            marks: true,
        }
    }
}

impl PhantomConfig {
    /// Allowed sides of an image: below, lesions vanish; above, beams are coarser than pixels.
    pub const IMAGE_SIZES: std::ops::RangeInclusive<u32> = 64..=2048;
    /// More lesions than this leave no room for tissue.
    pub const MAX_LESIONS: usize = 8;

    /// Checks that the values describe a valid dataset.
    ///
    /// # Errors
    /// Names the first key that is invalid, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        let fraction = |value: f64| value.is_finite() && (0.0..=1.0).contains(&value);
        let problem = if self.num_images == 0 {
            "num_images is 0; at least 1 is needed".to_owned()
        } else if self.num_images > 10_000_000 {
            format!("num_images is {}; at most 10000000 are possible", self.num_images)
        } else if !Self::IMAGE_SIZES.contains(&self.image_size) {
            let (low, high) = (Self::IMAGE_SIZES.start(), Self::IMAGE_SIZES.end());
            format!("image_size is {}; expected {low} to {high} pixels", self.image_size)
        } else if self.images_per_patient == 0 {
            "images_per_patient is 0; at least 1 is needed".to_owned()
        } else if !(1..=Self::MAX_LESIONS).contains(&self.max_lesions) {
            format!(
                "max_lesions is {}; expected 1 to {} (for images without lesions use empty_fraction)",
                self.max_lesions,
                Self::MAX_LESIONS
            )
        } else if !fraction(self.empty_fraction) || self.empty_fraction >= 1.0 {
            format!("empty_fraction is {}; expected 0 or more and below 1", self.empty_fraction)
        } else if !fraction(self.train_fraction) {
            format!("train_fraction is {}; expected 0 to 1", self.train_fraction)
        } else if !fraction(self.val_fraction) {
            format!("val_fraction is {}; expected 0 to 1", self.val_fraction)
        } else if self.train_fraction + self.val_fraction > 1.0 + 1e-9 {
            format!(
                "train_fraction {} and val_fraction {} add up to more than 1",
                self.train_fraction, self.val_fraction
            )
        } else {
            return Ok(());
        };
        bail!(Error::config(format!("phantom: {problem}")))
    }

    /// Number of the patient shown in image `index`.
    #[must_use]
    pub fn patient_of(&self, index: usize) -> usize {
        index / self.images_per_patient
    }

    /// Patients over all splits.
    #[must_use]
    pub fn num_patients(&self) -> usize {
        self.num_images.div_ceil(self.images_per_patient)
    }
}
