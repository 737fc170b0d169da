//! Settings from figures: pure rules, a line of the config each, with its reason.

mod classification;
mod segmentation;

use crate::{
    Task,
    fingerprint::Fingerprint,
    line::Line,
    machine::Machine,
    weights::{self, Model},
};

/// What the rules decide from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) task: Task,
    pub(crate) print: &'a Fingerprint,
    pub(crate) machine: &'a Machine,
    pub(crate) model: Option<&'a Model>,
    /// Number of images.
    pub(crate) train: usize,
    pub(crate) val: usize,
    /// Time that the run should take.
    pub(crate) minutes: f64,
    /// Images may have several classes.
    pub(crate) multi_label: bool,
}

/// All lines but those of the data set.
pub(crate) fn choose(facts: Facts<'_>) -> Vec<Line> {
    let mut lines = match facts.task {
        Task::Classification => classification::lines(facts),
        Task::Prompt | Task::Instances => segmentation::lines(facts),
    };
    lines.push(Line::new(
        "logging",
        "every_steps",
        10.into(),
        "a line of the log for every ten steps",
    ));
    lines
}

/// Lines of the network: those of the weights, or a small one that starts at random.
fn network(facts: Facts<'_>, small: impl FnOnce() -> Vec<Line>) -> Vec<Line> {
    facts.model.map_or_else(small, |model| weights::lines(model, facts.task))
}

/// How long and how often: from the cost of a step.
struct Length {
    /// Images of a step.
    batch: i64,
    steps: i64,
    every: i64,
    reason: String,
}

/// Share of the time that steps get; evaluations, loading and the start take the rest.
const FOR_STEPS: f64 = 0.75;
/// Evaluations of a run.
const EVALUATIONS: i64 = 10;

/// `gmac`: billions of multiply-adds of a forward pass of one image. `most_epochs`: more of the same images teach little.
fn length(facts: Facts<'_>, batch: i64, gmac: f64, most_epochs: f64) -> Length {
    // Backward takes twice as long as forward.
    let step_seconds = 3.0 * gmac * batch as f64 / facts.machine.gmac_per_second();
    let in_time = FOR_STEPS * 60.0 * facts.minutes / step_seconds;
    let by_epochs = most_epochs * facts.train as f64 / batch as f64;
    let steps = in_time.min(by_epochs).max(1.0);
    let every = ((steps / EVALUATIONS as f64 / 5.0).round() as i64 * 5).max(5);
    let steps = every * EVALUATIONS;
    let epochs = (steps * batch) as f64 / facts.train.max(1) as f64;
    let limit = if in_time < by_epochs {
        format!("what about {:.0} minutes are enough for", facts.minutes)
    } else {
        format!("{most_epochs:.0} rounds; more of the same images teach little")
    };
    let on =
        if facts.machine.has_gpu() { "on this GPU" } else { "on this CPU, if nothing else runs" };
    let reason = format!(
        "{epochs:.0} rounds through the {} training images: {limit}. A step is estimated to take {step_seconds:.1} s {on}; \
         `--dry-run` measures it",
        facts.train
    );
    Length { batch, steps, every, reason }
}

/// Batch, schedule, length and evaluation, which all tasks have.
fn running(facts: Facts<'_>, length: &Length, metric: &str, lr: f64) -> Vec<Line> {
    let warmup = (length.steps / 20).max(1);
    let decay = 0.05;
    vec![
        Line::new("optimizer", "type", "adamw".into(), "needs little tuning"),
        Line::new(
            "optimizer",
            "lr",
            lr.into(),
            if facts.model.is_some() {
                "small, so that what was pretrained is kept"
            } else {
                "usual for a random start"
            },
        ),
        Line::new(
            "optimizer",
            "weight_decay",
            decay.into(),
            "keeps weights small, against learning by heart",
        ),
        Line::new("schedule", "type", "cosine".into(), "large steps first, small ones at the end"),
        Line::new(
            "schedule",
            "warmup",
            table(&[("steps", warmup)]),
            "a twentieth of the run: the first gradients are rough",
        ),
        Line::new("train", "max_steps", length.steps.into(), length.reason.clone()),
        Line::new("train", "clip_grad_norm", 1.0.into(), "one odd batch cannot spoil the run"),
        Line::new(
            "train",
            "early_stopping",
            table(&[("patience", 5)]),
            "ends the run when five evaluations in a row were no better",
        ),
        Line::new(
            "evaluation",
            "every_steps",
            length.every.into(),
            format!("ten times in the run, on the {} validation images", facts.val),
        ),
        Line::new(
            "evaluation",
            "best_metric",
            metric.into(),
            "the checkpoint with the highest one is kept as the best",
        ),
        Line::new("evaluation", "batch_size", length.batch.into(), "as in training"),
    ]
}

/// A table of whole numbers, as a value of one line.
fn table(pairs: &[(&str, i64)]) -> toml::Value {
    toml::Value::Table(pairs.iter().map(|&(key, value)| (key.to_owned(), value.into())).collect())
}

/// Side of a small network's input: that of the images if they are smaller, in multiples of 32.
fn small_size(facts: Facts<'_>, most: i64) -> i64 {
    let middle = i64::from(facts.print.longer_side[1]).max(32);
    (middle.min(most) + 31) / 32 * 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::tests::resnet_file;

    fn print() -> Fingerprint {
        Fingerprint {
            images: 780,
            longer_side: [300, 600, 1000],
            classes: vec![
                ("benign".into(), 437),
                ("malignant".into(), 210),
                ("normal".into(), 133),
            ],
            of_images: true,
            ..Fingerprint::default()
        }
    }

    const CPU: Machine = Machine { cores: 2, memory_bytes: 16 << 30, gpu_memory_bytes: None };

    fn facts<'a>(task: Task, print: &'a Fingerprint) -> Facts<'a> {
        Facts {
            task,
            print,
            machine: &CPU,
            model: None,
            train: 546,
            val: 116,
            minutes: 10.0,
            multi_label: false,
        }
    }

    fn value<'a>(lines: &'a [Line], name: &str) -> Option<&'a toml::Value> {
        lines
            .iter()
            .find(|line| format!("{}.{}", line.table, line.key) == name)
            .map(|line| &line.value)
    }

    #[test]
    fn every_line_has_a_reason_and_no_key_is_set_twice() {
        let print = print();
        for task in [Task::Classification, Task::Prompt, Task::Instances] {
            let lines = choose(facts(task, &print));
            let mut names: Vec<_> = lines.iter().map(|line| (&line.table, &line.key)).collect();
            assert!(lines.iter().all(|line| line.reason.len() > 5));
            let all = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), all, "{task:?}");
        }
    }

    #[test]
    fn a_longer_time_and_more_cores_make_more_steps() {
        let print = print();
        let steps = |machine: &Machine, minutes: f64| {
            let lines = choose(Facts { machine, minutes, ..facts(Task::Prompt, &print) });
            value(&lines, "train.max_steps").unwrap().as_integer().unwrap()
        };
        let more = Machine { cores: 4, ..CPU };
        assert!(steps(&CPU, 2.0) < steps(&CPU, 4.0));
        assert!(steps(&CPU, 2.0) < steps(&more, 2.0));
    }

    #[test]
    fn rare_classes_weigh_more_and_equal_ones_do_not() {
        let mut print = print();
        let lines = choose(facts(Task::Classification, &print));
        let weights = value(&lines, "task.class_weights").unwrap();
        assert!(weights["normal"].as_float().unwrap() > weights["malignant"].as_float().unwrap());
        print.classes.iter_mut().for_each(|class| class.1 = 100);
        assert_eq!(value(&choose(facts(Task::Classification, &print)), "task.class_weights"), None);
    }

    #[test]
    fn weights_replace_the_small_network() {
        let print = print();
        let model = weights::model(&resnet_file("r18.pth", 2, false)).unwrap();
        let lines = choose(Facts { model: Some(&model), ..facts(Task::Classification, &print) });
        assert_eq!(value(&lines, "weights.path").unwrap().as_str(), Some("r18.pth"));
        assert_eq!(value(&lines, "preprocess.image_size").unwrap().as_integer(), Some(224));
        assert_eq!(value(&lines, "backbone.norm_eval"), None);
        assert!(value(&lines, "optimizer.lr").unwrap().as_float().unwrap() < 1e-3);
    }

    #[test]
    fn images_smaller_than_the_usual_input_are_not_enlarged() {
        let print = Fingerprint { longer_side: [50, 60, 70], ..print() };
        let lines = choose(facts(Task::Classification, &print));
        assert_eq!(value(&lines, "preprocess.image_size").unwrap().as_integer(), Some(64));
    }
}
