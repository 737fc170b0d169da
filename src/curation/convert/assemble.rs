//! Assembles the COCO file from finished units.

use anyhow::Result;
use sonotune_base::Rle;

use super::journal::Finished;
use crate::{readers::Unit, spec::Spec};
use sonotune_coco::{
    AnnotationRecord, CategoryRecord, CocoFile, Extra, ImageRecord, Info, Provenance,
};

/// All images and objects in the order of units, with ids from 1.
pub(super) fn coco(spec: &Spec, units: &[Unit], finished: &[Finished]) -> Result<CocoFile> {
    let mut file = CocoFile {
        info: Info {
            description: Some(spec.title.clone()),
            url: Some(spec.url.clone()),
            dataset: Some(spec.name.clone()),
            application: Some(spec.application.clone()),
            extra: Extra::default(),
        },
        categories: categories(spec),
        ..CocoFile::default()
    };
    for entry in finished {
        for image in &entry.images {
            let id = file.images.len() as u64 + 1;
            let provenance =
                Provenance { frame: image.frame, ..units[entry.unit].provenance.clone() };
            file.images.push(ImageRecord {
                id,
                file_name: image.file_name.clone(),
                height: image.height,
                width: image.width,
                spacing: image.spacing,
                dataset: Some(spec.name.clone()),
                application: None,
                provenance,
                extra: Extra::default(),
            });
            for object in &image.objects {
                let mask = Rle::from_compressed(image.height, image.width, &object.counts)?;
                let category = u64::from(object.category);
                let mut annotation = AnnotationRecord::from_mask(id, category, &mask)?;
                annotation.id = file.annotations.len() as u64 + 1;
                annotation.iscrowd = object.is_crowd;
                file.annotations.push(annotation);
            }
        }
    }
    Ok(file)
}

fn categories(spec: &Spec) -> Vec<CategoryRecord> {
    let record = |category: &crate::spec::Category| CategoryRecord {
        id: u64::from(category.id),
        name: category.name.clone(),
        supercategory: Some(category.supercategory.clone()),
        extra: Extra::default(),
    };
    spec.categories.iter().map(record).collect()
}
