//! Pretrained files at hand, and what is known of the models they hold.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use crate::{Task, line::Line, machine::Machine};

/// A file of weights, as far as its tensors tell.
#[derive(Debug, Clone)]
pub struct WeightsAtHand {
    pub path: PathBuf,
    /// The naming convention that it follows, if it is known.
    pub convention: Option<String>,
    /// Shapes of its tensors by the names in the file.
    pub shapes: BTreeMap<String, Vec<i64>>,
}

/// A model that a file starts from.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The longest side of the images it was pretrained with.
    pub(crate) image_size: i64,
    /// Multiply-adds of a forward pass at that size, in billions.
    pub(crate) gmac: f64,
    /// GPU memory for an image in training with low-rank updates or as a whole, GiB; a guess from published sizes.
    pub(crate) gib_per_image: f64,
    /// SAM's kind: knows prompts, and is trained by low-rank updates.
    pub(crate) is_sam: bool,
    /// Pretrained on ultrasound.
    pub(crate) is_ultrasound: bool,
    /// ResNet's depth, or SAM's `arch`.
    pub(crate) depth: i64,
}

/// ResNet's published depths: blocks of the third stage and whether they have three convolutions, then depth, billions of
/// multiply-adds at 224², and GiB for an image there.
const RESNETS: [(usize, bool, i64, f64, f64); 5] = [
    (2, false, 18, 1.8, 0.06),
    (6, false, 34, 3.6, 0.09),
    (6, true, 50, 4.1, 0.15),
    (23, true, 101, 7.8, 0.25),
    (36, true, 152, 11.5, 0.35),
];

/// SAM's encoders by width: depth, billions of multiply-adds at 1024², GiB for an image in training.
const SAMS: [(i64, i64, f64, f64); 3] =
    [(768, 12, 370.0, 4.0), (1024, 24, 1310.0, 9.0), (1280, 32, 2730.0, 16.0)];

/// The model of a file, if the rules know it.
pub(crate) fn model(file: &WeightsAtHand) -> Option<Model> {
    match file.convention.as_deref()? {
        "torchvision_resnet" => resnet(file),
        convention @ ("segment_anything" | "ultrasam" | "huggingface_sam") => sam(file, convention),
        _ => None,
    }
}

fn resnet(file: &WeightsAtHand) -> Option<Model> {
    let has = |name: String| file.shapes.keys().any(|key| key.ends_with(&name));
    let blocks = (0..64).take_while(|n| has(format!("layer3.{n}.conv1.weight"))).count();
    let bottleneck = has("layer3.0.conv3.weight".to_owned());
    let &(_, _, depth, gmac, gib) =
        RESNETS.iter().find(|(count, three, ..)| (*count, *three) == (blocks, bottleneck))?;
    Some(Model {
        name: format!("ResNet-{depth}"),
        path: file.path.clone(),
        image_size: 224,
        gmac,
        gib_per_image: gib,
        is_sam: false,
        is_ultrasound: false,
        depth,
    })
}

fn sam(file: &WeightsAtHand, convention: &str) -> Option<Model> {
    let position = file.shapes.iter().find(|(key, _)| key.ends_with("pos_embed"))?;
    let width = *position.1.last()?;
    let &(_, depth, gmac, gib) = SAMS.iter().find(|(own, ..)| *own == width)?;
    let is_ultrasound = convention == "ultrasam";
    Some(Model {
        name: if is_ultrasound {
            "UltraSam".to_owned()
        } else {
            format!("SAM's encoder, {width} wide")
        },
        path: file.path.clone(),
        image_size: 1024,
        gmac,
        gib_per_image: gib,
        is_sam: true,
        is_ultrasound,
        depth,
    })
}

/// Steps that make a run with a pretrained model worthwhile.
const FEWEST_STEPS: f64 = 150.0;

/// The best of `files` for the task on this machine, and what became of the others, each in a sentence.
pub(crate) fn best(
    files: &[WeightsAtHand],
    task: Task,
    machine: &Machine,
    minutes: f64,
) -> (Option<Model>, Vec<String>) {
    let (mut fitting, mut notes) = (Vec::new(), Vec::new());
    for file in files {
        let shown = file.path.display();
        let Some(model) = model(file) else {
            notes.push(format!(
                "weights {shown} are not chosen: the rules know ResNets of torchvision, SAM and UltraSam; other models \
                 need lines of docs/weights.md"
            ));
            continue;
        };
        if let Some(reason) = unsuitable(&model, task, machine, minutes) {
            notes.push(format!("weights {shown} ({}) are not chosen: {reason}", model.name));
        } else {
            fitting.push(model);
        }
    }
    fitting.sort_by(|a, b| {
        let by = |model: &Model| (model.is_ultrasound, model.is_sam);
        by(b).cmp(&by(a)).then(b.gmac.total_cmp(&a.gmac)).then(a.path.cmp(&b.path))
    });
    let others = fitting.iter().skip(1);
    notes.extend(others.map(|m| format!("weights {} ({}) fit as well", m.path.display(), m.name)));
    (fitting.into_iter().next(), notes)
}

fn unsuitable(model: &Model, task: Task, machine: &Machine, minutes: f64) -> Option<String> {
    if task == Task::Prompt && !model.is_sam {
        return Some("masks from prompts need SAM's kind of encoder".to_owned());
    }
    let batch = if model.is_sam { 1.0 } else { 16.0 };
    if machine.gib() < 2.0 + batch * model.gib_per_image {
        return Some(format!("{:.0} GiB of memory are not enough", machine.gib()));
    }
    let steps = 60.0 * minutes * machine.gmac_per_second() / (3.0 * model.gmac * batch);
    (steps < FEWEST_STEPS).then(|| {
        format!("in {minutes:.0} minutes this machine makes about {steps:.0} steps of {batch} images with it")
    })
}

/// The lines of `[backbone]` and `[weights]` for a model.
pub(crate) fn lines(model: &Model, task: Task) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |table: &str, key: &str, value: toml::Value, reason: &str| {
        lines.push(Line::new(table, key, value, reason));
    };
    if model.is_sam {
        let arch = match model.depth {
            24 => "large",
            32 => "huge",
            _ => "base",
        };
        add("backbone", "type", "sam_vit".into(), "the network of the weights");
        add("backbone", "arch", arch.into(), "by the width of the file's tensors");
        if task != Task::Prompt {
            add(
                "backbone",
                "out_channels",
                0.into(),
                "without SAM's neck, which keeps only what prompts need",
            );
        }
        add(
            "backbone",
            "freeze",
            "all".into(),
            "the pretrained encoder stays as it is, but for the next line",
        );
        let lora = toml::Value::Table(toml::Table::from_iter([("rank".to_owned(), 4.into())]));
        add(
            "backbone",
            "lora",
            lora,
            "low-rank updates: few images cannot retrain a large encoder",
        );
    } else {
        add("backbone", "type", "resnet".into(), "the network of the weights");
        add("backbone", "depth", model.depth.into(), "by the file's tensors");
        let last = if task == Task::Instances { vec![0, 1, 2, 3] } else { vec![3] };
        let last = last.into_iter().map(toml::Value::Integer).collect::<Vec<_>>();
        add("backbone", "out_indices", last.into(), "the stages that the task uses");
    }
    let path = model.path.display().to_string();
    add("weights", "path", path.into(), &format!("{}, found there", model.name));
    let head: Option<&str> = match task {
        Task::Classification => Some("head.*"),
        Task::Instances => Some("panoptic_head.*"),
        Task::Prompt => None,
    };
    if let Some(head) = head {
        let value = toml::Value::Array(vec![head.into()]);
        add("weights", "allow_missing", value, "the new task's part starts at random");
    }
    lines
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn resnet_file(name: &str, third: usize, three: bool) -> WeightsAtHand {
        let mut shapes = BTreeMap::new();
        for block in 0..third {
            shapes.insert(format!("layer3.{block}.conv1.weight"), vec![1]);
            if three {
                shapes.insert(format!("layer3.{block}.conv3.weight"), vec![1]);
            }
        }
        WeightsAtHand {
            path: name.into(),
            convention: Some("torchvision_resnet".to_owned()),
            shapes,
        }
    }

    fn sam_file(convention: &str) -> WeightsAtHand {
        let shapes = BTreeMap::from([("image_encoder.pos_embed".to_owned(), vec![1, 64, 64, 768])]);
        WeightsAtHand { path: convention.into(), convention: Some(convention.to_owned()), shapes }
    }

    const CPU: Machine = Machine { cores: 2, memory_bytes: 16 << 30, gpu_memory_bytes: None };
    const GPU: Machine =
        Machine { cores: 8, memory_bytes: 64 << 30, gpu_memory_bytes: Some(24 << 30) };

    #[test]
    fn a_model_that_fits_machine_and_task_is_chosen_and_the_others_are_told() {
        let files = [
            sam_file("segment_anything"),
            sam_file("ultrasam"),
            resnet_file("r50", 6, true),
            resnet_file("r18", 2, false),
        ];
        for (task, machine, expected) in [
            (Task::Classification, CPU, Some("ResNet-18")),
            (Task::Prompt, CPU, None),
            (Task::Classification, GPU, Some("UltraSam")),
            (Task::Prompt, GPU, Some("UltraSam")),
        ] {
            let (model, notes) = best(&files, task, &machine, 10.0);
            assert_eq!(
                model.as_ref().map(|m| &*m.name),
                expected,
                "{task:?} {machine:?} {notes:?}"
            );
            assert_eq!(notes.len() + usize::from(model.is_some()), files.len(), "{notes:?}");
        }
    }

    #[test]
    fn an_unknown_file_is_not_chosen_and_said_to_be_unknown() {
        let file =
            WeightsAtHand { path: "x.pth".into(), convention: None, shapes: BTreeMap::new() };
        let (model, notes) = best(&[file], Task::Classification, &GPU, 10.0);
        assert!(model.is_none() && notes[0].contains("docs/weights.md"), "{notes:?}");
    }
}
