//! Class-agnostic copies: every object gets the same category, as for training prompted segmentation.

use crate::{CategoryRecord, CocoFile, Extra};

/// Id of the only category.
const OBJECT: u64 = 1;

/// Gives every object the category 1, `object`, supercategory `none`, as US-43d does.
pub fn make_agnostic(file: &mut CocoFile) {
    for annotation in &mut file.annotations {
        annotation.category_id = OBJECT;
    }
    file.categories = vec![CategoryRecord {
        id: OBJECT,
        name: "object".into(),
        supercategory: Some("none".into()),
        extra: Extra::default(),
    }];
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn only_the_categories_change() {
        let json = r#"{"images":[{"id":1,"file_name":"a","height":2,"width":2}],
            "annotations":[{"image_id":1,"category_id":7,"bbox":[0,0,1,1],"area":1},
                           {"image_id":1,"category_id":3,"bbox":[1,1,1,1],"area":1}],
            "categories":[{"id":3,"name":"a"},{"id":7,"name":"b"}]}"#;
        let mut file = CocoFile::from_slice(json.as_bytes(), Path::new("x.json")).unwrap();
        make_agnostic(&mut file);
        assert!(file.annotations.iter().all(|a| a.category_id == 1));
        assert_eq!(file.annotations[1].bbox, [1.0; 4]);
        let names: Vec<_> = file.categories.iter().map(|c| (c.id, &*c.name)).collect();
        assert_eq!(names, [(1, "object")]);
    }
}
