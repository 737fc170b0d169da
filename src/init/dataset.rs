//! The `[dataset]` table, and the lists or COCO files that it names.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sonotune_base::{Error, stop::StopFlag, words::counted};
use sonotune_coco::{AnnotationRecord, CocoFile, split::Part};
use sonotune_dataset::Split;

use crate::{
    Progress, Request, Task,
    division::{self, Division, Known},
    exports::CocoExport,
    fingerprint::{self, Fingerprint, Opened},
    line::Line,
    prepare, shown,
    survey::{Files, Source, Survey},
    task,
};

/// What a config says about the data, and the files it needs.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) fingerprint: Fingerprint,
    /// None: the data have files for the splits, which are used as they are.
    pub(crate) division: Option<Division>,
    pub(crate) lines: Vec<Line>,
    pub(crate) decisions: Vec<(String, bool)>,
    pub(crate) notes: Vec<String>,
    pub(crate) train: usize,
    pub(crate) val: usize,
    pub(crate) multi_label: bool,
    /// Files to write, by their names below the output folder.
    pub(crate) files: Vec<(PathBuf, Contents)>,
}

/// What is in a file to write.
#[derive(Debug)]
pub(crate) enum Contents {
    Text(String),
    /// The images of one part of a COCO file.
    Coco {
        file: std::sync::Arc<CocoFile>,
        keeps: Vec<bool>,
    },
}

/// Opens the images, divides them and describes the result.
///
/// # Errors
/// Kind data: masks that cannot be understood, or too few images.
pub(crate) fn gather(
    request: &Request,
    survey: &Survey,
    task: Task,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &StopFlag,
) -> Result<Data> {
    let gather = Gather { request, survey, task, progress, stop };
    match &survey.source {
        Source::Files(files) if task == Task::Classification => gather.classes(files),
        Source::Files(files) => gather.masks(files),
        Source::Coco(exports) => gather.coco(exports),
    }
}

struct Gather<'a> {
    request: &'a Request,
    survey: &'a Survey,
    task: Task,
    progress: &'a (dyn Fn(Progress) + Sync),
    stop: &'a StopFlag,
}

impl Gather<'_> {
    fn open(&self, file: &CocoFile, folder: &Path) -> Result<(Fingerprint, Opened)> {
        let images = file.images.len();
        let images = if images > fingerprint::MAX_COMPARED { 0 } else { images };
        (self.progress)(Progress::Begin { what: "images opened and compared", images });
        let opened = fingerprint::open(file, folder, &|| (self.progress)(Progress::Image));
        if self.stop.is_raised() {
            return Err(Error::interrupted("stopped; nothing was written").into());
        }
        Ok(opened)
    }

    /// Images of classes, as lists.
    fn classes(&self, files: &Files) -> Result<Data> {
        let folder = &self.survey.listing.folder;
        let mut file = prepare::classes(files);
        let (mut fingerprint, opened) = self.open(&file, folder)?;
        let mut data = Data::default();
        let together = leave_out(&mut file, &opened, &fingerprint, &mut data.notes)?;
        fingerprint.count(&file, true);
        let division = self.divide(&file, files.patients, &together, &fingerprint, false)?;
        let names: HashMap<u64, &str> = file.categories.iter().map(|c| (c.id, &*c.name)).collect();
        let class_of: HashMap<u64, &str> = file
            .annotations
            .iter()
            .map(|o| (o.image_id, names.get(&o.category_id).copied().unwrap_or_default()))
            .collect();
        for (split, part) in PARTS {
            let mut text = String::from("# path, then the class; written by `sonotune init`\n");
            let mut count = 0;
            for (image, _) in
                file.images.iter().zip(&division.parts).filter(|(_, own)| **own == part)
            {
                let class = class_of.get(&image.id).copied().unwrap_or_default();
                let _ = writeln!(text, "{}\t{class}", listed(&image.file_name));
                count += 1;
            }
            if count > 0 {
                data.files.push((format!("{split}.txt").into(), Contents::Text(text)));
            }
        }
        data.lines.push(line("type", "list_file".into(), "lists of images with their class"));
        data.lines.push(line(
            "images",
            shown(folder).into(),
            "what the paths in the lists are relative to",
        ));
        self.split_lines(&mut data, &division);
        let categories: Vec<toml::Value> =
            files.classes.iter().map(|name| name.as_str().into()).collect();
        data.lines.push(line("categories", categories.into(), "the folders, sorted"));
        Ok(finished(data, fingerprint, division))
    }

    /// Images with masks, as COCO files that refer to them.
    fn masks(&self, files: &Files) -> Result<Data> {
        let folder = &self.survey.listing.folder;
        (self.progress)(Progress::Begin { what: "masks read", images: files.items.len() });
        let done = || (self.progress)(Progress::Image);
        let category = self.request.category.as_deref();
        let prepared = prepare::objects(self.survey, files, category, &done, self.stop)?;
        let mut file = prepared.file;
        let (mut fingerprint, opened) = self.open(&file, folder)?;
        let mut data =
            Data { decisions: prepared.decisions, notes: prepared.notes, ..Data::default() };
        let together = leave_out(&mut file, &opened, &fingerprint, &mut data.notes)?;
        fingerprint.count(&file, false);
        fingerprint.measure(&file);
        let by_class = (files.classes.len() > 1).then(|| by_class(&file, files));
        let division = self.divide(
            by_class.as_ref().unwrap_or(&file),
            files.patients,
            &together,
            &fingerprint,
            false,
        )?;
        self.coco_files(&mut data, file, &division);
        data.lines.push(line("type", "coco".into(), "COCO files with the objects of the masks"));
        data.lines.push(line("images", shown(folder).into(), "what `file_name` is relative to"));
        self.split_lines(&mut data, &division);
        Ok(finished(data, fingerprint, division))
    }

    /// COCO files: used as they are, or divided.
    fn coco(&self, exports: &[CocoExport]) -> Result<Data> {
        let of = |split| exports.iter().find(|export| export.split == Some(split));
        let Some(base) = of(Split::Train).or(exports.first()) else { return Ok(Data::default()) };
        let (mut fingerprint, opened) = self.open(&base.file, &base.images)?;
        let mut data = Data::default();
        let mut file = base.file.clone();
        data.lines.push(line("type", "coco".into(), "annotations in COCO's format"));
        let is_divided = of(Split::Train).is_some() && of(Split::Val).is_some();
        if is_divided {
            if let Some(first) = fingerprint.unreadable.first() {
                data.notes.push(format!(
                    "{} cannot be read: {first}; loader.bad_images = \"skip\" goes on without them",
                    counted(fingerprint.unreadable.len(), "image")
                ));
            }
            describe(&mut fingerprint, &file);
            for split in Split::ALL {
                let Some(export) = of(split) else { continue };
                data.lines.push(split_line(split, export, "the splits of the data, as they are"));
            }
            data.train = base.file.images.len();
            data.val = of(Split::Val).map_or(0, |export| export.file.images.len());
            data.decisions.push(("the splits are those of the data".to_owned(), false));
        } else {
            let together = leave_out(&mut file, &opened, &fingerprint, &mut data.notes)?;
            describe(&mut fingerprint, &file);
            let test = of(Split::Test).filter(|_| exports.len() > 1);
            let division = self.divide(&file, None, &together, &fingerprint, test.is_some())?;
            self.coco_files(&mut data, file.clone(), &division);
            data.lines.push(line(
                "images",
                shown(&base.images).into(),
                "what `file_name` is relative to",
            ));
            self.split_lines(&mut data, &division);
            data.lines.extend(test.map(|export| {
                split_line(Split::Test, export, "the test split of the data, as it is")
            }));
            data = finished(data, fingerprint.clone(), division);
        }
        self.coco_keys(&mut data, exports);
        data.fingerprint = fingerprint;
        Ok(data)
    }

    /// Keys of a COCO data set that follow from its categories and objects.
    fn coco_keys(&self, data: &mut Data, exports: &[CocoExport]) {
        let used: HashSet<&str> =
            exports.iter().flat_map(|export| task::used(&export.file)).collect();
        let first = &exports[0].file;
        let idle: Vec<toml::Value> = first
            .categories
            .iter()
            .filter(|category| !used.contains(&*category.name))
            .map(|category| category.name.as_str().into())
            .collect();
        if !idle.is_empty() {
            let why = "no image has an object of these, as of the root category of some exports";
            data.lines.push(line("ignore_categories", idle.into(), why));
        }
        if self.task == Task::Classification {
            data.multi_label = exports.iter().any(|export| task::is_multi_label(&export.file));
            if !data.multi_label {
                let why = "an image without objects has no class";
                data.lines.push(line("keep_empty", false.into(), why));
            }
        } else if data
            .fingerprint
            .objects
            .as_ref()
            .is_some_and(|objects| objects.with_mask < objects.count)
        {
            let why = "some objects have a box and no mask: their boxes count as masks, which are then rough";
            data.lines.push(Line {
                guess: true,
                ..Line::new("train", "allow_boxes_as_masks", true.into(), why)
            });
        }
    }

    fn divide(
        &self,
        file: &CocoFile,
        patients: Option<&str>,
        together: &[Vec<usize>],
        fingerprint: &Fingerprint,
        has_test: bool,
    ) -> Result<Division> {
        let compared = fingerprint.alike.is_some();
        division::divide(
            file,
            Known { together, patients, has_test, compared, seed: self.request.seed },
        )
    }

    fn coco_files(&self, data: &mut Data, file: CocoFile, division: &Division) {
        let file = std::sync::Arc::new(file);
        for (split, part) in PARTS {
            let keeps: Vec<bool> = division.parts.iter().map(|&own| own == part).collect();
            if keeps.contains(&true) {
                let name = Path::new("annotations").join(format!("{split}.json"));
                data.files.push((name, Contents::Coco { file: file.clone(), keeps }));
            }
        }
    }

    /// A line for each file to write.
    fn split_lines(&self, data: &mut Data, division: &Division) {
        let counts = [division.train, division.val, division.test];
        for ((split, _), count) in PARTS.iter().zip(counts) {
            let named = |(name, _): &&(PathBuf, Contents)| {
                name.file_stem().is_some_and(|stem| stem == split.name())
            };
            let Some((name, _)) = data.files.iter().find(named) else { continue };
            let path = shown(&self.request.out.join(name));
            let mut reason = counted(count, "image");
            if *split == Split::Train {
                let _ = write!(reason, ". The splits: {}", division.how);
            }
            data.lines.push(line(split.name(), path.into(), &reason));
        }
    }
}

const PARTS: [(Split, Part); 3] =
    [(Split::Train, Part::Train), (Split::Val, Part::Val), (Split::Test, Part::Test)];

fn line(key: &str, value: toml::Value, reason: &str) -> Line {
    Line::new("dataset", key, value, reason)
}

fn split_line(split: Split, export: &CocoExport, reason: &str) -> Line {
    let table = [("annotations", &export.path), ("images", &export.images)];
    let table = table.into_iter().map(|(key, path)| (key.to_owned(), shown(path).into()));
    line(
        split.name(),
        toml::Value::Table(table.collect()),
        &format!("{}; {reason}", counted(export.file.images.len(), "image")),
    )
}

/// A path as a list has it: none begins like a comment or a quoted path.
fn listed(path: &str) -> String {
    let is_special = path.starts_with(['#', '"', '\'']) || path.starts_with(char::is_whitespace);
    if is_special { format!("./{path}") } else { path.to_owned() }
}

fn describe(fingerprint: &mut Fingerprint, file: &CocoFile) {
    fingerprint.count(file, false);
    fingerprint.measure(file);
}

fn finished(mut data: Data, fingerprint: Fingerprint, division: Division) -> Data {
    (data.train, data.val) = (division.train, division.val);
    data.decisions.push((format!("the splits: {}", division.how), division.guess));
    data.fingerprint = fingerprint;
    data.division = Some(division);
    data
}

/// The same images with their class in place of their objects.
fn by_class(file: &CocoFile, files: &Files) -> CocoFile {
    let class_of: HashMap<&str, usize> =
        files.items.iter().map(|item| (&*item.path, item.class.unwrap_or_default())).collect();
    let object = |image: &sonotune_coco::ImageRecord| AnnotationRecord {
        id: image.id,
        image_id: image.id,
        category_id: class_of.get(&*image.file_name).copied().unwrap_or_default() as u64 + 1,
        ..AnnotationRecord::default()
    };
    CocoFile { annotations: file.images.iter().map(object).collect(), ..file.clone() }
}

/// Leaves out images that cannot be read; the lists of images that look alike, by their index then.
fn leave_out(
    file: &mut CocoFile,
    opened: &Opened,
    fingerprint: &Fingerprint,
    notes: &mut Vec<String>,
) -> Result<Vec<Vec<usize>>> {
    if opened.unreadable.is_empty() {
        return Ok(opened.together.clone());
    }
    let first = fingerprint.unreadable.first().cloned().unwrap_or_default();
    if opened.unreadable.len() == fingerprint.opened {
        return Err(Error::data(format!(
            "none of the {} images can be read: {first}",
            fingerprint.opened
        ))
        .into());
    }
    notes.push(format!(
        "{} that cannot be read are left out, such as {first}",
        counted(opened.unreadable.len(), "image")
    ));
    let before: Vec<String> = file.images.iter().map(|image| image.file_name.clone()).collect();
    prepare::without(file, &opened.unreadable);
    let now: HashMap<&str, usize> =
        file.images.iter().enumerate().map(|(i, image)| (&*image.file_name, i)).collect();
    let renumber =
        |set: &Vec<usize>| set.iter().filter_map(|&i| now.get(&*before[i]).copied()).collect();
    Ok(opened.together.iter().map(renumber).collect())
}
