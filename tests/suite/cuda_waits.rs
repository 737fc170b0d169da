//! How often a training step that does not log makes the program wait for the GPU: a wait empties the queue
//! of kernels, and the GPU stands still until the program has filled it again.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use rehearsal::{Device, Event, Phase, Statistics};
use sonotune_testing::assert_success;

use crate::{
    cuda_support::{on, on_cuda, tiny},
    support::{CLASSIFICATION, MASK2FORMER, PROMPTS, phantoms},
};

/// Waits of the third step on a batch of four images with an object each: those of the main thread, and those
/// of other threads, which do not stop it. A change that adds one must say why here.
const BUDGETS: [Budget; 3] = [
    Budget { task: CLASSIFICATION, main: 0, others: 0 },
    Budget { task: PROMPTS, main: 0, others: 0 },
    // The costs of all layers, which the matching needs on the CPU.
    Budget { task: MASK2FORMER, main: 1, others: 0 },
];

struct Budget {
    task: &'static str,
    main: u64,
    others: u64,
}

/// The phase of the third step: the weights are drawn in the first phase, the first step is the second.
const THIRD_STEP: u64 = 4;

impl Budget {
    /// What the task's six steps make the device do; the first and the last log.
    fn run(&self, device: &Device) -> Statistics {
        let folder = tempfile::tempdir().unwrap();
        let options = "precision = \"bf16\"\nlogging.every_steps = 1000";
        let config = tiny(folder.path(), self.task).with(options).write();
        let (output, statistics) = on(device, &["train", &config.display().to_string()]);
        assert_success(&output);
        statistics.unwrap()
    }

    fn holds(&self, step: &Phase) -> bool {
        waits(step) == (self.main, self.others)
    }

    #[track_caller]
    fn check(&self) {
        let step = self.run(&Device::new()).phase(THIRD_STEP);
        assert!(step.num_launches() > 100, "no step: {step:?}");
        if !self.holds(&step) {
            // Once more with the places, which take time to collect.
            let step = self.run(&Device::new().places()).phase(THIRD_STEP);
            let (main, others) = waits(&step);
            panic!(
                "a step of\n{}\nwaits {main} times on the main thread and {others} times on others, but \
                 {} and {} are written down:\n{}",
                self.task,
                self.main,
                self.others,
                places(&step)
            );
        }
    }
}

/// Waits of a third step, on all threads.
pub(crate) fn waits_of_a_step(statistics: &Statistics) -> u64 {
    let (main, others) = waits(&statistics.phase(THIRD_STEP));
    main + others
}

/// On the main thread, and on others.
fn waits(step: &Phase) -> (u64, u64) {
    let of = |main: bool| {
        let events = step.waits.iter().filter(|event| (event.thread == "main") == main);
        events.map(|event| event.times).sum()
    };
    (of(true), of(false))
}

/// A line for each place that waits, most frequent first.
fn places(step: &Phase) -> String {
    let mut by_place: BTreeMap<String, u64> = BTreeMap::new();
    for (event, place) in step.waits.iter().zip(rehearsal::places(&step.waits)) {
        let (what, thread) = (&event.what, &event.thread);
        let line = format!("{what} | {thread} | {place}");
        *by_place.entry(line).or_default() += event.times;
    }
    let mut lines: Vec<_> = by_place.into_iter().collect();
    lines.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    lines.iter().fold(String::new(), |mut text, (line, times)| {
        let _ = writeln!(text, "{times:5}  {line}");
        text
    })
}

#[test]
fn a_step_of_classification_keeps_its_budget_of_waits() {
    BUDGETS[0].check();
}

#[test]
fn a_step_of_prompted_segmentation_keeps_its_budget_of_waits() {
    BUDGETS[1].check();
}

#[test]
fn a_step_of_instance_segmentation_keeps_its_budget_of_waits() {
    BUDGETS[2].check();
}

/// The paper's models and batch on small images: the config, what a step may wait, and overrides.
const OF_THE_PAPER: [(&str, u64, &[&str]); 4] = [
    ("classification-ultrasam", 0, &[CLASSES]),
    ("prompt-box-ultrasam", 0, &["task.convention=\"ultrasam\""]),
    ("mask2former-ultrasam", 1, &[CLASSES, "augment.scale_range=[0.8,1.2]"]),
    ("mask2former-resnet50", 1, &[CLASSES, "augment.scale_range=[0.8,1.2]"]),
];
const CLASSES: &str = "dataset.categories=[\"cyst\",\"benign\",\"malignant\"]";

/// Prints the waits of a step with the paper's models: ViT-B and ResNet-50, eight images.
#[test]
fn the_papers_models_keep_the_budgets_of_the_tiny_ones() {
    if std::env::var_os("SONOTUNE_LONG_TESTS").is_none() {
        eprintln!("skipped: the paper's models take a minute (set SONOTUNE_LONG_TESTS=1)");
        return;
    }
    for (name, budget, more) in OF_THE_PAPER {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("{}/configs/bus-bra/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let set = |key: &str, path: &Path| format!("{key}={:?}", path.display().to_string());
        let paths = [
            set("dataset.root", &phantoms().join("phantoms")),
            set("run_dir", &folder.path().join("run")),
        ];
        let mut arguments = vec!["train", &config, "device=cuda", "precision=bf16", "~weights"];
        arguments.extend(paths.iter().map(String::as_str));
        arguments.extend([
            "dataset.images=\"\"",
            "preprocess.image_size=128",
            "loader.batch_size=8",
            "train.max_steps=3",
            "evaluation.every_steps=1000",
            "logging.every_steps=1000",
            "logging.num_images=0",
        ]);
        arguments.extend(more);
        let statistics = on_cuda(&arguments);
        // The first and the last step log.
        let step = statistics.phase(THIRD_STEP - 1);
        let (main, others) = waits(&step);
        println!(
            "{name}: {} launches, {main} waits, {others} on other threads",
            step.num_launches()
        );
        assert_eq!((main, others), (budget, 0), "{name}: {}", places(&step));
    }
}

#[test]
fn a_wait_more_breaks_the_budget_and_is_named() {
    let budget = Budget { task: CLASSIFICATION, main: 0, others: 0 };
    let wait = |thread: &str| Event {
        what: "read of a value".to_owned(),
        thread: thread.to_owned(),
        times: 1,
        bytes: 4,
        stack: Vec::new(),
    };
    let step = |waits: Vec<Event>| Phase { waits, ..Phase::default() };
    assert!(budget.holds(&step(Vec::new())));
    for thread in ["main", "matcher"] {
        let step = step(vec![wait(thread)]);
        assert!(!budget.holds(&step));
        assert!(places(&step).starts_with("    1  read of a value | "), "{}", places(&step));
    }
}
