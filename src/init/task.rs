//! What the data can teach, and which of it is chosen.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sonotune_base::Error;
use sonotune_coco::CocoFile;

use crate::survey::{Source, Survey};

/// The tasks of a config, under their names there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    #[serde(rename = "classification")]
    Classification,
    #[serde(rename = "sam_prompt")]
    Prompt,
    #[serde(rename = "mask2former")]
    Instances,
}

impl Task {
    /// Its name in a config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Prompt => "sam_prompt",
            Self::Instances => "mask2former",
        }
    }

    /// What a model of the task answers.
    #[must_use]
    pub fn answers(self) -> &'static str {
        match self {
            Self::Classification => "the class of an image",
            Self::Prompt => "the mask of what a box or a click shows",
            Self::Instances => "boxes, masks and classes of all objects",
        }
    }
}

/// The task, and why.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) task: Task,
    pub(crate) why: String,
    pub(crate) guess: bool,
    pub(crate) others: Vec<Task>,
}

/// Chooses among what the data allow.
///
/// # Errors
/// Kind data: they do not allow what was asked for.
pub(crate) fn choose(survey: &Survey, asked: Option<Task>) -> Result<Chosen> {
    let (possible, why) = possible(survey);
    let Some(&first) = possible.first() else {
        return Err(Error::data(format!(
            "{}: the COCO files have no objects, so there is nothing to learn",
            survey.layout
        ))
        .into());
    };
    let task = asked.unwrap_or(first);
    if !possible.contains(&task) {
        let names: Vec<&str> = possible.iter().map(|task| task.name()).collect();
        return Err(Error::data(format!(
            "--task {}: {} cannot teach it; they allow {}",
            task.name(),
            survey.layout,
            names.join(", ")
        ))
        .into());
    }
    let others: Vec<Task> = possible.into_iter().filter(|&other| other != task).collect();
    let (why, guess) = match asked {
        Some(_) => (format!("the task is {}, as asked for", task.name()), false),
        // Nobody said so: even folders may be of something else than classes.
        None => (format!("the task is {}, since {why}", task.name()), true),
    };
    Ok(Chosen { task, why, guess, others })
}

/// What the data allow, the likeliest first, and why that.
fn possible(survey: &Survey) -> (Vec<Task>, &'static str) {
    use Task::{Classification, Instances, Prompt};
    match &survey.source {
        Source::Files(files) if files.classes.len() > 1 => {
            let mut tasks = vec![Classification];
            if files.with_masks() > 0 {
                tasks.extend([Prompt, Instances]);
            }
            (tasks, "the folders are taken for classes")
        }
        Source::Files(_) => (
            vec![Prompt, Instances],
            "all masks show the same: where they are is what is left to say",
        ),
        Source::Coco(exports) => {
            let objects: usize = exports.iter().map(|export| export.file.annotations.len()).sum();
            if objects == 0 {
                return (Vec::new(), "");
            }
            let used: HashSet<&str> =
                exports.iter().flat_map(|export| used(&export.file)).collect();
            let masks = exports.iter().any(|export| has_masks(&export.file));
            let mut tasks = if used.len() > 1 || !masks {
                vec![Instances, Prompt]
            } else {
                vec![Prompt, Instances]
            };
            if !masks {
                tasks.retain(|&task| task != Prompt);
            }
            if used.len() > 1 {
                tasks.push(Classification);
            }
            let why = match (masks, used.len()) {
                (false, _) => "the objects have boxes and no masks",
                (true, 1) => "there is one category: where its objects are is what is left to say",
                (true, _) => {
                    "the objects have several categories, so that finding and naming them is what is to be learnt"
                }
            };
            (tasks, why)
        }
    }
}

/// Names of the categories that have objects.
pub(crate) fn used(file: &CocoFile) -> Vec<&str> {
    let ids: HashSet<u64> = file.annotations.iter().map(|object| object.category_id).collect();
    file.categories.iter().filter(|c| ids.contains(&c.id)).map(|c| &*c.name).collect()
}

/// Whether any object has a mask.
fn has_masks(file: &CocoFile) -> bool {
    file.annotations.iter().any(|object| {
        object
            .segmentation
            .as_ref()
            .is_some_and(|raw| !matches!(raw.get().trim(), "null" | "[]" | ""))
    })
}

/// Whether some image has objects of several categories.
pub(crate) fn is_multi_label(file: &CocoFile) -> bool {
    let mut of_image: HashMap<u64, u64> = HashMap::new();
    file.annotations.iter().any(|object| {
        *of_image.entry(object.image_id).or_insert(object.category_id) != object.category_id
    })
}
