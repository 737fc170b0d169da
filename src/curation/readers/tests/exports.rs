//! Files of annotation tools, read as the tools mean them.

use serde_json::{Value, json};

use super::*;

const LABELME: &str = "
[outlines]
format = \"labelme\"
rule = \"pillow\"

[outlines.images]
files = \"*.png\"
key = '([^/]+)\\.png$'

[[outlines.outlines]]
files = \"*.json\"
key = '([^/]+)\\.json$'
labels = { nodule = 1, cyst = 2, marker = 0 }
";
const COCO: &str = "
[coco]
categories = { nodule = 1, cyst = 2, marker = 0 }

[coco.images]
files = \"**/*.png\"
key = '([^/]+)\\.png$'

[[coco.annotations]]
file = \"all.json\"
";

/// A source with one image of 60 × 80 pixels (height × width).
fn of_one() -> Source {
    let source = Source(tempfile::tempdir().unwrap());
    source.write("a.png", &blank(60, 80));
    source
}

fn blank(height: u32, width: u32) -> Vec<u8> {
    let data = vec![9; (height * width) as usize];
    png::encode(&Pixels { height, width, channels: 1, data }).unwrap()
}

/// A labelme file with these shapes, and a source with it.
fn labelme(shapes: Value) -> Source {
    let source = of_one();
    let file = json!({"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": "a.png",
        "imageData": null, "imageHeight": 60, "imageWidth": 80});
    source.write("a.json", file.to_string().as_bytes());
    source
}

fn shape(kind: &str, points: Value) -> Value {
    json!({"label": "nodule", "points": points, "group_id": null, "shape_type": kind, "flags": {}})
}

/// Category, box and area of each object.
fn objects(file: &CocoFile) -> Vec<(u64, [f64; 4], f64)> {
    file.annotations.iter().map(|a| (a.category_id, a.bbox, a.area)).collect()
}

fn bitmap(height: u32, width: u32, value: u8) -> String {
    use base64::Engine;
    let mut data = vec![0; (height * width) as usize];
    data[0] = value;
    *data.last_mut().unwrap() = value;
    let png = png::encode(&Pixels { height, width, channels: 1, data }).unwrap();
    base64::prelude::BASE64_STANDARD.encode(png)
}

#[test]
fn shapes_of_labelme_are_drawn_as_the_tool_draws_them() {
    let spec = format!("{HEAD}{LABELME}");
    let rectangle = [10.0, 10.0, 31.0, 21.0];
    let cases = [
        (shape("polygon", json!([[10, 10], [40, 10], [40, 30], [10, 30]])), rectangle, 651.0),
        (
            json!({"label": "nodule", "points": [[10, 10], [40, 10], [40, 30], [10, 30]]}),
            rectangle,
            651.0,
        ),
        (shape("rectangle", json!([[10, 10], [40, 30]])), rectangle, 651.0),
        (shape("rectangle", json!([[40, 30], [10, 10]])), rectangle, 651.0),
        (shape("rectangle", json!([[10, 30], [40, 10]])), rectangle, 651.0),
        (shape("rectangle", json!([[10, 10], [40, 10], [40, 30], [10, 30]])), rectangle, 651.0),
        (
            shape("oriented_rectangle", json!([[20, 10], [30, 20], [20, 30], [10, 20]])),
            [10.0, 10.0, 21.0, 21.0],
            221.0,
        ),
        // Pillow draws 349, 97 and 33 pixels.
        (shape("circle", json!([[40, 30], [50, 30]])), [30.0, 20.0, 21.0, 21.0], 341.0),
        (shape("circle", json!([[40, 30], [37, 26]])), [35.0, 25.0, 11.0, 11.0], 97.0),
        (shape("circle", json!([[2, 30], [2, 27]])), [0.0, 27.0, 6.0, 7.0], 34.0),
    ];
    for (shape, bbox, area) in cases {
        let file = labelme(json!([shape])).converted(&spec);
        assert_eq!(objects(&file), [(1, bbox, area)], "{shape}");
    }
}

#[test]
fn a_mask_of_labelme_is_one_object_at_its_corner() {
    let spec = format!("{HEAD}{LABELME}");
    let mask = |corners: Value, height, width, value| {
        let mut shape = shape("mask", corners);
        shape["mask"] = json!(bitmap(height, width, value));
        labelme(json!([shape]))
    };
    for corners in [json!([[10, 5], [12, 6]]), json!([[9.6, 5.4], [12.4, 6.4]])] {
        let file = mask(corners, 2, 3, 1).converted(&spec);
        assert_eq!(objects(&file), [(1, [10.0, 5.0, 3.0, 2.0], 2.0)]);
    }
    let clipped = mask(json!([[-2, 0], [0, 1]]), 2, 3, 255).converted(&spec);
    assert_eq!(objects(&clipped), [(1, [0.0, 1.0, 1.0, 1.0], 1.0)]);
    let at = json!([[10, 5], [12, 6]]);
    for (source, parts) in [
        (mask(at.clone(), 3, 3, 1), ["that cannot be read", "its mask has 3×3 pixels"]),
        (mask(at.clone(), 2, 3, 0), ["1 with a shape that has no area", "its mask is empty"]),
        (mask(json!([[90, 5], [92, 6]]), 2, 3, 1), ["outside the image", "covers no pixel"]),
        (labelme(json!([shape("mask", at)])), ["that cannot be read", "its mask is missing"]),
    ] {
        says(&source.refused(&spec), &parts);
    }
}

#[test]
fn shapes_of_one_label_and_group_are_one_object() {
    let spec = format!("{HEAD}{LABELME}");
    let part = |label: &str, group: Value, x: u32| {
        json!({"label": label, "group_id": group, "shape_type": "rectangle",
            "points": [[x, 10], [x + 4, 14]]})
    };
    let file = labelme(json!([
        part("nodule", json!(1), 0),
        part("cyst", json!(1), 10),
        part("nodule", json!(1), 20),
        part("nodule", json!(null), 30),
        part("nodule", json!(2), 40),
        part("marker", json!(2), 50),
    ]))
    .converted(&spec);
    let alone = |x| [x, 10.0, 5.0, 5.0];
    let expected = [
        (1, [0.0, 10.0, 25.0, 5.0], 50.0),
        (2, alone(10.0), 25.0),
        (1, alone(30.0), 25.0),
        (1, alone(40.0), 25.0),
    ];
    assert_eq!(objects(&file), expected);
}

#[test]
fn shapes_without_area_are_named_and_can_be_dropped() {
    let spec = format!("{HEAD}{LABELME}");
    let flat = json!([[10, 10], [40, 30], [70, 50]]);
    for (kind, points, says_) in [
        ("line", json!([[10, 10], [40, 30]]), "its shape_type `line` has no area"),
        ("linestrip", flat.clone(), "its shape_type `linestrip` has no area"),
        ("point", json!([[10, 10]]), "its shape_type `point` has no area"),
        ("points", json!([[10, 10]]), "its shape_type `points` has no area"),
        ("polygon", json!([]), "the outline has no area: all of its points (0) lie on one line"),
        (
            "polygon",
            json!([[10, 10]]),
            "the outline has no area: all of its points (1) lie on one line",
        ),
        ("polygon", flat, "the outline has no area: all of its points (3) lie on one line"),
        ("rectangle", json!([[10, 10], [40, 10]]), "the outline has no area"),
        ("circle", json!([[10, 10], [10, 10]]), "a circle of radius 0 has no area"),
    ] {
        let good = shape("circle", json!([[40, 30], [50, 30]]));
        let mut bad = shape(kind, points);
        let message = labelme(json!([good, bad])).refused(&spec);
        let place = "a.json: shapes[1], label `nodule`: ";
        says(&message, &["1 with a shape that has no area", &format!("{place}{says_}")]);
        bad["label"] = json!("marker");
        assert_eq!(labelme(json!([good, bad])).converted(&spec).annotations.len(), 1, "{kind}");
    }
    // Labels that a Chinese system wrote in its own encoding.
    let source = labelme(json!([shape("circle", json!([[40, 30], [50, 30]]))]));
    let text = fs::read(source.path("a.json")).unwrap();
    let at = text.windows(6).position(|w| w == b"nodule").unwrap();
    let text = [&text[..at], b"\xc1\xbc", &text[at + 6..]].concat();
    source.write("a.json", &text);
    says(
        &source.refused(&spec),
        &["no entry for the label `", "The file is not UTF-8: save it as"],
    );
    for (kind, points) in [("cuboid", json!([[1, 1]])), ("circle", json!([[1, 1], [2, 2], [3, 3]]))]
    {
        let message = labelme(json!([shape(kind, points)])).refused(&spec);
        says(&message, &["that cannot be read", &format!("a shape_type `{kind}` of ")]);
    }
}

#[test]
fn annotations_of_an_image_of_another_size_are_refused() {
    let spec = format!("{HEAD}{LABELME}");
    let source = labelme(json!([shape("rectangle", json!([[10, 10], [40, 30]]))]));
    source.write("a.png", &blank(30, 40));
    let message = source.refused(&spec);
    says(
        &message,
        &["imageHeight and imageWidth are 60 and 80", "30×40", "outlines.sizes = \"ignore\""],
    );
    let fits = spec.replace("format =", "sizes = \"ignore\"\nformat =");
    assert_eq!(objects(&source.converted(&fits)), [(1, [10.0, 10.0, 30.0, 20.0], 600.0)]);
    let coco = format!("{HEAD}{COCO}");
    source.remove("a.json");
    source.write(
        "all.json",
        &coco_of(json!([{"id": 1, "image_id": 1, "category_id": 1,
        "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]}])),
    );
    says(
        &source.refused(&coco),
        &["30×40 pixels", "its COCO file says 60×80", "coco.sizes = \"ignore\""],
    );
    let fits = coco.replace("[coco]", "[coco]\nsizes = \"ignore\"");
    assert_eq!(source.converted(&fits).annotations.len(), 1);
}

#[test]
fn objects_on_an_image_that_exif_turns_are_refused_if_sizes_do_not_tell() {
    let ring = json!([[1, 1], [30, 1], [30, 30], [1, 30]]);
    let coco = coco_of(json!([{"id": 1, "image_id": 1, "category_id": 1,
        "segmentation": [[1, 1, 30, 1, 30, 30, 1, 30]]}]));
    let points = LABELME.replace("format = \"labelme\"", "format = \"points\"");
    let points = points.replace("labels = { nodule = 1, cyst = 2, marker = 0 }", "category = 1");
    // With what is said if a quarter makes it another size than the file's.
    for (spec, name, other_size, file) in [
        (COCO, "all.json", Some("says 60×80"), String::from_utf8(coco).unwrap()),
        (&points, "a.json", None, ring.to_string()),
        (
            LABELME,
            "a.json",
            Some("are 60 and 80"),
            json!({"shapes": [shape("polygon", ring)], "imageHeight": 60,
            "imageWidth": 80})
            .to_string(),
        ),
    ] {
        let source = Source(tempfile::tempdir().unwrap());
        source.write(name, file.as_bytes());
        let spec = format!("{HEAD}{spec}");
        source.write("a.png", &mask_values::oriented(80, 60, 1));
        assert_eq!(source.converted(&spec).annotations.len(), 1);
        source.write("a.png", &mask_values::oriented(80, 60, 2));
        says(&source.refused(&spec), &["a.png: is mirrored or upside down according to EXIF"]);
        source.write("a.png", &mask_values::oriented(60, 80, 6));
        if let Some(other_size) = other_size {
            assert_eq!(source.converted(&spec).annotations.len(), 1);
            source.write("a.png", &mask_values::oriented(80, 60, 6));
            says(&source.refused(&spec), &[other_size]);
        } else {
            says(&source.refused(&spec), &["a.png: is rotated by 90 degrees according to EXIF"]);
        }
    }
}

/// A COCO file of the image `a.png`.
fn coco_of(annotations: Value) -> Vec<u8> {
    let file = json!({"images": [{"id": 1, "file_name": "images\\a.png", "height": 60, "width": 80}],
        "annotations": annotations,
        "categories": [
            {"id": 0, "name": "lesions", "supercategory": "none"},
            {"id": 1, "name": "nodule", "supercategory": "lesions"},
            {"id": 2, "name": "cyst", "supercategory": "lesions"},
            {"id": 3, "name": "marker", "supercategory": "lesions"}]});
    file.to_string().into_bytes()
}

/// Annotations in the forms of Roboflow, VIA and CVAT: rings, a ring without a list, run lengths.
#[test]
fn objects_of_coco_files_are_read_in_every_form() {
    let spec = format!("{HEAD}{COCO}");
    let source = of_one();
    let square = |x: u32| json!([x, 10, x + 4, 10, x + 4, 14, x, 14]);
    source.write("all.json", &coco_of(json!([
        {"id": 0, "image_id": 1, "category_id": 1, "bbox": [0, 10, 24, 4], "area": 32, "iscrowd": 0,
            "segmentation": [square(0), square(20)]},
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [30, 10, 4, 4], "area": 16, "iscrowd": 0,
            "segmentation": square(30)},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 60], "area": 60, "iscrowd": 1,
            "segmentation": {"size": [60, 80], "counts": [0, 60, 4740]}},
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 60], "area": 60, "iscrowd": 0,
            "segmentation": []},
    ])));
    let file = source.converted(&spec);
    let square = |x| [x, 10.0, 4.0, 4.0];
    let column = (1, [0.0, 0.0, 1.0, 60.0], 60.0);
    let expected = [(1, [0.0, 10.0, 24.0, 4.0], 32.0), (2, square(30.0), 16.0), column];
    assert_eq!(objects(&file), expected);
    let crowds: Vec<_> = file.annotations.iter().map(|a| a.iscrowd).collect();
    assert_eq!(crowds, [false, false, true]);
    let rings = source.converted(&spec.replace("[coco]", "[coco]\neach_ring = true"));
    let expected =
        [(1, square(0.0), 16.0), (1, square(20.0), 16.0), (2, square(30.0), 16.0), column];
    assert_eq!(objects(&rings), expected);
    let by_id = spec.replace("categories = { nodule = 1, cyst = 2, marker = 0 }", "by_id = true");
    says(&source.refused(&by_id), &["all.json: no category of the spec has the id 3"]);
}

#[test]
fn an_object_with_a_box_and_no_mask_is_a_problem() {
    let spec = format!("{HEAD}{COCO}");
    for bare in [json!([]), json!(null), json!([[]])] {
        let source = of_one();
        let box_only = json!({"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4],
            "area": 16, "segmentation": bare});
        let outlined = json!({"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4],
            "area": 16, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]]});
        source.write("all.json", &coco_of(json!([outlined, box_only])));
        let message = source.refused(&spec);
        let named = "a.png: 1 object without a mask in all.json (annotations[1]), and a box";
        says(&message, &["1 with an object that has no mask", named]);
        let dropped = format!("empty = \"keep\"\n{}", spec.replace("nodule = 1", "nodule = 0"));
        assert!(source.converted(&dropped).annotations.is_empty());
    }
}

#[test]
fn a_file_of_another_tool_is_named_with_what_can_be_read() {
    let via = json!({"a.png99": {"filename": "a.png", "size": 99, "regions": []}}).to_string();
    let studio = json!([{"id": 1, "data": {"image": "a.png"}, "annotations": []}]).to_string();
    let coco = String::from_utf8(coco_of(json!([]))).unwrap();
    let cvat = "<annotations><version>1.1</version><image id=\"0\" name=\"a.png\"/></annotations>";
    let both = [
        (via.as_str(), "an export of VIA, which this reader does not read; choose `Export Ann"),
        (&studio, "a JSON export of Label Studio, which this reader does not read; export `COCO`"),
        (cvat, "an XML export of CVAT, which this reader does not read; export `COCO 1.0`"),
        (
            "0 0.5 0.5 0.2 0.1\n",
            "a file of YOLO labels, which this reader does not read; export COCO",
        ),
    ];
    let outlines = format!("{HEAD}{LABELME}");
    for (text, names) in
        both.into_iter().chain([(&*coco, "a file of COCO annotations, which this")])
    {
        // Beside its image, or one file for all.
        for name in ["a.json", "export.json"] {
            let source = of_one();
            source.write(name, text.as_bytes());
            says(&source.refused(&outlines), &[&format!("{name}: is {names}")]);
        }
    }
    let labelme_file = json!({"shapes": [], "imagePath": "a.png"}).to_string();
    for (text, names) in both.into_iter().chain([(&*labelme_file, "a labelme file, which this")]) {
        let source = of_one();
        source.write("all.json", text.as_bytes());
        says(&source.refused(&format!("{HEAD}{COCO}")), &[&format!("all.json: is {names}")]);
    }
    // As a mask.
    let source = Source::of_four();
    source.rename("masks/a.png", "masks/old");
    source.write("masks/a.png", labelme_file.as_bytes());
    says(&source.refused(&super::spec()), &["masks/a.png: is a labelme file, which this reader"]);
    // Among files of the right form, a single one is a problem of its image.
    let source = labelme(json!([shape("rectangle", json!([[10, 10], [40, 30]]))]));
    source.write("b.png", &blank(60, 80));
    source.write("b.json", studio.as_bytes());
    let message = source.refused(&outlines);
    says(&message, &["1 that cannot be read", "b.json: is a JSON export of Label Studio"]);
}
