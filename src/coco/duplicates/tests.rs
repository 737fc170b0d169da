use std::path::Path;

use image::{GrayImage, ImageBuffer, Luma, imageops};
use sonotune_base::seed::Rng;

use super::*;

/// A picture of blobs and speckle, unlike that of any other seed.
fn picture(seed: u64, height: u32, width: u32) -> GrayImage {
    let mut rng = Rng::at(seed, &[]);
    let blobs: Vec<[f64; 4]> = (0..12)
        .map(|_| [rng.uniform(), rng.uniform(), 0.05 + 0.15 * rng.uniform(), rng.uniform()])
        .collect();
    ImageBuffer::from_fn(width, height, |x, y| {
        let (u, v) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
        let blob = |&[a, b, r, level]: &[f64; 4]| {
            level * (-((u - a).powi(2) + (v - b).powi(2)) / (r * r)).exp()
        };
        let level = 0.1 + blobs.iter().map(blob).sum::<f64>() * 0.5 + 0.05 * rng.uniform();
        Luma([(255.0 * level.min(1.0)) as u8])
    })
}

fn found(folder: &Path, options: &DuplicateOptions) -> DuplicateReport {
    let sources = Sources::collect(&[folder.to_owned()]).unwrap();
    find(&sources, options, &|| ()).unwrap()
}

fn names(group: &Group) -> Vec<(&str, Turn)> {
    let name = |m: &Member| Some((m.path.file_name()?.to_str()?.to_owned(), m.turn));
    let names: Vec<_> = group.members.iter().filter_map(name).collect();
    names.into_iter().map(|(name, turn)| (&*name.leak(), turn)).collect()
}

#[test]
fn resized_compressed_and_turned_copies_are_found_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..60 {
        picture(seed, 200, 260).save(folder.path().join(format!("z{seed:02}.png"))).unwrap();
    }
    let original = picture(7, 200, 260);
    let save = |image: GrayImage, name: &str| image.save(folder.path().join(name)).unwrap();
    let half = imageops::resize(&original, 131, 99, imageops::FilterType::Triangle);
    save(half.clone(), "a_half.png");
    save(imageops::flip_horizontal(&original), "b_mirrored.png");
    save(imageops::flip_vertical(&half), "c_flipped.png");
    save(imageops::rotate180(&original), "d_180.png");
    save(imageops::rotate90(&original), "e_90.png");
    let dimmed = imageops::brighten(&original, -20);
    let file = std::fs::File::create(folder.path().join("f.jpg")).unwrap();
    image::codecs::jpeg::JpegEncoder::new_with_quality(file, 60).encode_image(&dimmed).unwrap();
    let report = found(folder.path(), &DuplicateOptions::default());
    assert_eq!((report.images, report.num_groups), (66, 1));
    let group = &report.groups[0];
    assert!(!group.exact);
    assert_eq!(
        names(group),
        [
            ("a_half.png", Turn::None),
            ("b_mirrored.png", Turn::FlipHorizontal),
            ("c_flipped.png", Turn::FlipVertical),
            ("d_180.png", Turn::Rotate180),
            ("e_90.png", Turn::Rotate90),
            ("f.jpg", Turn::None),
            ("z07.png", Turn::None),
        ]
    );
}

#[test]
fn equal_pixels_are_exact_whatever_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let image = picture(1, 40, 50);
    image.save(folder.path().join("a.png")).unwrap();
    image.save(folder.path().join("b.bmp")).unwrap();
    let colour = image::DynamicImage::ImageLuma8(image).to_rgb8();
    colour.save(folder.path().join("c.tif")).unwrap();
    picture(2, 40, 50).save(folder.path().join("d.png")).unwrap();
    std::fs::write(folder.path().join("e.png"), "no image").unwrap();
    let report = found(folder.path(), &DuplicateOptions { distance: 0, ..Default::default() });
    assert_eq!((report.num_groups, report.groups[0].members.len()), (1, 3));
    assert!(report.groups[0].exact);
    assert!(report.unreadable[0].contains("e.png"), "{:?}", report.unreadable);
    assert_eq!(report.unreadable.len(), 1);
}

#[test]
fn groups_tell_the_splits_and_datasets_they_span() {
    let root = tempfile::tempdir().unwrap();
    let list = |set: &str, name: &str, images: &[&str]| {
        let folder = root.path().join(set).join("annotations");
        std::fs::create_dir_all(&folder).unwrap();
        let image = |(id, name): (usize, &&str)| serde_json::json!({ "id": id, "file_name": name, "height": 40, "width": 50 });
        let images: Vec<_> = images.iter().enumerate().map(image).collect();
        let json = serde_json::json!({ "images": images, "annotations": [],
            "categories": [{ "id": 1, "name": "c" }] });
        let path = folder.join(name);
        std::fs::write(&path, json.to_string()).unwrap();
        path
    };
    let save = |set: &str, name: &str, image: GrayImage| {
        let folder = root.path().join(set).join("images");
        std::fs::create_dir_all(&folder).unwrap();
        image.save(folder.join(name)).unwrap();
    };
    save("MUP", "1.png", picture(1, 40, 50));
    save("MUP", "2.png", picture(2, 40, 50));
    save("MUP", "3.png", picture(3, 40, 50));
    save("MUP", "4.png", picture(3, 40, 50));
    save("MicroSeg", "9.png", imageops::flip_horizontal(&picture(1, 40, 50)));
    let files = [
        list("MUP", "train.json", &["1.png", "2.png", "3.png", "4.png"]),
        list("MUP", "val.json", &["2.png"]),
        list("MicroSeg", "train.json", &["9.png"]),
    ];
    let sources = Sources::collect(&files).unwrap();
    assert_eq!((sources.files.len(), sources.entries.len()), (5, 6));
    let options = DuplicateOptions { across: true, ..DuplicateOptions::default() };
    let report = find(&sources, &options, &|| ()).unwrap();
    let counts = (report.num_groups, report.num_across_splits, report.num_across_datasets);
    assert_eq!((counts, report.groups.len()), ((3, 1, 1), 2));
    let [turned, leaked] = &report.groups[..] else { panic!("two groups") };
    assert_eq!(
        (&turned.datasets[..], turned.exact),
        (&["MUP".into(), "MicroSeg".to_owned()][..], false)
    );
    assert_eq!((&leaked.splits[..], leaked.exact), (&["train".into(), "val".to_owned()][..], true));
    assert_eq!(leaked.members[0].path, leaked.members[1].path);
}

#[test]
fn inputs_without_images_and_wide_searches_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Sources::collect(&[folder.path().to_owned()]).unwrap_err();
    assert!(error.to_string().contains("contains no images"));
    let options = DuplicateOptions { distance: 11, ..DuplicateOptions::default() };
    let error = find(&Sources::default(), &options, &|| ()).unwrap_err();
    assert!(error.to_string().contains("expected 0 to 10"));
}

#[test]
fn names_of_another_system_are_read_or_the_change_that_helps_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    picture(1, 40, 40).save(images.join("a 1.png")).unwrap();
    picture(1, 40, 40).save(images.join("b.png")).unwrap();
    let found = |names: [&str; 2]| {
        let image = |name: &&str| serde_json::json!({ "id": name, "file_name": name, "height": 40, "width": 40 });
        let images: Vec<_> = names.iter().map(image).collect();
        let categories = serde_json::json!([{ "id": 1, "name": "cyst" }]);
        let file =
            serde_json::json!({ "images": images, "annotations": [], "categories": categories });
        let path = folder.path().join("set.json");
        std::fs::write(&path, file.to_string()).unwrap();
        let sources = Sources::collect(&[path]).unwrap();
        find(&sources, &DuplicateOptions::default(), &|| ()).unwrap()
    };
    let report = found([r".\a%201.png", "B.PNG"]);
    assert_eq!((report.num_groups, report.unreadable.len()), (1, 0));
    assert!(report.notes[0].contains("set.json: file names of 2 images are spelled differently"));
    let report = found([r"D:\scans\a 1.png", "/home/other/b.png"]);
    assert_eq!((report.num_groups, report.notes.len()), (0, 0));
    assert!(report.unreadable[0].contains("a 1.png exists: remove \"D:"), "{report:?}");
}
