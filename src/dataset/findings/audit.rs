//! A split as its files describe it, including their faults.

use std::path::{Path, PathBuf};

use crate::findings::{Code, Findings, Place};
use crate::image_names::Elsewhere;
use crate::pixels::ImageFile;
use crate::{Dataset, Object, Record};
use sonotune_base::{Category, ImageId};

/// What could be read of a split, and what was wrong with the rest.
///
/// Opening a split stops at its first fault; this continues and keeps what is valid.
#[derive(Debug, Default)]
pub struct Audit {
    /// Annotation file, list or folder.
    pub source: PathBuf,
    /// Folder that should contain every image.
    pub root: Option<PathBuf>,
    /// In the order of class indices.
    pub categories: Vec<Category>,
    pub images: Vec<AuditedImage>,
    /// Images that are listed but left out by the config.
    pub left_out: Vec<PathBuf>,
    /// Where missing images are, if it can be told.
    pub elsewhere: Option<Elsewhere>,
    pub findings: Findings,
}

/// An image, with those of its objects that could be read.
#[derive(Debug)]
pub struct AuditedImage {
    pub image_id: ImageId,
    pub path: PathBuf,
    /// Which frame of the file; see [`Record::frame`].
    pub frame: Option<u32>,
    /// `images[3]`, `line 12`.
    pub entry: Option<String>,
    /// `(height, width)` as annotated.
    pub size: Option<(u32, u32)>,
    /// `[row, column]`, millimetres a pixel.
    pub spacing: Option<[f64; 2]>,
    /// Class indices of the image as a whole.
    pub image_labels: Vec<u32>,
    pub objects: Vec<AuditedObject>,
    /// Whether it should have objects but has none, not even a malformed one.
    pub without_objects: bool,
    /// Patient and clip, distinguished by dataset.
    pub patient: Option<Box<str>>,
    pub clip: Option<Box<str>>,
    /// Keys that may group the images of a patient, and their values, distinguished by dataset.
    pub parts: Vec<(Box<str>, Box<str>)>,
}

impl AuditedImage {
    /// What its pixels are read from.
    #[must_use]
    pub fn image_file(&self) -> ImageFile {
        ImageFile::new(&self.path, self.frame)
    }
}

/// An object.
#[derive(Debug)]
pub struct AuditedObject {
    pub object: Object,
    /// Position in the file's `annotations`.
    pub entry: Option<u32>,
    pub id: Option<ImageId>,
    /// Whether box and area come from the file, rather than computed from the mask.
    pub own_box: bool,
    pub own_area: bool,
}

impl Audit {
    /// The audit of a split that opens, or of one that does not, with the reason.
    pub fn of(opened: anyhow::Result<Dataset>, source: &Path) -> Self {
        match opened {
            Ok(dataset) => Self::from(dataset),
            Err(error) => {
                let mut audit = Self { source: source.to_owned(), ..Self::default() };
                audit.findings.add(Code::CannotOpen, Place::file(source), format!("{error:#}"));
                audit
            }
        }
    }

    /// Where an image is.
    #[must_use]
    pub fn place(&self, image: &AuditedImage) -> Place {
        Place {
            file: Some(self.source.clone()),
            entry: image.entry.clone(),
            image: Some(image.image_file().name()),
            image_id: Some(image.image_id.clone()),
            ..Place::default()
        }
    }

    /// Where an object is.
    #[must_use]
    pub fn object_place(&self, image: &AuditedImage, object: &AuditedObject) -> Place {
        let category = self.categories.get(object.object.category as usize);
        Place {
            entry: object.entry.map(|i| format!("annotations[{i}]")),
            annotation_id: object.id.clone(),
            category: category.map(|c| c.name.clone()),
            ..self.place(image)
        }
    }

    /// The valid part, as a dataset.
    #[must_use]
    pub fn dataset(&self) -> Dataset {
        let record = |image: &AuditedImage| Record {
            frame: image.frame,
            size: image.size,
            spacing: image.spacing,
            image_labels: image.image_labels.clone(),
            objects: image.objects.iter().map(|o| o.object.clone()).collect(),
            ..Record::new(image.image_id.clone(), image.path.clone())
        };
        Dataset {
            categories: self.categories.clone(),
            records: self.images.iter().map(record).collect(),
            source: self.source.clone(),
            ..Dataset::default()
        }
    }
}

impl From<Dataset> for Audit {
    fn from(dataset: Dataset) -> Self {
        let expects_objects = dataset.records.iter().any(|r| !r.objects.is_empty());
        let object = |object: Object| AuditedObject {
            object,
            entry: None,
            id: None,
            own_box: true,
            own_area: true,
        };
        let image = |record: Record| AuditedImage {
            image_id: record.image_id,
            path: record.path,
            frame: record.frame,
            entry: None,
            size: record.size,
            spacing: record.spacing,
            image_labels: record.image_labels,
            without_objects: expects_objects && record.objects.is_empty(),
            objects: record.objects.into_iter().map(object).collect(),
            patient: None,
            clip: None,
            parts: Vec::new(),
        };
        Self {
            categories: dataset.categories,
            images: dataset.records.into_iter().map(image).collect(),
            source: dataset.source,
            ..Self::default()
        }
    }
}
