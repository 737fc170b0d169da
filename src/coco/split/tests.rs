use std::collections::{HashMap, HashSet};

use super::*;
use crate::{AnnotationRecord, CategoryRecord, Extra, ImageRecord, Provenance};

fn image(number: usize, patient: Option<&str>) -> ImageRecord {
    let file_name = format!("{number}.png");
    let source_file = format!("raw/{number}.png");
    let provenance =
        Provenance { source_file, patient: patient.map(str::to_owned), ..Provenance::default() };
    let id = number as u64 + 1;
    ImageRecord { id, file_name, height: 8, width: 8, provenance, ..ImageRecord::default() }
}

fn object(image: usize, category: u64) -> AnnotationRecord {
    AnnotationRecord {
        id: 0,
        image_id: image as u64 + 1,
        category_id: category,
        bbox: [0.0, 0.0, 1.0, 1.0],
        area: 1.0,
        segmentation: None,
        iscrowd: false,
        extra: Extra::default(),
    }
}

/// One image for each list of categories (ids from 1).
fn of_categories(images: &[&[u64]], count: u64) -> CocoFile {
    let category = |id| CategoryRecord { id, name: format!("c{id}"), ..CategoryRecord::default() };
    CocoFile {
        images: (0..images.len()).map(|i| image(i, None)).collect(),
        annotations: images
            .iter()
            .enumerate()
            .flat_map(|(i, list)| list.iter().map(move |&category| object(i, category)))
            .collect(),
        categories: (1..=count).map(category).collect(),
        ..CocoFile::default()
    }
}

/// A random dataset: patients, clips, frames of files and single images; categories of
/// any frequency, some without objects; official splits that respect patients.
fn random(seed: u64) -> CocoFile {
    let mut rng = Rng::at(seed, &[]);
    let count = 2 + rng.below(120) as usize;
    let categories = 1 + rng.below(7);
    let mut file = of_categories(&vec![&[][..]; count], categories);
    let units = 1 + rng.below(count as u64);
    let official = rng.below(3) == 0;
    for (i, image) in file.images.iter_mut().enumerate() {
        let unit = rng.below(units);
        if rng.below(2) == 0 {
            image.dataset = Some(format!("d{}", unit % 2));
        }
        let held_out = ["test", "val", "train"].get((unit % 7) as usize).map(|s| (*s).to_owned());
        let from = &mut image.provenance;
        match unit % 4 {
            0 | 1 => from.patient = Some(format!("p{unit}")),
            2 => from.clip = Some(format!("c{unit}")),
            _ if unit % 8 == 3 => {
                (from.source_file, from.frame) = (format!("v{unit}"), Some(i as u32));
            }
            _ => {}
        }
        from.official_split = held_out.filter(|_| official);
        for category in 1..=categories {
            if rng.below(1 + category * category) == 0 {
                (0..=rng.below(3)).for_each(|_| file.annotations.push(object(i, category)));
            }
        }
    }
    file
}

/// The unit that must not be in two splits; written independently of `groups`.
fn unit_of(image: &ImageRecord) -> String {
    let from = &image.provenance;
    let set = image.dataset.as_deref().unwrap_or("-");
    match (&from.patient, &from.clip, from.frame) {
        (Some(patient), ..) => format!("{set} patient {patient}"),
        (None, Some(clip), _) => format!("{set} clip {clip}"),
        (None, None, Some(_)) => format!("{set} file {}", from.source_file),
        (None, None, None) => format!("image {}", image.file_name),
    }
}

fn sizes(parts: &[Part]) -> HashMap<Part, usize> {
    let mut sizes = HashMap::new();
    parts.iter().for_each(|&part| *sizes.entry(part).or_default() += 1);
    sizes
}

fn option_sets() -> Vec<SplitOptions> {
    let base = SplitOptions { val: 0.2, ..SplitOptions::default() };
    vec![
        SplitOptions { val: 0.05, ..base.clone() },
        base.clone(),
        SplitOptions { test: 0.3, ..base.clone() },
        SplitOptions { stratify: true, test: 0.1, ..base.clone() },
        SplitOptions { official: Official::Ignore, stratify: true, ..base.clone() },
        SplitOptions { folds: Some(3), ..base.clone() },
        SplitOptions { folds: Some(4), stratify: true, test: 0.2, ..base },
    ]
}

/// Ids of the categories that a part shows.
fn shown(file: &CocoFile, parts: &[Part], part: Part) -> HashSet<u64> {
    let of = |a: &&AnnotationRecord| parts[a.image_id as usize - 1] == part;
    file.annotations.iter().filter(of).map(|a| a.category_id).collect()
}

#[test]
fn no_group_is_in_two_splits_and_every_category_is_accounted_for() {
    let (mut plans, mut refusals) = (0, 0);
    for seed in 0..400 {
        let file = random(seed);
        for mut options in option_sets() {
            options.seed = seed;
            let Ok(found) = plan(&file, &options) else {
                refusals += 1;
                continue;
            };
            plans += 1;
            let mut by_unit = HashMap::new();
            for (image, &part) in file.images.iter().zip(&found.parts) {
                let unit = unit_of(image);
                assert_eq!(*by_unit.entry(unit.clone()).or_insert(part), part, "{seed}: {unit}");
                if options.official == Official::Keep && options.folds.is_none() {
                    match image.provenance.official_split.as_deref() {
                        Some("test") => assert_eq!(part, Part::Test),
                        Some("val") => assert_eq!(part, Part::Val),
                        _ => {}
                    }
                }
            }
            let sizes = sizes(&found.parts);
            for summary in &found.report.parts {
                let part = sizes.iter().find(|(part, _)| part.to_string() == summary.name);
                assert_eq!(part.map(|(_, size)| *size), Some(summary.images));
            }
            assert_eq!(found.report.parts.len(), sizes.len());
            match options.folds {
                Some(folds) => assert!((0..folds).all(|f| sizes.contains_key(&Part::Fold(f)))),
                None => assert!(sizes.contains_key(&Part::Train) && sizes.contains_key(&Part::Val)),
            }
            check_absences(&file, &found, &options);
            assert_eq!(plan(&file, &options).unwrap().parts, found.parts, "{seed}: not repeatable");
        }
    }
    assert!(plans > 2000 && refusals > 0, "{plans} {refusals}");
}

/// Checks that the report names exactly the categories that a split lacks.
fn check_absences(file: &CocoFile, found: &Plan, options: &SplitOptions) {
    let held_out = match options.folds {
        Some(folds) => (0..folds).map(Part::Fold).collect(),
        None => vec![Part::Train, Part::Val],
    };
    let shown: Vec<_> = held_out.iter().map(|&p| shown(file, &found.parts, p)).collect();
    for category in &file.categories {
        let everywhere = shown.iter().all(|set| set.contains(&category.id));
        let named = found.report.absences.iter().any(|a| a.category == category.name);
        assert_ne!(everywhere, named, "{}: {:?}", category.name, found.report.absences);
    }
}

#[test]
fn groups_of_one_category_each_always_bring_it_to_both() {
    for seed in 0..200 {
        let mut rng = Rng::at(seed, &[]);
        let lists: Vec<Vec<u64>> = (0..30).map(|_| vec![1 + rng.below(9)]).collect();
        let lists: Vec<&[u64]> = lists.iter().map(Vec::as_slice).collect();
        let file = of_categories(&lists, 9);
        let units = |id| lists.iter().filter(|list| list.contains(&id)).count();
        for stratify in [false, true] {
            let options = SplitOptions { stratify, seed, ..SplitOptions::default() };
            let found = plan(&file, &options).unwrap();
            let (train, val) =
                (shown(&file, &found.parts, Part::Train), shown(&file, &found.parts, Part::Val));
            for id in (1..=9).filter(|&id| units(id) >= 2) {
                assert!(train.contains(&id) && val.contains(&id), "{seed}: {id}");
            }
            let folds = SplitOptions { folds: Some(3), ..options };
            let found = plan(&file, &folds).unwrap();
            for id in 1..=9 {
                let folds =
                    (0..3).filter(|&f| shown(&file, &found.parts, Part::Fold(f)).contains(&id));
                assert_eq!(folds.count(), units(id).min(3), "{seed}: {id}");
            }
        }
    }
}

#[test]
fn the_search_finds_the_one_division_that_serves_all() {
    // Only {0, 3} or {1, 2} in validation shows every category on both sides.
    let file = of_categories(&[&[1, 2], &[1, 3], &[2, 4], &[3, 4]], 4);
    for seed in 0..20 {
        let found = plan(&file, &SplitOptions { seed, ..SplitOptions::default() }).unwrap();
        assert!(found.report.absences.is_empty(), "{seed}: {:?}", found.report.absences);
    }
    // A triangle does not have one: one category is left out and named.
    let file = of_categories(&[&[1, 2], &[2, 3], &[1, 3]], 3);
    let absences = plan(&file, &SplitOptions::default()).unwrap().report.absences;
    assert_eq!(absences.len(), 1);
    assert!(absences[0].reason.contains("another category"), "{absences:?}");
}

#[test]
fn a_category_that_never_occurs_is_named_and_hinders_nothing() {
    let file = of_categories(&[&[1], &[1], &[1], &[2], &[]], 3);
    let found = plan(&file, &SplitOptions::default()).unwrap();
    let absences = &found.report.absences;
    assert_eq!(absences.iter().map(|a| &*a.category).collect::<Vec<_>>(), ["c2", "c3"]);
    assert_eq!((absences[0].groups, &*absences[0].reason), (1, "only image 3.png shows it"));
    assert_eq!((absences[1].groups, &*absences[1].reason), (0, "it has no objects"));
    assert_eq!(found.parts[3], Part::Train);
}

#[test]
fn by_image_sizes_are_the_references() {
    for (count, train) in [(2, 1), (10, 9), (20, 19), (21, 19), (100, 95), (1999, 1899)] {
        let file = of_categories(&vec![&[1][..]; count], 1);
        let options = SplitOptions { by: By::Image, ..SplitOptions::default() };
        let sizes = sizes(&plan(&file, &options).unwrap().parts);
        assert_eq!((sizes[&Part::Train], sizes[&Part::Val]), (train, count - train));
    }
    let file = of_categories(&[&[1][..]; 10], 1);
    let options = SplitOptions { val: 0.9, ..SplitOptions::default() };
    assert_eq!(sizes(&plan(&file, &options).unwrap().parts)[&Part::Train], 1);
}

#[test]
fn stratified_splits_have_each_category_in_its_share() {
    let lists: Vec<&[u64]> =
        (0..1000).map(|i| if i % 10 == 0 { &[1, 2][..] } else { &[1][..] }).collect();
    let file = of_categories(&lists, 2);
    let options = SplitOptions { val: 0.2, test: 0.1, stratify: true, ..SplitOptions::default() };
    let report = plan(&file, &options).unwrap().report;
    let objects: Vec<_> = report.parts.iter().map(|p| (&*p.name, &p.objects[..])).collect();
    let expected: [(&str, &[usize]); 3] =
        [("train", &[700, 70]), ("val", &[200, 20]), ("test", &[100, 10])];
    assert_eq!(objects, expected);
    let folds = SplitOptions { folds: Some(5), test: 0.0, ..options };
    for part in plan(&file, &folds).unwrap().report.parts {
        assert_eq!(part.objects, [200, 20], "{}", part.name);
    }
}

#[test]
fn an_official_split_through_a_patient_is_refused_with_a_way_out() {
    let mut file = of_categories(&[&[1], &[1], &[1]], 1);
    for image in &mut file.images {
        image.provenance.patient = Some("17".into());
    }
    file.images[1].provenance.official_split = Some("test".into());
    let error = format!("{:#}", plan(&file, &SplitOptions::default()).unwrap_err());
    for part in ["divides patient 17", "0.png is for train", "1.png for test", "--by image"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    let by_image = SplitOptions { by: By::Image, ..SplitOptions::default() };
    assert_eq!(plan(&file, &by_image).unwrap().parts[1], Part::Test);
    let ignore = SplitOptions { official: Official::Ignore, ..SplitOptions::default() };
    let error = plan(&file, &ignore).unwrap_err().to_string();
    assert!(error.contains("would be empty: the 3 images form 1 group that"), "{error}");
    file.images[1].provenance.official_split = Some("Testing".into());
    let error = format!("{:#}", plan(&file, &by_image).unwrap_err());
    assert!(error.contains("1.png: official_split is \"Testing\""), "{error}");
}

#[test]
fn images_that_tell_no_patient_are_counted() {
    let mut file = of_categories(&[&[1], &[1], &[1]], 1);
    file.images[0].provenance.patient = Some("17".into());
    let options = SplitOptions { by: By::Patient, ..SplitOptions::default() };
    let error = plan(&file, &options).unwrap_err().to_string();
    assert!(
        error.contains("2 of 3 images do not specify their `patient`, the first is 1.png"),
        "{error}"
    );
}

/// A file whose image `i` has these further keys.
fn with_keys(keys: &[&str]) -> CocoFile {
    let image = |(i, keys): (usize, &&str)| {
        let comma = if keys.is_empty() { "" } else { "," };
        format!(r#"{{"id":{i},"file_name":"{i}.png","height":8,"width":8{comma}{keys}}}"#)
    };
    let images: Vec<String> = keys.iter().enumerate().map(image).collect();
    let json = format!(
        r#"{{"images":[{}],"annotations":[],"categories":[{{"id":1,"name":"c"}}]}}"#,
        images.join(",")
    );
    CocoFile::from_slice(json.as_bytes(), Path::new("all.json")).unwrap()
}

/// Images that stay together, as lists of their indices.
fn together(file: &CocoFile, options: &SplitOptions) -> Vec<Vec<usize>> {
    groups::of(file, options).unwrap().into_iter().map(|group| group.images).collect()
}

#[test]
fn patients_are_found_under_other_keys_and_unknown_ones_are_not_one() {
    let auto = SplitOptions::default();
    let lists: [(&[&str], &[&[usize]]); 6] = [
        (&[r#""patient_id":7"#, r#""patient_id":8"#, r#""patient_id":7.0"#], &[&[0, 2], &[1]]),
        (&[r#""PatientID":"a""#, r#""PatientID":"a""#], &[&[0, 1]]),
        (&[r#""patient":"""#, r#""patient":"""#, r#""patient":"a""#], &[&[0], &[1], &[2]]),
        (&[r#""patient":null"#, r#""patient":null"#], &[&[0], &[1]]),
        (&[r#""patient":"unknown""#, r#""patient":"unknown""#], &[&[0], &[1]]),
        (&[r#""patient":"","clip":"c""#, r#""patient":"","clip":"c""#], &[&[0, 1]]),
    ];
    for (keys, expected) in lists {
        assert_eq!(together(&with_keys(keys), &auto), expected, "{keys:?}");
    }
    let keys: Vec<&str> = (0..6)
        .map(|i| if i < 4 { r#""subject":"s","case_id":1"# } else { r#""subject":"","case_id":2"# })
        .collect();
    let report = plan(&with_keys(&keys), &auto).unwrap().report;
    assert_eq!((&report.patient_keys[..], report.without_patient), (&["subject".into()][..], 2));
    assert_eq!((report.units.patients, report.units.images), (1, 2));
    assert_eq!(report.candidate_keys, ["case_id"]);
    let by_patient = SplitOptions { by: By::Patient, ..auto };
    let error = plan(&with_keys(&keys), &by_patient).unwrap_err().to_string();
    assert!(error.contains("2 of 6 images do not specify their `patient`"), "{error}");
}

#[test]
fn images_are_grouped_by_any_key() {
    let by = |key: &str| SplitOptions { group_by: Some(key.into()), ..SplitOptions::default() };
    let file = with_keys(&[r#""case_id":1"#, r#""case_id":2"#, r#""case_id":1"#]);
    assert_eq!(together(&file, &by("case_id")), [vec![0, 2], vec![1]]);
    let report = plan(&file, &by("case_id")).unwrap().report;
    assert_eq!((report.units.keys, report.candidate_keys.len()), (2, 0));
    // What the division by patient proposes is what it takes.
    let proposed = plan(&file, &SplitOptions::default()).unwrap().report.candidate_keys;
    assert_eq!(proposed, ["case_id"]);
    let error = plan(&file, &by("case")).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 2);
    assert!(
        error
            .to_string()
            .contains("--group-by case: no image has a value of it (did you mean \"case_id\"?)")
    );
    let file = with_keys(&[r#""case_id":1"#, r#""case_id":null"#]);
    let error = plan(&file, &by("case_id")).unwrap_err().to_string();
    assert!(error.contains("1 of 2 images do not specify their `case_id`, the first is 1.png"));
    // A key that no two images share proposes nothing.
    let file = with_keys(&[r#""exam":1"#, r#""exam":2"#]);
    assert!(plan(&file, &SplitOptions::default()).unwrap().report.candidate_keys.is_empty());
}

#[test]
fn copies_stay_together_or_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    let save = |name: &str, seed: u32, ending: &str| {
        let picture = image::GrayImage::from_fn(40, 40, |x, y| {
            let hash = (x / 5 * 31 + y / 5 * 17 + 1009 * seed).wrapping_mul(2_654_435_761);
            image::Luma([(hash >> 24) as u8])
        });
        let path = folder.path().join("images").join(format!("{name}.png"));
        let format =
            if ending == "png" { image::ImageFormat::Png } else { image::ImageFormat::Bmp };
        picture.save_with_format(path, format).unwrap();
    };
    // 1 is 0, file for file; 3 is 2, pixel for pixel.
    for (name, seed, ending) in
        [("0", 0, "png"), ("1", 0, "png"), ("2", 2, "png"), ("3", 2, "bmp"), ("4", 4, "png")]
    {
        save(name, seed, ending);
    }
    let input = folder.path().join("all.json");
    let file = with_keys(&[""; 5]);
    file.write(&input).unwrap();
    for seed in 0..12 {
        let split = |copies: Copies| {
            let options = SplitOptions { val: 0.4, seed, copies, ..SplitOptions::default() };
            let report = split_file(&input, None, &options, true).unwrap();
            let val = CocoFile::read(&folder.path().join("val.json")).unwrap();
            let val: HashSet<String> = val.images.iter().map(|i| i.file_name.to_string()).collect();
            let is_parted = |a: &str, b: &str| val.contains(a) != val.contains(b);
            (report, is_parted("0.png", "1.png"), is_parted("2.png", "3.png"))
        };
        let (report, files, pixels) = split(Copies::Report);
        assert_eq!((report.copies, report.parted.len()), (1, usize::from(files)));
        if let Some(parted) = report.parted.first() {
            assert_eq!(*parted, ["0.png", "1.png"]);
        }
        assert_eq!((split(Copies::Ignore).1, split(Copies::Ignore).2), (files, pixels));
        for copies in [Copies::Identical, Copies::Near] {
            let (report, files, pixels) = split(copies);
            assert_eq!((report.copies, report.parted.len(), files, pixels), (2, 0, false, false));
        }
    }
}

#[test]
fn an_official_split_through_copies_is_refused_with_a_way_out() {
    let mut file = of_categories(&[&[1], &[1, 2], &[1], &[2]], 2);
    file.images[1].provenance.official_split = Some("test".into());
    let options = SplitOptions::default();
    let same = [vec![0, 1], vec![1, 3]];
    let error = plan_together(&file, &options, &same).unwrap_err().to_string();
    for part in ["divides images that are the same", "1.png for test", "--duplicates report"] {
        assert!(error.contains(part), "no `{part}` in {error}");
    }
    let options = SplitOptions { official: Official::Ignore, ..options };
    let found = plan_together(&file, &options, &same).unwrap();
    assert_eq!((found.parts[0], found.parts[1]), (found.parts[1], found.parts[3]));
    assert_eq!(found.report.parts.iter().map(|p| p.groups).sum::<usize>(), 2);
}

#[test]
fn shares_out_of_range_are_refused() {
    let file = of_categories(&[&[1], &[1], &[1]], 1);
    let refuse = |options: SplitOptions, part: &str| {
        let error = plan(&file, &options).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(
            sonotune_base::error::exit_code(&error),
            if part.contains("cannot fill") { 3 } else { 2 }
        );
    };
    let base = SplitOptions::default();
    refuse(SplitOptions { val: 1.0, ..base.clone() }, "--val 1: expected a share");
    refuse(SplitOptions { val: f64::NAN, ..base.clone() }, "--val NaN");
    refuse(SplitOptions { val: 0.6, test: 0.4, ..base.clone() }, "leave nothing to train on");
    refuse(SplitOptions { folds: Some(1), ..base.clone() }, "at least 2");
    refuse(
        SplitOptions { folds: Some(4), ..base },
        "3 groups of images that stay together cannot fill 4 folds",
    );
}
