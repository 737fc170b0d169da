use std::path::Path;

use serde_json::value::RawValue;

use super::*;

const PATH: &str = "set/annotations/all.json";

fn read(json: &str) -> Result<CocoFile> {
    CocoFile::from_slice(json.as_bytes(), Path::new(PATH))
}

fn written(file: &CocoFile) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    file.write(&path).unwrap();
    std::fs::read_to_string(path).unwrap()
}

/// Two images whose ids are a UUID and a string, three objects, each with a different kind of id.
const ODD: &str = r#"{"info":{"year":2024,"description":"d","url":null,"date": [1, 2 ]},
"licenses":[{"id": 1}],
"images":[
 {"file_name":"b.png","id":340282366920938463463374607431768211455,"width":6.0,"height":5,"coco_url":"u","patient":12,"frame":3,"clip":"c","official_split":"val","source_file":"raw/b.nii.gz"},
 {"file_name":"a.png","id":"x","width":4,"height":4,"dataset":"DDTI"}],
"annotations":[
 {"image_id":"x","category_id":7,"bbox":[1,2.0,3.5,1e2],"area":12.0,"iscrowd":1,"segmentation":[[1, 1,  2.50,1, 2,2]],"score":0.10},
 {"image_id":340282366920938463463374607431768211455,"category_id":7,"id":"5","bbox":[0,0,1,1],"area":1,"segmentation":{"size":[5,6],"counts":"01l0\\"}},
 {"image_id":"x","category_id":7,"id":5,"bbox":[0,0,1,1],"area":0.5}],
"categories":[{"name":"cyst","id":7,"keypoints":["k"]}]}"#;

#[test]
fn nothing_is_lost_and_ids_run_from_1() {
    let expected = r#"{
"info":{"description":"d","year":2024,"date":[1, 2 ]},
"licenses":[{"id": 1}],
"images":[
{"id":1,"file_name":"b.png","height":5,"width":6,"source_file":"raw/b.nii.gz","patient":"12","clip":"c","frame":3,"official_split":"val","coco_url":"u"},
{"id":2,"file_name":"a.png","height":4,"width":4,"dataset":"DDTI"}],
"annotations":[
{"id":1,"image_id":2,"category_id":7,"bbox":[1,2,3.5,100],"area":12,"segmentation":[[1, 1,  2.50,1, 2,2]],"iscrowd":1,"score":0.10},
{"id":2,"image_id":1,"category_id":7,"bbox":[0,0,1,1],"area":1,"segmentation":{"size":[5,6],"counts":"01l0\\"},"iscrowd":0},
{"id":3,"image_id":2,"category_id":7,"bbox":[0,0,1,1],"area":0.5,"iscrowd":0}],
"categories":[
{"id":7,"name":"cyst","keypoints":["k"]}]
}
"#;
    let first = written(&read(ODD).unwrap());
    assert_eq!(first, expected);
    assert_eq!(written(&read(&first).unwrap()), first);
}

#[test]
fn nan_that_nobody_reads_and_ids_that_occur_twice_are_written() {
    let file = read(
        r#"{"images":[{"id":1,"file_name":"a","height":"9","width":9,"age":NaN,"x":["NaN",-Infinity]}],
        "categories":[{"id":"0","name":1.50}],"fps":Infinity,
        "annotations":[{"id":3,"image_id":1,"category_id":0,"bbox":["0",0,2,2],"area":"4"},
                       {"id":3,"image_id":1,"category_id":0,"bbox":[4,4,2,2],"area":4}]}"#,
    );
    let text = written(&file.unwrap());
    assert_eq!(
        text,
        r#"{
"info":{},
"fps":Infinity,
"images":[
{"id":1,"file_name":"a","height":9,"width":9,"age":NaN,"x":["NaN",-Infinity]}],
"annotations":[
{"id":1,"image_id":1,"category_id":0,"bbox":[0,0,2,2],"area":4,"iscrowd":0},
{"id":2,"image_id":1,"category_id":0,"bbox":[4,4,2,2],"area":4,"iscrowd":0}],
"categories":[
{"id":0,"name":"1.50"}]
}
"#
    );
    assert_eq!(written(&read(&text).unwrap()), text);
}

#[test]
fn a_selection_is_numbered_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.json");
    read(ODD).unwrap().write_selected(&path, |i| i == 1).unwrap();
    let file = CocoFile::read(&path).unwrap();
    assert_eq!((file.images.len(), &*file.images[0].file_name), (1, "a.png"));
    assert_eq!(file.annotations.iter().map(|a| a.image_id).collect::<Vec<_>>(), [1, 1]);
    assert!(std::fs::read_to_string(&path).unwrap().contains(r#"{"id":2,"image_id":1,"#));
}

#[test]
fn annotations_of_one_id_are_numbered_anew() {
    let file = read(
        r#"{"images":[{"id":4,"file_name":"a","height":9,"width":9}],"categories":[{"id":0,"name":"c"}],
        "annotations":[{"id":7,"image_id":4,"category_id":0,"bbox":[0,0,1,1],"area":1},
        {"id":7,"image_id":4,"category_id":0,"bbox":[2,2,1,1],"area":1}]}"#,
    );
    assert_eq!(file.unwrap().annotations.iter().map(|a| a.id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_mask_becomes_compressed_runs() {
    let mask = Rle::from_mask(&[0, 0, 0, 0, 1, 1, 0, 1, 0], (3, 3)).unwrap();
    let object = AnnotationRecord::from_mask(3, 2, &mask).unwrap();
    assert_eq!((object.bbox, object.area, object.iscrowd), ([1.0, 1.0, 2.0, 2.0], 3.0, false));
    let json = object.segmentation.as_deref().map(RawValue::get).unwrap();
    assert!(json.starts_with(r#"{"size":[3,3],"counts":""#), "{json}");
    let read: sonotune_base::Segmentation = serde_json::from_str(json).unwrap();
    assert_eq!(read.rasterize((3, 3), [0.0; 4]).unwrap(), mask);
}

#[test]
fn what_the_file_leaves_out_comes_from_the_mask() {
    let file = read(
        r#"{"images":[{"id":0,"file_name":"a","height":9,"width":9}],"categories":[{"id":0,"name":"c"}],
        "annotations":[{"image_id":0,"category_id":0,"segmentation":[[1,2,5,2,5,5]]}]}"#,
    );
    let file = file.unwrap();
    assert_eq!((file.annotations[0].bbox, file.annotations[0].area), ([1.0, 2.0, 4.0, 3.0], 6.0));
}

#[test]
fn ids_that_are_text_in_one_list_only_are_read() {
    let file = read(
        r#"{"images":[{"id":"4","file_name":"a.png","height":5,"width":6}],
        "annotations":[{"id":9,"image_id":4,"category_id":"1","bbox":[0,0,1,1],"area":1}],
        "categories":[{"id":1,"name":"cyst"}]}"#,
    );
    assert_eq!(file.unwrap().annotations[0].image_id, 1);
}

#[test]
fn faults_name_file_list_index_and_key() {
    let image = r#"{"id":4,"file_name":"a.png","height":5,"width":6}"#;
    let category = r#"{"id":1,"name":"cyst"}"#;
    let object = r#"{"id":9,"image_id":4,"category_id":1,"bbox":[0,0,1,1],"area":1}"#;
    let fault = |images: &str, annotations: &str, categories: &str| {
        let json = format!(
            r#"{{"images":[{images}],"annotations":[{annotations}],"categories":[{categories}]}}"#
        );
        let error = read(&json).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 3, "{error:#}");
        format!("{error:#}")
    };
    let cases = [
        (
            fault(&format!("{image},{image}"), "", category),
            "images[1] (id 4) and images[0] have the same id",
        ),
        (
            fault(r#"{"id":4,"file_name":"a","height":"x","width":6}"#, "", category),
            "images[0] (id 4): `height`: invalid type: string \"x\", expected an integer of at least 0",
        ),
        (
            fault(r#"{"id":4,"file_name":"a","height":0,"width":6}"#, "", category),
            "images[0] (id 4): `height` is 0",
        ),
        (
            fault(r#"{"id":4,"height":1,"width":6}"#, "", category),
            "images[0] (id 4): `file_name` is missing",
        ),
        (
            fault(&image.replace("\"id\"", "\"patient\":NaN,\"id\""), "", category),
            "images[0] (id 4): `patient`: expected a text or an integer; leave the key out if it is",
        ),
        (
            fault(r#"{"file_name":"a","height":1,"width":6}"#, "", category),
            "images[0]: `id` is missing: give each image an `id`",
        ),
        (
            fault(
                image,
                &object.replace("1,1]", "1,1],\"segmentation\":[[0,NaN,1,1,2,2]]"),
                category,
            ),
            "annotations[0] (id 9): `segmentation` has a coordinate that is NaN or infinite",
        ),
        (
            fault(image, &object.replace("\"area\":1", "\"area\":NaN"), category),
            "annotations[0] (id 9): `area`: invalid value: NaN, expected a number",
        ),
        (
            fault(image, &object.replace("\"image_id\":4", "\"image_id\":5"), category),
            "annotations[0] (id 9): image_id 5 is not the id of any image",
        ),
        (
            fault(image, &object.replace("y_id\":1", "y_id\":2"), category),
            "category_id 2 is not the id of any category; they are [1]",
        ),
        (
            fault(image, &object.replace("1,1]", "-1,1]"), category),
            "bbox [0.0, 0.0, -1.0, 1.0] is not",
        ),
        (
            fault(image, &object.replace("[0,0,1,1]", "[0,0,1]"), category),
            "annotations[0] (id 9): `bbox`: invalid length 3",
        ),
        (
            fault(image, "7", category),
            "annotations[0]: invalid type: integer `7`, expected an object with `image_id`",
        ),
        (
            fault(image, object, &format!("{category},{category}")),
            "categories[0] and categories[1] have the same id 1 (\"cyst\" and \"cyst\")",
        ),
        (fault(image, object, r#"{"id":1}"#), "categories[0] (id 1): `name` is missing"),
    ];
    for (message, part) in cases {
        assert!(message.starts_with(PATH) && message.contains(part), "no `{part}` in: {message}");
    }
    let cut = format!("{:#}", read(&ODD[..260]).unwrap_err());
    assert!(cut.contains("the file ends too early") && cut.contains("images[0]"), "{cut}");
    assert!(format!("{:#}", read("[]").unwrap_err()).contains("a COCO file: an object"));
    assert!(format!("{:#}", read("{}").unwrap_err()).contains("neither `images` nor"));
    let labelme = r#"{"shapes":[],"imagePath":"a.png"}"#;
    assert!(format!("{:#}", read(labelme).unwrap_err()).contains("is a labelme file, not COCO"));
}

#[test]
fn the_size_of_a_pixel_is_kept() {
    let images = |spacing: &str| {
        format!(
            r#"{{"images":[{{"id":1,"file_name":"a.png","height":4,"width":4,"pixel_spacing":{spacing}}}],
            "annotations":[],"categories":[{{"id":1,"name":"cyst"}}]}}"#
        )
    };
    let file = read(&images("[0.069135804, \"0.2\"]")).unwrap();
    assert_eq!(file.images[0].spacing, Some([0.069_135_804, 0.2]));
    assert!(written(&file).contains(r#""width":4,"pixel_spacing":[0.069135804,0.2]"#));
    assert_eq!(read(&written(&file)).unwrap().images[0].spacing, file.images[0].spacing);
    assert_eq!(read(&images("null")).unwrap().images[0].spacing, None);
}
