//! Leaves out images and objects: small annotations, whole datasets, organs, categories.
//!
//! In US-43d's published test file of MMOTU-2D, each image keeps only the objects with at least 0.95
//! of the area of its largest one, where 0.05 was meant; `min_relative_area = 0.95` reproduces it.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
};

use anyhow::Result;
use serde::Serialize;
use sonotune_base::{Error, names, pattern, words::did_you_mean};

use crate::{CocoFile, ImageRecord};

/// What to keep. Patterns follow [`sonotune_base::pattern`].
#[derive(Debug, Clone, Default, Serialize)]
pub struct FilterOptions {
    /// Keep objects of at least this many pixels.
    pub min_area: Option<f64>,
    /// Keep objects with at least this share of the area of the largest one in their image.
    pub min_relative_area: Option<f64>,
    /// Drop images whose dataset, application or `file_name` matches one of these.
    pub exclude: Vec<String>,
    /// Unless empty, keep only images whose dataset, application or `file_name` matches one of these.
    pub only: Vec<String>,
    /// Give categories other names; those that then have the same name become one.
    pub rename: Vec<Rename>,
    /// Unless empty, keep only categories that match one of these, and their objects.
    pub category: Vec<String>,
    /// Drop images without objects, including those that had none to begin with.
    pub drop_empty: bool,
}

/// Another name for a category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rename {
    pub from: String,
    pub to: String,
}

impl FromStr for Rename {
    type Err = String;

    /// `OLD=NEW`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.trim().is_empty() => {
                Ok(Self { from: from.to_owned(), to: to.to_owned() })
            }
            _ => Err("expected OLD=NEW, two names of categories".to_owned()),
        }
    }
}

/// How much was left out, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FilterReport {
    pub images: usize,
    pub objects: usize,
    pub images_by_name: usize,
    pub images_empty: usize,
    /// Objects of images that were dropped by name.
    pub objects_by_name: usize,
    pub objects_by_category: usize,
    pub objects_by_area: usize,
    pub objects_by_relative_area: usize,
}

/// Filters `file` in place: first images by name, then, with new names, objects by category, then
/// small objects (relative to the largest remaining object of the image), then images
/// without objects.
///
/// # Errors
/// If a threshold is out of range, a pattern matches nothing, or nothing is left.
pub fn filter(file: &mut CocoFile, options: &FilterOptions) -> Result<FilterReport> {
    check(options)?;
    let mut report = FilterReport::default();
    by_name(file, options, &mut report)?;
    rename(file, &options.rename)?;
    by_category(file, options, &mut report)?;
    by_area(file, options, &mut report);
    if options.drop_empty {
        let shown: HashSet<u64> = file.annotations.iter().map(|a| a.image_id).collect();
        report.images_empty = removed(&mut file.images, |image| shown.contains(&image.id));
    }
    (report.images, report.objects) = (file.images.len(), file.annotations.len());
    if file.images.is_empty() {
        return Err(Error::data("no images left").into());
    }
    Ok(report)
}

fn check(options: &FilterOptions) -> Result<()> {
    if let Some(area) = options.min_area.filter(|area| !(area.is_finite() && *area >= 0.0)) {
        return Err(Error::config(format!("--min-area {area}: expected a number of pixels")).into());
    }
    if let Some(share) = options.min_relative_area.filter(|share| !(0.0..=1.0).contains(share)) {
        let message = format!("--min-relative-area {share}: expected a share from 0 to 1");
        return Err(Error::config(message).into());
    }
    Ok(())
}

/// Keeps the elements that `keep` accepts. Returns how many were removed.
fn removed<T>(list: &mut Vec<T>, keep: impl FnMut(&T) -> bool) -> usize {
    let before = list.len();
    list.retain(keep);
    before - list.len()
}

fn by_name(file: &mut CocoFile, options: &FilterOptions, report: &mut FilterReport) -> Result<()> {
    if options.only.is_empty() && options.exclude.is_empty() {
        return Ok(());
    }
    for (option, patterns) in [("--only", &options.only), ("--exclude", &options.exclude)] {
        for pattern in patterns {
            if !file.images.iter().any(|image| follows(file, image, pattern)) {
                return Err(nothing_follows(file, option, pattern));
            }
        }
    }
    let keep = |image: &ImageRecord| {
        let any = |patterns: &[String]| patterns.iter().any(|p| follows(file, image, p));
        (options.only.is_empty() || any(&options.only)) && !any(&options.exclude)
    };
    let kept: HashSet<u64> = file.images.iter().filter(|i| keep(i)).map(|i| i.id).collect();
    report.images_by_name = removed(&mut file.images, |image| kept.contains(&image.id));
    report.objects_by_name = removed(&mut file.annotations, |a| kept.contains(&a.image_id));
    Ok(())
}

fn follows(file: &CocoFile, image: &ImageRecord, wanted: &str) -> bool {
    let names = [file.dataset_of(image), file.application_of(image), Some(&*image.file_name)];
    names.into_iter().flatten().any(|name| pattern::matches(wanted, name))
}

fn nothing_follows(file: &CocoFile, option: &str, wanted: &str) -> anyhow::Error {
    let mut known: Vec<&str> = file
        .images
        .iter()
        .flat_map(|image| [file.dataset_of(image), file.application_of(image)])
        .flatten()
        .collect();
    known.sort_unstable();
    known.dedup();
    let plain = wanted.replace('*', "");
    let near = match did_you_mean(&plain, known.iter().copied()) {
        near if near.is_empty() => {
            did_you_mean(&plain, file.images.iter().map(|image| &*image.file_name))
        }
        near => near,
    };
    let there = match (known.is_empty(), file.images.first()) {
        (false, _) => format!("; datasets and applications are {}", names::quoted(&known)),
        (true, Some(image)) => format!("; the first file_name is \"{}\"", image.file_name),
        (true, None) => String::new(),
    };
    Error::data(format!("{option} \"{wanted}\" matches no image{near}{there}")).into()
}

fn rename(file: &mut CocoFile, names: &[Rename]) -> Result<()> {
    for Rename { from, to } in names {
        let Some(at) = file.categories.iter().position(|c| c.name == *from) else {
            return Err(no_category("--rename", from, file));
        };
        let same = file.categories.iter().position(|c| c.name == *to && c.name != *from);
        let Some(same) = same else {
            file.categories[at].name.clone_from(to);
            continue;
        };
        let (old, new) = (file.categories[at].id, file.categories[same].id);
        for annotation in file.annotations.iter_mut().filter(|a| a.category_id == old) {
            annotation.category_id = new;
        }
        file.categories.remove(at);
    }
    Ok(())
}

fn no_category(option: &str, wanted: &str, file: &CocoFile) -> anyhow::Error {
    let known: Vec<&str> = file.categories.iter().map(|c| &*c.name).collect();
    let near = did_you_mean(&wanted.replace('*', ""), known.iter().copied());
    let known = names::quoted(&known);
    let message =
        format!("{option} \"{wanted}\" matches no category{near}; the categories are {known}");
    Error::data(message).into()
}

fn by_category(
    file: &mut CocoFile,
    options: &FilterOptions,
    report: &mut FilterReport,
) -> Result<()> {
    if options.category.is_empty() {
        return Ok(());
    }
    for wanted in &options.category {
        if !file.categories.iter().any(|category| pattern::matches(wanted, &category.name)) {
            return Err(no_category("--category", wanted, file));
        }
    }
    file.categories.retain(|c| options.category.iter().any(|p| pattern::matches(p, &c.name)));
    let kept: HashSet<u64> = file.categories.iter().map(|c| c.id).collect();
    report.objects_by_category = removed(&mut file.annotations, |a| kept.contains(&a.category_id));
    Ok(())
}

fn by_area(file: &mut CocoFile, options: &FilterOptions, report: &mut FilterReport) {
    let mut largest: HashMap<u64, f64> = HashMap::new();
    if options.min_relative_area.is_some() {
        for annotation in &file.annotations {
            let area = largest.entry(annotation.image_id).or_default();
            *area = area.max(annotation.area);
        }
    }
    if let Some(share) = options.min_relative_area {
        let of_largest = |image| largest.get(&image).copied().unwrap_or_default();
        report.objects_by_relative_area =
            removed(&mut file.annotations, |a| a.area >= share * of_largest(a.image_id));
    }
    if let Some(pixels) = options.min_area {
        report.objects_by_area = removed(&mut file.annotations, |a| a.area >= pixels);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Image 1 of BUSI (areas 100, 96, 94, 5, 4), image 2 of TN3K (area 50), image 3 of TN3K
    /// (empty).
    fn file() -> CocoFile {
        let object = |image: u32, category: u32, area: u32| {
            serde_json::json!({ "image_id": image, "category_id": category, "bbox": [0, 0, 9, 9],
                                "area": area })
        };
        let image = |id: u32, dataset: &str, application: &str| {
            serde_json::json!({ "id": id, "file_name": format!("{dataset}/images/{id}.png"),
                "height": 9, "width": 9, "dataset": dataset, "application": application })
        };
        let json = serde_json::json!({
            "images": [image(1, "BUSI", "breast"), image(2, "TN3K", "thyroid"),
                       image(3, "TN3K", "thyroid")],
            "annotations": [object(1, 1, 100), object(1, 1, 96), object(1, 2, 94), object(1, 2, 5),
                            object(1, 2, 4), object(2, 2, 50)],
            "categories": [{ "id": 1, "name": "benign" }, { "id": 2, "name": "malignant" }],
        });
        CocoFile::from_slice(json.to_string().as_bytes(), Path::new("x.json")).unwrap()
    }

    fn areas(options: &FilterOptions) -> (Vec<f64>, Vec<u64>, FilterReport) {
        let mut file = file();
        let report = filter(&mut file, options).unwrap();
        let areas = file.annotations.iter().map(|a| a.area).collect();
        (areas, file.images.iter().map(|i| i.id).collect(), report)
    }

    #[test]
    fn areas_relative_to_the_largest_of_the_image() {
        let published = FilterOptions { min_relative_area: Some(0.95), ..FilterOptions::default() };
        let (kept, images, report) = areas(&published);
        assert_eq!((kept, images.len()), (vec![100.0, 96.0, 50.0], 3));
        assert_eq!(report.objects_by_relative_area, 3);
        let intended = FilterOptions { min_relative_area: Some(0.05), ..published };
        assert_eq!(areas(&intended).0, [100.0, 96.0, 94.0, 5.0, 50.0]);
        let pixels = FilterOptions { min_area: Some(94.5), ..FilterOptions::default() };
        assert_eq!(areas(&pixels).0, [100.0, 96.0]);
        // The largest object left after filtering by category is 94.
        let both = FilterOptions { category: vec!["mal*".into()], ..intended };
        assert_eq!(areas(&both).0, [94.0, 5.0, 50.0]);
    }

    #[test]
    fn images_by_dataset_application_or_name() {
        let by = |only: &[&str], exclude: &[&str], drop_empty| {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
            let (only, exclude) = (owned(only), owned(exclude));
            areas(&FilterOptions { only, exclude, drop_empty, ..FilterOptions::default() }).1
        };
        assert_eq!(by(&["TN*"], &[], false), [2, 3]);
        assert_eq!(by(&["TN*"], &[], true), [2]);
        assert_eq!(by(&[], &["thyroid"], false), [1]);
        assert_eq!(by(&["TN3K", "breast"], &["*/3.png"], false), [1, 2]);
    }

    #[test]
    fn categories_of_one_new_name_become_one() {
        let names = |pairs: &[&str]| {
            let rename = pairs.iter().map(|pair| pair.parse().unwrap()).collect();
            let mut file = file();
            filter(&mut file, &FilterOptions { rename, ..FilterOptions::default() }).unwrap();
            let ids: Vec<u64> = file.annotations.iter().map(|a| a.category_id).collect();
            (file.categories.into_iter().map(|c| (c.id, c.name)).collect::<Vec<_>>(), ids)
        };
        let (categories, ids) = names(&["malignant=benign"]);
        assert_eq!((categories, ids), (vec![(1, "benign".to_owned())], vec![1; 6]));
        let (categories, ids) = names(&["benign=lesion", "malignant=lesion"]);
        assert_eq!((categories, ids), (vec![(1, "lesion".to_owned())], vec![1; 6]));
        let (categories, ids) = names(&["benign=malignant"]);
        assert_eq!((categories, ids), (vec![(2, "malignant".to_owned())], vec![2; 6]));
    }

    #[test]
    fn a_pattern_that_follows_nothing_names_its_neighbour() {
        let refuse =
            |options: FilterOptions| filter(&mut file(), &options).unwrap_err().to_string();
        let only = FilterOptions { only: vec!["thyriod".into()], ..FilterOptions::default() };
        let error = refuse(only);
        assert!(error.contains("--only \"thyriod\" matches no image (did you mean \"thyroid\"?)"));
        assert!(error.contains("are \"BUSI\", \"TN3K\", \"breast\", \"thyroid\""), "{error}");
        let category =
            FilterOptions { category: vec!["bening".into()], ..FilterOptions::default() };
        assert!(refuse(category).contains("(did you mean \"benign\"?)"));
        let rename = |pairs: &[&str]| FilterOptions {
            rename: pairs.iter().map(|pair| pair.parse().unwrap()).collect(),
            ..FilterOptions::default()
        };
        assert!(refuse(rename(&["bening=x"])).contains("(did you mean \"benign\"?)"));
        assert!("benign".parse::<Rename>().unwrap_err().contains("OLD=NEW"));
        let all = FilterOptions { exclude: vec!["*".into()], ..FilterOptions::default() };
        assert_eq!(refuse(all), "no images left");
        let share = FilterOptions { min_relative_area: Some(5.0), ..FilterOptions::default() };
        assert!(refuse(share).contains("from 0 to 1"));
    }
}
