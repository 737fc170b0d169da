//! COCO files as curation reads them.

use std::path::Path;

use sonotune_base::{ErrorKind, Segmentation};
use sonotune_coco::CocoFile;

use super::{accepted, masks::use_segmentation, scratch};

/// What was read is written and read again; masks are decoded.
pub fn coco_file(bytes: &[u8]) {
    let path = Path::new("hostile.json");
    let Some(file) = accepted(CocoFile::from_slice(bytes, path), ErrorKind::Data, "hostile.json")
    else {
        return;
    };
    let sizes = file.images.iter().map(|image| (image.height, image.width));
    let sizes: Vec<_> = sizes.collect();
    for annotation in &file.annotations {
        let Some(json) = &annotation.segmentation else { continue };
        let Ok(stored) = serde_json::from_str::<Segmentation>(json.get()) else { continue };
        let size = sizes[annotation.image_id as usize - 1];
        use_segmentation(&stored, size, annotation.bbox);
    }
    let out = scratch::path("written.json");
    file.write(&out).expect("what was read can be written");
    let again = CocoFile::read(&out).expect("what was written can be read");
    assert_eq!(again.images.len(), file.images.len());
    assert_eq!(again.annotations.len(), file.annotations.len());
    assert_eq!(again.categories, file.categories);
}
