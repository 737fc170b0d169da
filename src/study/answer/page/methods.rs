//! A paragraph for the methods section of a paper.

use maud::{Markup, html};
use sonotune_base::words::{counted, short};

use super::super::{Answer, Design, TaskAnswer};

pub(super) fn methods(answer: &Answer) -> Markup {
    html! {
        p.hint { "Facts of this study in words that may be used; what it is for and what the images are is for the author." }
        @for paragraph in paragraphs(answer) { p { (paragraph) } }
    }
}

/// What was compared and how, the same for all tasks, then a paragraph for each task.
pub(super) fn paragraphs(answer: &Answer) -> Vec<String> {
    let design = &answer.design;
    let mut sentences = vec![compared(design)];
    sentences.push(divided(design));
    sentences.push(format!(
        "Every configuration was trained with {} ({}), and figures are means over seeds.",
        counted(design.seeds.len(), "seed"),
        list(&design.seeds.iter().map(u64::to_string).collect::<Vec<_>>())
    ));
    if let Some(steps) = design.steps {
        sentences.push(format!("Each run had {} of the optimiser.", counted(steps, "step")));
    }
    sentences.push("Checkpoints were chosen on the validation split alone.".to_owned());
    sentences.push(statistics(answer));
    if !answer.missing.is_empty() || !answer.failures.is_empty() {
        sentences.push(format!(
            "The results lack {} that failed and {} not made yet.",
            counted(answer.failures.len(), "run"),
            counted(answer.missing.len(), "run")
        ));
    }
    sentences.push(format!("All computations were made with {}.", design.software));
    let mut paragraphs = vec![sentences.join(" ")];
    paragraphs.extend(answer.tasks.iter().map(of_task));
    paragraphs
}

fn compared(design: &Design) -> String {
    let models = format!("{} ({})", counted(design.models.len(), "model"), list(&design.models));
    match design.strategies.as_slice() {
        [] => format!("We compared {models}."),
        [only] => format!("We compared {models}, trained with the strategy {only}."),
        all => format!(
            "We compared {models}, each trained with {} strategies ({}).",
            all.len(),
            list(all)
        ),
    }
}

fn divided(design: &Design) -> String {
    let Some(folds) = &design.folds else {
        return "Training, validation and test splits were fixed.".to_owned();
    };
    let mut text = format!(
        "Images were divided into {} folds for cross-validation, {}keeping {} together",
        folds.count,
        if folds.is_stratified { "stratified by category and " } else { "" },
        folds.unit
    );
    if let Some(copies) = &folds.copies {
        text += &format!(", as well as {copies}");
    }
    text + "; each fold was the test split once, the next one the validation split, and the others the training \
            split."
}

fn statistics(answer: &Answer) -> String {
    let mut text = format!(
        "Intervals ({} %) are {} intervals from {} resamples of patients.",
        short(answer.level * 100.0),
        answer.design.interval,
        answer.resamples
    );
    if answer.tasks.iter().any(|task| !task.comparisons.is_empty()) {
        text += &format!(
            " Each pair was compared by a two-sided permutation test over patients with Holm's correction for all \
             pairs of a task; a difference counts as significant if the corrected p-value is below {} and the \
             interval of the difference excludes 0 on the same side.",
            short(1.0 - answer.level)
        );
    }
    text
}

fn of_task(task: &TaskAnswer) -> String {
    let of = if task.task.is_empty() {
        "Models".to_owned()
    } else {
        format!("For {}, models", task.task)
    };
    format!(
        "{of} were ranked by {} on {} of {}. {}",
        task.metric,
        counted(task.num_images, "test image"),
        counted(task.num_patients, "patient"),
        task.verdict.text
    )
}

fn list(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
