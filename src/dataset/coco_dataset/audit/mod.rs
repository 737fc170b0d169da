//! Everything that is wrong in a COCO file, in one pass.

mod annotations;
mod categories;
mod lenient;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use crate::coco::{
    Extra, Integer, PixelSpacing, Text,
    patient::{parts_of, patient_of},
    read, text,
};
use serde_json::value::RawValue;

use super::{CocoConfig, ImageLabel, frames};
use crate::coco_dataset::audit::{
    annotations::annotations,
    categories::Classes,
    lenient::{Lists, Refused, entry, required, value},
};
use crate::{
    Split,
    findings::{Audit, AuditedImage, Code, Place, path_leaves},
    image_names::{Elsewhere, resolve},
    pixels::has_image_ending,
    shares::Shares,
};
use sonotune_base::{ImageId, json::quoted_nan, pattern};

/// Reads as much as possible of the file of `split`.
pub(super) fn audit(config: &CocoConfig, split: Split) -> Audit {
    let Some(files) = config.split(split) else { return Audit::default() };
    let source = config.root.join(&files.annotations);
    let places = config.places(split, files);
    let folder = &places.images;
    let root = if config.root.as_os_str().is_empty() { folder } else { &config.root };
    let mut audit = Audit { source, root: Some(root.clone()), ..Audit::default() };
    let bytes = match read(&audit.source) {
        Ok(bytes) => bytes,
        Err(error) => return unreadable(audit, &error),
    };
    let text = match text(&bytes, &audit.source) {
        Ok(text) => text,
        Err(error) => return unreadable(audit, &error),
    };
    let text = quoted_nan(&text);
    let lists = match Lists::read(&text, &audit.source) {
        Ok(lists) => lists,
        Err(error) => return unreadable(audit, &error),
    };
    let classes = Classes::read(config, split, &lists, &mut audit);
    let images = Images { folder, config };
    let index = images.read(&lists, &mut audit);
    let annotated = annotations(&lists, &index, &classes, &mut audit);
    images.finish(&annotated, &mut audit);
    normalised(&mut audit);
    let paths = audit.images.iter().map(|image| image.path.as_path());
    audit.elsewhere = Elsewhere::find(paths, &places);
    audit
}

/// Reports coordinates from 0 to 1, if all objects have them: opening refuses such a file.
fn normalised(audit: &mut Audit) {
    let mut shares = Shares::default();
    for object in audit.images.iter().flat_map(|image| &image.objects) {
        let place = || format!("annotations[{}]", object.entry.unwrap_or_default());
        let own_box = Some(object.object.bbox).filter(|_| object.own_box);
        shares.add(own_box, &object.object.segmentation, place);
    }
    if let Some(got) = shares.all().and_then(|_| shares.some()) {
        audit.findings.add(Code::NormalisedCoordinates, Place::file(&audit.source), got);
    }
}

fn unreadable(mut audit: Audit, error: &anyhow::Error) -> Audit {
    // The place says which file it is.
    let prefix = format!("{}: ", audit.source.display());
    let text = format!("{error:#}").replacen(&prefix, "", 1);
    audit.findings.add(Code::UnreadableAnnotations, Place::file(&audit.source), text);
    audit
}

struct Images<'a> {
    folder: &'a Path,
    config: &'a CocoConfig,
}

/// Positions in `Audit::images` by id; `None` for entries that cannot be used.
type Index = HashMap<ImageId, Option<usize>>;

impl Images<'_> {
    fn read(&self, lists: &Lists<'_>, audit: &mut Audit) -> Index {
        let dataset = lists.info.and_then(dataset_name);
        let mut index = Index::with_capacity(lists.images.len());
        let mut first_entry: HashMap<ImageId, usize> = HashMap::new();
        let mut files: HashMap<(PathBuf, Option<&str>), usize> = HashMap::new();
        let mut frames: Vec<Option<&RawValue>> = Vec::new();
        for (i, raw) in lists.images.iter().enumerate() {
            let place = || Place::entry(&audit.source, format!("images[{i}]"));
            let read = entry(raw).and_then(|keys| {
                let id: ImageId = required(&keys, "id")?;
                Ok((keys, id))
            });
            let read = Refused::report(read, &mut audit.findings, place);
            let Some((keys, id)) = read else { continue };
            let frame = raw_frame(raw);
            let place = || Place { image_id: Some(id.clone()), ..place() };
            let twice = first_entry.get(&id).copied();
            let image = self.image(&keys, i, id.clone(), dataset.as_deref());
            let Some(mut image) = Refused::report(image, &mut audit.findings, place) else {
                index.entry(id).or_insert(None);
                continue;
            };
            let place = || Place { image: Some(image.path.clone()), ..place() };
            if let Some(first) = twice {
                let got = format!("id {id} is also that of images[{first}]");
                audit.findings.add(Code::DuplicateImageId, place(), got);
                // Its annotations cannot be told from those of the other.
                image.without_objects = false;
            }
            // For an ordinary image it only says where that comes from.
            let which = frame.map(RawValue::get).filter(|_| !has_image_ending(&image.path));
            if let Some(first) = files.insert((image.path.clone(), which), i) {
                let got = format!("is also the file of images[{first}]");
                audit.findings.add(Code::DuplicateFile, place(), got);
            }
            first_entry.entry(id.clone()).or_insert(i);
            index.entry(id).or_insert(Some(audit.images.len()));
            audit.images.push(image);
            frames.push(frame);
        }
        resolve(
            &mut audit.images.iter_mut().map(|image| &mut image.path).collect::<Vec<_>>(),
            self.folder,
        );
        set_frames(&frames, audit);
        self.outside_root(audit);
        index
    }

    fn image(
        &self,
        keys: &Extra,
        i: usize,
        image_id: ImageId,
        dataset: Option<&str>,
    ) -> Result<AuditedImage, Refused> {
        let Text(name) = required(keys, "file_name")?;
        if name.is_empty() {
            return Err(Refused::new(Code::MalformedEntry, "`file_name` is empty"));
        }
        let side = |key: &str| -> Result<Option<u32>, Refused> {
            let Some(Integer(n)) = value(keys, key, Code::MalformedEntry)? else { return Ok(None) };
            u32::try_from(n).ok().filter(|&n| n > 0).map(Some).ok_or_else(|| {
                Refused::new(Code::BadNumber, format!("`{key}` is {n}, not a number of pixels"))
            })
        };
        let text = |key: &str| {
            let id = keys.get(key).and_then(|raw| ImageId::from_json(raw.get()).ok())?;
            Some(id.to_string()).filter(|text| !text.is_empty())
        };
        let dataset = text("dataset").or_else(|| dataset.map(str::to_owned));
        let within = |text: String| match &dataset {
            Some(dataset) => format!("{text} of {dataset}").into(),
            None => text.into(),
        };
        Ok(AuditedImage {
            image_id,
            path: self.folder.join(name),
            frame: None,
            entry: Some(format!("images[{i}]")),
            size: side("height")?.zip(side("width")?),
            spacing: value(keys, PixelSpacing::KEY, Code::BadNumber)?.map(|PixelSpacing(mm)| mm),
            image_labels: Vec::new(),
            objects: Vec::new(),
            without_objects: true,
            patient: patient_of(keys).map(|name| within(name.into_owned())),
            clip: text("clip").map(within),
            parts: parts_of(keys)
                .map(|(key, value)| (key.into(), within(value.into_owned())))
                .collect(),
        })
    }

    fn outside_root(&self, audit: &mut Audit) {
        let root = audit.root.as_deref().unwrap_or(self.folder);
        let outside: Vec<usize> =
            (0..audit.images.len()).filter(|&i| path_leaves(&audit.images[i].path, root)).collect();
        for i in outside {
            let place = audit.place(&audit.images[i]);
            let expected = format!("a path below {}", root.display());
            let got = audit.images[i].path.display().to_string();
            audit.findings.add_expected(Code::PathOutsideRoot, place, expected, got);
        }
    }

    /// Leaves out what the config leaves out, and reports images without objects.
    fn finish(&self, annotated: &HashSet<usize>, audit: &mut Audit) {
        let images = std::mem::take(&mut audit.images);
        for (i, mut image) in images.into_iter().enumerate() {
            image.without_objects &= !annotated.contains(&i);
            let name =
                image.path.strip_prefix(self.folder).unwrap_or(&image.path).to_string_lossy();
            let excluded = self.config.exclude.iter().any(|p| pattern::matches(p, &name));
            if excluded || (!self.config.keep_empty && image.without_objects) {
                audit.left_out.push(image.path);
                continue;
            }
            if self.config.image_label == ImageLabel::FromObjects {
                let mut labels: Vec<u32> =
                    image.objects.iter().map(|o| o.object.category).collect();
                labels.sort_unstable();
                labels.dedup();
                image.image_labels = labels;
            }
            audit.images.push(image);
        }
    }
}

/// The key `frame` of an image, unread.
fn raw_frame(raw: &RawValue) -> Option<&RawValue> {
    #[derive(serde::Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        frame: Option<&'a RawValue>,
    }
    serde_json::from_str::<Entry<'_>>(raw.get()).ok()?.frame
}

/// Says which frame of its file each image is.
fn set_frames(raw: &[Option<&RawValue>], audit: &mut Audit) {
    let counts = frames::counts(audit.images.iter().map(|image| image.path.as_path()));
    let frame = |(image, raw): (&AuditedImage, &Option<&RawValue>)| {
        let count = counts.get(image.path.as_path()).copied()?;
        Some(frames::frame(*raw, count))
    };
    let found: Vec<_> = audit.images.iter().zip(raw).map(frame).collect();
    for (i, found) in found.into_iter().enumerate() {
        match found {
            Some(Ok(frame)) => audit.images[i].frame = frame,
            Some(Err(why)) => {
                let place = audit.place(&audit.images[i]);
                audit.findings.add(Code::NoSuchFrame, place, why.to_string());
            }
            None => {}
        }
    }
}

/// `info.dataset`.
fn dataset_name(info: &RawValue) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Info {
        dataset: Option<String>,
    }
    serde_json::from_str::<Info>(info.get()).ok()?.dataset
}
