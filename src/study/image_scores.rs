//! The scores of single images as a table, with what the annotations say about each image.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use anyhow::Result;
use sonotune_base::{Error, ImageId};
use sonotune_coco::{CocoFile, ImageRecord, split::patient};
use sonotune_dataset::coco::patient::{known, names_patient, text};
use sonotune_metrics::ImageScores;
use sonotune_statistics::scores::{Row, Scores};

/// Longer values of an entry are not a group that images belong to.
const LONGEST_FIELD: usize = 80;

/// A table with a row for each image. If `annotations` is a COCO file, its entries give the patient and the
/// fields (texts and numbers such as `device`); otherwise both stay empty.
///
/// # Errors
/// If the images do not all have the same scores.
pub fn image_table(
    images: impl IntoIterator<Item = (ImageId, PathBuf, ImageScores)>,
    annotations: &Path,
) -> Result<Scores> {
    let entries = Entries::read(annotations);
    let mut table = Scores::default();
    for (id, path, scores) in images {
        let columns: Vec<String> = scores.metrics.iter().map(|m| m.name.clone()).collect();
        if table.rows.is_empty() {
            table.columns = columns;
        } else if table.columns != columns {
            return Err(Error::data(format!(
                "the task gives image {id} the scores {}, but others {}",
                columns.join(", "),
                table.columns.join(", ")
            ))
            .into());
        }
        let word = |name: &str| {
            let found = scores.words.iter().find(|(known, _)| known == name);
            found.map(|(_, word)| word.clone()).unwrap_or_default()
        };
        let entry = entries.of(&path);
        table.rows.push(Row {
            image_id: id.to_string(),
            file_name: entry.map_or_else(|| path.display().to_string(), |e| e.file_name.clone()),
            patient: entry.and_then(patient).map(|name| name.into_owned()).unwrap_or_default(),
            part: String::new(),
            label: word("label"),
            predicted: word("predicted"),
            fields: entry.map(fields).unwrap_or_default(),
            values: scores.metrics.iter().map(|metric| metric.value).collect(),
        });
    }
    Ok(table)
}

/// Images of a COCO file by the last part of their file's name.
#[derive(Default)]
struct Entries {
    images: Vec<ImageRecord>,
    by_name: HashMap<String, Vec<usize>>,
}

impl Entries {
    /// None, if the file is not a COCO file: other kinds of datasets name no patients.
    fn read(annotations: &Path) -> Self {
        let is_json = annotations.extension().is_some_and(|extension| extension == "json");
        let file = is_json.then(|| CocoFile::read(annotations).ok()).flatten();
        let Some(file) = file else { return Self::default() };
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, image) in file.images.iter().enumerate() {
            by_name.entry(last_part(Path::new(&image.file_name))).or_default().push(index);
        }
        Self { images: file.images, by_name }
    }

    /// The entry of the image at `path`, which is below the dataset's folder of images.
    fn of(&self, path: &Path) -> Option<&ImageRecord> {
        let candidates =
            self.by_name.get(&last_part(path))?.iter().map(|&index| &self.images[index]);
        let fitting = candidates.filter(|image| path.ends_with(&image.file_name));
        // `a/b/1.png` also ends with the name of another image, `1.png`.
        fitting.max_by_key(|image| image.file_name.len())
    }
}

fn last_part(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What may tell groups of images apart.
fn fields(image: &ImageRecord) -> BTreeMap<String, String> {
    let named = [("dataset", &image.dataset), ("application", &image.application)];
    let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
    let others =
        image.extra.0.iter().filter(|(key, _)| !names_patient(key)).filter_map(|(key, value)| {
            let value = known(text(value)?)?;
            (value.len() <= LONGEST_FIELD).then(|| (key.to_string(), value.into_owned()))
        });
    named.chain(others).collect()
}
