//! Where prompts come from, and which images they are about.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::words::{self, did_you_mean};

use sonotune_base::{Category, Error, names::quoted};
use sonotune_dataset::{
    Dataset, DatasetConfig, FrameChoice, ImagePrompts, ObjectPrompt, PromptFile, PromptedObject,
    Record, Split,
    coco_dataset::{CheckFiles, CocoConfig, CocoSplit, ImageLabel},
    files::relative_text,
    image_names::resolve,
};

/// Category of objects without a name.
const OBJECT: &str = "object";

/// Source of the prompts for a promptable model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PromptSource {
    /// No prompts: for tasks that do not take any.
    #[default]
    None,
    /// Prompts in a JSON or CSV file.
    File(PathBuf),
    /// A prompt for every object of a COCO file.
    Annotations {
        path: PathBuf,
        /// One of the task's `evaluation.protocols`, e.g. `box`.
        protocol: String,
    },
    /// Segment everything in the image.
    Everything,
}

impl PromptSource {
    /// Description for output files.
    pub(super) fn describe(&self, carry: bool) -> Option<String> {
        let carried = if carry { ", carried to the other frames of their clips" } else { "" };
        match self {
            Self::None => None,
            Self::File(path) => Some(format!("prompts of {}{carried}", path.display())),
            Self::Annotations { path, protocol } => {
                Some(format!("{protocol} of the objects in {}{carried}", path.display()))
            }
            Self::Everything => Some("everything".to_owned()),
        }
    }

    /// Refuses a source that does not suit a task that does or does not take prompts.
    pub(super) fn check(&self, takes_prompts: bool) -> Result<()> {
        let message = match (takes_prompts, self) {
            (true, Self::None) => {
                "this model needs prompts: pass --prompts FILE (points, boxes, masks), \
                 --annotations COCO.json (its objects), or --everything"
            }
            (false, Self::File(_) | Self::Annotations { .. } | Self::Everything) => {
                "this model's task takes no prompts: leave out --prompts, --annotations and \
                 --everything"
            }
            _ => return Ok(()),
        };
        Err(Error::config(message).into())
    }
}

/// Images to predict on, with their prompts.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) dataset: Dataset,
    /// Images without prompts; `dataset` does not contain them.
    pub(super) unasked: Vec<Record>,
    questions: Questions,
}

#[derive(Debug)]
enum Questions {
    None,
    /// The prompts for each image of the dataset.
    Of(PathBuf, Vec<Vec<PromptedObject>>),
    Annotated,
    Everything,
}

/// An image that a source of prompts names.
struct Named<'a> {
    /// Where it is named, for messages.
    place: &'a str,
    file: &'a Path,
    frame: Option<u32>,
}

/// Image files, found by name.
struct Images {
    found: Dataset,
    /// Folder that names are relative to.
    base: PathBuf,
    /// The user named one image and not a folder: prompts for other images are ignored.
    is_single: bool,
}

/// The folder that names of images under `images` are relative to.
pub(super) fn base_of(images: &Path) -> &Path {
    if images.is_file() { images.parent().unwrap_or(Path::new("")) } else { images }
}

impl Asked {
    /// Finds the images at `path` and the prompts in `source` for them.
    ///
    /// # Errors
    /// An error of kind data if there are no images, the source is malformed, or it is about
    /// images that do not exist.
    pub(super) fn gather(source: &PromptSource, path: &Path, frames: FrameChoice) -> Result<Self> {
        let names_frames =
            matches!(source, PromptSource::File(_) | PromptSource::Annotations { .. });
        if names_frames && frames != FrameChoice::All {
            return Err(Error::config(
                "prompts say themselves which frames of a clip are asked about: leave out --every-frame and \
                 --frames",
            )
            .into());
        }
        let images = Images {
            found: Dataset::from_images(path, frames)?,
            base: base_of(path).to_owned(),
            is_single: path.is_file(),
        };
        let asked = match source {
            PromptSource::None => return Ok(Self::all(images.found, Questions::None)),
            PromptSource::Everything => return Ok(Self::everything(images.found)),
            PromptSource::File(path) => images.prompted(PromptFile::read(path)?),
            PromptSource::Annotations { path, .. } => images.annotated(path),
        }?;
        if asked.dataset.records.is_empty() {
            return Err(Error::data(format!(
                "none of the images at {} has prompts in {}",
                path.display(),
                source.describe(false).unwrap_or_default()
            ))
            .into());
        }
        Ok(asked)
    }

    fn all(dataset: Dataset, questions: Questions) -> Self {
        Self { dataset, unasked: Vec::new(), questions }
    }

    fn everything(mut dataset: Dataset) -> Self {
        for record in &mut dataset.records {
            record.prompts = Some(ImagePrompts::Everything);
        }
        Self::all(dataset, Questions::Everything)
    }

    /// Categories of the answers, given those that the model was trained for; pretrained weights
    /// have none. A promptable model does not distinguish categories: an answer has that of its
    /// prompt. If a prompt has none and it could be any of several, it is `object`.
    ///
    /// # Errors
    /// An error of kind data if a prompt's category is not one of those the model was trained for.
    pub(super) fn categories(&self, trained: Option<&[Category]>) -> Result<Vec<Category>> {
        match &self.questions {
            Questions::None => Ok(trained.unwrap_or_default().to_vec()),
            Questions::Annotated => Ok(self.dataset.categories.clone()),
            Questions::Everything => Ok(match trained {
                Some([only]) => vec![only.clone()],
                _ => with_object(Vec::new()),
            }),
            Questions::Of(path, asked) => {
                let objects = || asked.iter().flatten();
                let lacks = objects().any(|object| object.category.is_none());
                let Some(trained) = trained else {
                    let own = if lacks { with_object(Vec::new()) } else { Vec::new() };
                    return Ok(objects().filter_map(|o| o.category.as_deref()).fold(own, add_name));
                };
                for object in objects() {
                    known(object, trained).with_context(|| {
                        Error::data(format!("{}: {}", path.display(), object.place))
                    })?;
                }
                let is_open = lacks && trained.len() != 1;
                let own = trained.to_vec();
                Ok(if is_open { with_object(own) } else { own })
            }
        }
    }

    /// The dataset with its prompts; `categories` are those of [`categories`](Self::categories).
    pub(super) fn into_dataset(mut self, categories: &[Category]) -> Dataset {
        let index = |name: &str| categories.iter().position(|c| c.name == name);
        let unnamed = index(OBJECT).unwrap_or_default();
        if let Questions::Of(_, asked) = self.questions {
            for (record, objects) in self.dataset.records.iter_mut().zip(asked) {
                let prompt = |object: PromptedObject| {
                    let category = object.category.as_deref().and_then(index).unwrap_or(unnamed);
                    ObjectPrompt { category: Some(category), ..object.prompt }
                };
                let prompts = objects.into_iter().map(prompt).collect();
                record.prompts = Some(ImagePrompts::Objects(prompts));
            }
        }
        self.dataset
    }
}

fn with_object(categories: Vec<Category>) -> Vec<Category> {
    add_name(categories, OBJECT)
}

/// The categories and, unless it is already one of them, `name` with the next free id.
fn add_name(mut categories: Vec<Category>, name: &str) -> Vec<Category> {
    if !categories.iter().any(|category| category.name == name) {
        let id = categories.iter().map(|category| category.id).max().unwrap_or(0) + 1;
        categories.push(Category { id, name: name.to_owned() });
    }
    categories
}

fn known(object: &PromptedObject, trained: &[Category]) -> Result<()> {
    let Some(name) = &object.category else { return Ok(()) };
    let names: Vec<_> = trained.iter().map(|c| c.name.as_str()).collect();
    anyhow::ensure!(
        names.contains(&name.as_str()),
        "category \"{name}\"{} is not one of the model's: {}. Put any other name of an object into \
         its `name`",
        did_you_mean(name, names.iter().copied()),
        quoted(&names)
    );
    Ok(())
}

impl Images {
    fn name(&self, path: &Path) -> String {
        relative_text(path, &self.base)
    }

    /// The record that a name means among those of its file, `frames`.
    fn frame_of(&self, named: &Named<'_>, frames: &[usize]) -> Result<usize> {
        let records = &self.found.records;
        let (count, file) = (frames.len(), named.file.display());
        let is_clip = frames.first().is_some_and(|&i| records[i].frame.is_some());
        match named.frame {
            None if is_clip => anyhow::bail!(
                "{file} has {count} frames: say which one, as `frame`, counted from 0"
            ),
            Some(frame) if is_clip => {
                frames.iter().copied().find(|&i| records[i].frame == Some(frame)).with_context(
                    || format!("{file} has no frame {frame}; it has {count}, counted from 0"),
                )
            }
            Some(frame) if frame > 0 => anyhow::bail!(
                "{file} is one image: it has no frame {frame} (frames are counted from 0)"
            ),
            _ => frames.first().copied().context("no image"),
        }
    }

    /// Index of the image that each name refers to. With a single image, names may begin at a folder
    /// above it.
    fn indices(&self, names: &[Named<'_>], source: &Path) -> Result<Vec<Option<usize>>> {
        let records = &self.found.records;
        let mut by_file: HashMap<&Path, Vec<usize>> = HashMap::new();
        for (i, record) in records.iter().enumerate() {
            by_file.entry(record.path.as_path()).or_default().push(i);
        }
        let frame_of = |named: &Named<'_>, frames: &[usize]| {
            self.frame_of(named, frames)
                .with_context(|| Error::data(format!("{}: {}", source.display(), named.place)))
        };
        if self.is_single {
            let frames: Vec<usize> = (0..records.len()).collect();
            let is_it = |name: &Path| records.first().is_some_and(|r| r.path.ends_with(name));
            let index =
                |named: &Named<'_>| is_it(named.file).then(|| frame_of(named, &frames)).transpose();
            return names.iter().map(index).collect();
        }
        let find = |named: &Named<'_>| {
            let frames = by_file.get(self.base.join(named.file).as_path());
            frames.map(|frames| frame_of(named, frames)).transpose()
        };
        let found: Vec<_> = names.iter().map(find).collect::<Result<_>>()?;
        let absent: Vec<_> = names.iter().zip(&found).filter(|(_, f)| f.is_none()).collect();
        let Some((Named { place, file: name, .. }, _)) = absent.first() else { return Ok(found) };
        let name = name.to_string_lossy();
        let mut there: Vec<_> = records.iter().map(|record| self.name(&record.path)).collect();
        there.dedup();
        let below = there.iter().find(|other| other.ends_with(&format!("/{name}")));
        let above = self.base.parent().filter(|above| above.join(&*name).is_file());
        let hint = match (below, above) {
            (Some(other), _) => words::aside(other),
            (None, Some(above)) if above == Path::new("") => {
                " (it is there from the working directory: predict `.`)".to_owned()
            }
            (None, Some(above)) => format!(" (but under {}: predict that)", above.display()),
            (None, None) => did_you_mean(&name, there.iter().map(String::as_str)),
        };
        Err(Error::data(format!(
            "{}: {place}: there is no image \"{name}\" under {}{hint}; {} of the {} images that the \
             file names are missing",
            source.display(),
            self.base.display(),
            absent.len(),
            names.len()
        ))
        .into())
    }

    fn prompted(mut self, file: PromptFile) -> Result<Asked> {
        let mut files: Vec<PathBuf> =
            file.images.iter().map(|image| self.base.join(&image.file_name)).collect();
        resolve(&mut files.iter_mut().collect::<Vec<_>>(), &self.base);
        let named = |file| Path::strip_prefix(file, &self.base).unwrap_or(file);
        let names: Vec<_> = file
            .images
            .iter()
            .zip(&files)
            .map(|(image, file)| Named {
                place: &image.place,
                file: named(file),
                frame: image.frame,
            })
            .collect();
        let indices = self.indices(&names, &file.path)?;
        let mut objects: HashMap<usize, Vec<PromptedObject>> = HashMap::new();
        for (index, image) in indices.into_iter().zip(file.images) {
            if let Some(index) = index {
                objects.entry(index).or_default().extend(image.objects);
            }
        }
        let (mut records, mut asked, mut unasked) = (Vec::new(), Vec::new(), Vec::new());
        for (i, record) in std::mem::take(&mut self.found.records).into_iter().enumerate() {
            match objects.remove(&i).filter(|objects| !objects.is_empty()) {
                Some(objects) => {
                    records.push(record);
                    asked.push(objects);
                }
                None => unasked.push(record),
            }
        }
        let dataset = Dataset { records, ..self.found };
        Ok(Asked { dataset, unasked, questions: Questions::Of(file.path, asked) })
    }

    fn annotated(self, path: &Path) -> Result<Asked> {
        let mut dataset = coco(path, &self.base).open(Split::Test)?;
        let named = |record: &Record| {
            record.path.strip_prefix(&self.base).unwrap_or(&record.path).to_owned()
        };
        let names: Vec<PathBuf> = dataset.records.iter().map(named).collect();
        let places: Vec<_> =
            dataset.records.iter().map(|r| format!("image {}", r.image_id)).collect();
        let names: Vec<_> = dataset
            .records
            .iter()
            .zip(&places)
            .zip(&names)
            .map(|((record, place), file)| Named { place, file, frame: record.frame })
            .collect();
        let indices = self.indices(&names, path)?;
        let wanted: HashSet<usize> = indices.iter().copied().flatten().collect();
        let mut found = indices.into_iter();
        dataset.records.retain_mut(|record| match found.next().flatten() {
            Some(index) => {
                record.path.clone_from(&self.found.records[index].path);
                record.frame = self.found.records[index].frame;
                true
            }
            None => false,
        });
        let found = self.found.records.into_iter().enumerate();
        let others = found.filter(|(i, _)| !wanted.contains(i));
        let unasked = others.map(|(_, record)| record).collect();
        Ok(Asked { dataset, unasked, questions: Questions::Annotated })
    }
}

/// A COCO file as a dataset of one split.
fn coco(annotations: &Path, images: &Path) -> CocoConfig {
    CocoConfig {
        root: PathBuf::new(),
        images: images.to_owned(),
        train: None,
        val: None,
        test: Some(CocoSplit { annotations: annotations.to_owned(), images: None }),
        categories: None,
        ignore_categories: Vec::new(),
        exclude: Vec::new(),
        values: Vec::new(),
        agnostic: false,
        image_label: ImageLabel::None,
        keep_empty: true,
        check_files: CheckFiles::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(names: &[Option<&str>]) -> Asked {
        let object = |name: &Option<&str>| PromptedObject {
            prompt: ObjectPrompt::default(),
            category: name.map(str::to_owned),
            place: "line 2".to_owned(),
        };
        let objects = vec![names.iter().map(object).collect()];
        Asked::all(Dataset::default(), Questions::Of("p.csv".into(), objects))
    }

    fn category(id: i64, name: &str) -> Category {
        Category { id, name: name.to_owned() }
    }

    #[test]
    fn an_answer_of_no_stated_category_is_the_only_one_or_an_object() {
        let two = [category(4, "benign"), category(7, "malignant")];
        let names = |asked: &Asked, trained: Option<&[Category]>| {
            let categories = asked.categories(trained).unwrap();
            categories.iter().map(|c| format!("{} {}", c.id, c.name)).collect::<Vec<_>>()
        };
        assert_eq!(names(&asked(&[None]), Some(&two[..1])), ["4 benign"]);
        assert_eq!(names(&asked(&[Some("benign")]), Some(&two)), ["4 benign", "7 malignant"]);
        assert_eq!(names(&asked(&[None]), Some(&two)), ["4 benign", "7 malignant", "8 object"]);
        assert_eq!(names(&asked(&[Some("cyst"), None]), None), ["1 object", "2 cyst"]);
        assert_eq!(names(&asked(&[Some("b"), Some("a"), Some("b")]), None), ["1 b", "2 a"]);
        let error = format!("{:#}", asked(&[Some("bening")]).categories(Some(&two)).unwrap_err());
        assert!(error.contains("p.csv: line 2") && error.contains("did you mean"), "{error}");
    }
}
