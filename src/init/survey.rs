//! What a folder holds: annotations in COCO files, folders of classes, images with masks.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use anyhow::Result;
use sonotune_base::{Error, words::counted};
use sonotune_dataset::Split;

use crate::{
    classes,
    exports::{self, CocoExport},
    listing::Listing,
    names,
    pairs::{self, Pairs},
};

/// An image and what its path says.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) masks: Vec<String>,
    pub(crate) class: Option<usize>,
    pub(crate) split: Option<Split>,
    pub(crate) patient: Option<String>,
}

/// Images in folders.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) items: Vec<Item>,
    /// Names of the folders that are classes; fewer than two if they are none.
    pub(crate) classes: Vec<String>,
    /// The only folder that all images are in.
    pub(crate) single: Option<String>,
    /// How patients were told, if they were.
    pub(crate) patients: Option<&'static str>,
}

impl Files {
    pub(crate) fn with_masks(&self) -> usize {
        self.items.iter().filter(|item| !item.masks.is_empty()).count()
    }
}

/// How the data are stored.
#[derive(Debug)]
pub(crate) enum Source {
    Coco(Vec<CocoExport>),
    Files(Files),
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) listing: Listing,
    pub(crate) source: Source,
    /// In a sentence, for the user.
    pub(crate) layout: String,
    pub(crate) notes: Vec<String>,
}

/// Looks at a folder, or at a COCO file.
///
/// # Errors
/// Kind data: nothing that can be learnt from is there; the message says what was looked for and what is there.
pub(crate) fn of(data: &Path) -> Result<Survey> {
    if data.is_file() {
        let listing =
            Listing { folder: sonotune_base::fs::folder_of(data).to_owned(), ..Listing::default() };
        return Ok(coco(listing, vec![exports::open_file(data)?], Vec::new()));
    }
    if !data.exists() {
        return Err(Error::data(format!("{}: no such file or folder", data.display())).into());
    }
    let listing = Listing::of(data)?;
    let annotations = exports::find(&listing)?;
    if !annotations.coco.is_empty() {
        exports::by_split(&annotations.coco)?;
        let notes = annotations.foreign.iter().map(|(name, export)| {
            format!("{name} is not used: {}; the COCO files are", export.name())
        });
        let notes = notes.collect();
        return Ok(coco(listing, annotations.coco, notes));
    }
    if listing.images.is_empty() {
        return Err(nothing(data, &listing).into());
    }
    let pairs = pairs::pair(&listing.images)?;
    let (files, notes) = files(pairs)?;
    if files.classes.len() < 2 && files.with_masks() == 0 {
        if let Some((name, export)) = annotations.foreign.into_iter().next() {
            return Err(exports::foreign(&listing.path(&name).display().to_string(), export).into());
        }
        return Err(without_annotations(data, &files).into());
    }
    let layout = in_words(&files);
    Ok(Survey { listing, source: Source::Files(files), layout, notes })
}

fn coco(listing: Listing, exports: Vec<CocoExport>, notes: Vec<String>) -> Survey {
    let layout = match &exports[..] {
        [one] => format!("a COCO file, {}", one.path.display()),
        several => {
            let splits: Vec<&str> =
                several.iter().filter_map(|one| one.split.map(Split::name)).collect();
            format!("COCO files for {}", splits.join(", "))
        }
    };
    Survey { listing, source: Source::Coco(exports), layout, notes }
}

fn files(pairs: Pairs) -> Result<(Files, Vec<String>)> {
    let mut notes = Vec::new();
    if !pairs.orphans.is_empty() {
        notes.push(format!(
            "{} without an image are not used, such as {}",
            counted(pairs.orphans.len(), "mask"),
            pairs.orphans[0]
        ));
    }
    if pairs.by_number {
        notes.push("masks are paired with images by the number in their names, a guess".to_owned());
    }
    let folders = classes::of(&pairs.pictures)?;
    let mut items: Vec<Item> = pairs
        .pictures
        .into_iter()
        .enumerate()
        .map(|(i, picture)| Item {
            path: picture.path,
            masks: picture.masks,
            class: folders.class_of.get(i).copied(),
            split: folders.split_of[i],
            patient: None,
        })
        .collect();
    // Splits of the data stay as they are, whatever names seem to say.
    let is_divided = items.iter().any(|item| matches!(item.split, Some(Split::Val | Split::Test)));
    let patients = if is_divided { None } else { tell_patients(&mut items, &folders.inner) };
    let has_masks = items.iter().any(|item| !item.masks.is_empty());
    if folders.classes.is_empty() && has_masks {
        let before = items.len();
        let first = items.iter().find(|item| item.masks.is_empty()).map(|item| item.path.clone());
        items.retain(|item| !item.masks.is_empty());
        if let Some(first) = first {
            notes.push(format!(
                "{} without a mask are left out, such as {first}: nobody said that they show nothing",
                counted(before - items.len(), "image")
            ));
        }
    }
    let files = Files { items, classes: folders.classes, single: folders.single, patients };
    Ok((files, notes))
}

/// Names the patients of all images, if their paths seem to tell; says by what.
fn tell_patients(items: &mut [Item], inner: &[String]) -> Option<&'static str> {
    let named = items.iter().map(|item| names::named_patient(&item.path)).collect::<Vec<_>>();
    let folders = inner.iter().map(|folder| (!folder.is_empty()).then(|| folder.clone()));
    let folders = folders.collect::<Vec<_>>();
    let numbers: Vec<Option<String>> =
        items.iter().map(|item| names::leading_number(&item.path).map(str::to_owned)).collect();
    let ways = [
        (named, "the number after `patient`, `case` or `subject` in a path"),
        (folders, "the folder of an image"),
        (numbers, "the number that a file's name begins with"),
    ];
    let (patients, how) = ways.into_iter().find(|(patients, _)| are_patients(patients))?;
    for (item, patient) in items.iter_mut().zip(patients) {
        item.patient = patient;
    }
    Some(how)
}

/// Whether these are plausible: most images have one, some share one, and none has a large part of the images.
fn are_patients(patients: &[Option<String>]) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for patient in patients.iter().flatten() {
        *counts.entry(patient).or_default() += 1;
    }
    let named: usize = counts.values().sum();
    let largest = counts.values().copied().max().unwrap_or(0);
    10 * named >= 9 * patients.len()
        && counts.len() >= 5
        && counts.len() < named
        && 4 * largest <= patients.len()
}

fn in_words(files: &Files) -> String {
    let images = files.items.len();
    let masks = files.with_masks();
    let splits: HashSet<_> = files.items.iter().filter_map(|item| item.split).collect();
    let mut words = if files.classes.len() > 1 {
        format!("{images} images in {} folders of classes", files.classes.len())
    } else {
        format!("{images} images")
    };
    if masks > 0 {
        let of = if masks == images { String::new() } else { format!(" for {masks} of them") };
        words += &format!(", with masks{of}");
    }
    if splits.len() > 1 {
        words += ", divided into splits by folders";
    }
    words
}

fn nothing(data: &Path, listing: &Listing) -> Error {
    let clips = ["mp4", "avi", "mov", "mkv", "webm", "mpg", "gif"];
    let volumes = ["nii", "gz", "mha", "mhd", "nrrd", "h5", "hdf5", "npy", "npz", "mat"];
    let archives = ["zip", "tar", "7z", "rar", "tgz"];
    let has = |endings: &[&str]| {
        endings.iter().any(|ending| listing.with_ending(ending).next().is_some())
    };
    let advice = if has(&archives) {
        "unpack the archive first"
    } else if has(&clips) {
        "for clips, annotate frames with `sonotune annotate`, or describe the folder by a spec (docs/datasets.md) and use \
         `sonotune data convert`"
    } else if has(&volumes) {
        "for volumes and arrays, describe the folder by a spec (docs/datasets.md) and use `sonotune data convert`"
    } else {
        "give the folder that holds the images"
    };
    Error::data(format!(
        "{}: no images and no COCO files; there are {}. Looked for: COCO files (Roboflow, CVAT, Label Studio and others \
         export them), a folder of images for each class, images with masks; {advice}",
        data.display(),
        listing.in_words()
    ))
}

fn without_annotations(data: &Path, files: &Files) -> Error {
    let folder = match &files.single {
        Some(name) => {
            format!(", all of one folder, `{name}`, and one class cannot be told from anything")
        }
        None => String::new(),
    };
    Error::data(format!(
        "{}: {} without annotations{folder}. Looked for: COCO files, two or more folders that are classes, masks beside \
         the images or in a folder `masks`. Annotate some with `sonotune annotate {} --categories NAME`, sort them into a \
         folder for each class, or use a trained model: `sonotune predict`",
        data.display(),
        counted(files.items.len(), "image"),
        data.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    }

    fn refusal(files: &[&str]) -> String {
        of(folder(files).path()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        assert!(refusal(&[".hidden"]).contains("is empty"));
        let message = refusal(&["a.mp4", "b.txt"]);
        assert!(
            message.contains("1 .mp4, 1 .txt") && message.contains("sonotune annotate"),
            "{message}"
        );
        assert!(refusal(&["a.zip"]).contains("unpack the archive"));
        let message = refusal(&["benign/a.png", "benign/b.png"]);
        assert!(message.contains("one folder, `benign`"), "{message}");
        assert!(message.contains("sonotune predict"), "{message}");
        assert!(of(Path::new("/no/such")).unwrap_err().to_string().contains("no such file"));
    }

    #[test]
    fn patients_are_told_by_a_leading_number_that_some_images_share() {
        let mut files: Vec<String> = (0..20).map(|i| format!("{i:03}_HC.png")).collect();
        files.push("003_2HC.png".to_owned());
        let masks: Vec<String> =
            files.iter().map(|file| file.replace(".png", "_Annotation.png")).collect();
        let all: Vec<&str> = files.iter().chain(&masks).map(String::as_str).collect();
        let survey = of(folder(&all).path()).unwrap();
        let Source::Files(files) = survey.source else { panic!() };
        assert_eq!(files.items.len(), 21);
        assert!(files.patients.is_some());
        let third = files.items.iter().filter(|item| item.patient.as_deref() == Some("003"));
        assert_eq!(third.count(), 2);
    }
}
