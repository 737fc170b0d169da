//! Subgroups, calibration, and the tests that take images for independent.

use maud::{Markup, html};
use sonotune_base::words::{counted, percent};
use sonotune_metrics::Direction;
use sonotune_report::chart::colour;

use super::{
    super::{
        Answer, Calibration, CalibrationBin, SingleImageTests, SubgroupRow, SubgroupTable,
        TaskAnswer, text::p_value,
    },
    table,
};

/// Side of a reliability diagram, and the space for its labels.
const SIDE: f64 = 250.0;
const EDGE: f64 = 30.0;

pub(super) fn subgroups(answer: &Answer, task: &TaskAnswer) -> Markup {
    html! {
        p.hint {
            "Means with their " (super::level(answer)) " intervals; the gap is the mean of the group minus that of the other \
             images. p: which patients are in the group is permuted; with Holm's correction for the groups of \
             a model."
        }
        @for of_field in &task.subgroups { (of_one_field(task, of_field)) }
    }
}

fn of_one_field(task: &TaskAnswer, of_field: &SubgroupTable) -> Markup {
    let header = ["model", "group", "images", "patients", &of_field.figure, "gap", "p (Holm)"];
    let best_is = task
        .entries
        .iter()
        .flat_map(|entry| &entry.figures)
        .find(|figure| figure.name == of_field.figure)
        .map_or(Direction::Highest, |figure| figure.best_is);
    let rows: Vec<Vec<String>> = of_field.rows.iter().map(|row| cells(row, best_is)).collect();
    html! {
        h3 { (of_field.figure) " by " (of_field.field) }
        (table(&header.map(str::to_owned), &rows, 2))
        @if of_field.without_field > 0 {
            p.hint { (counted(of_field.without_field, "image")) " without this field: in no group." }
        }
    }
}

fn cells(row: &SubgroupRow, best_is: Direction) -> Vec<String> {
    let show = |value: f64| match best_is {
        Direction::Highest => percent(value),
        Direction::Lowest => sonotune_base::words::significant(value),
    };
    let with = |value: f64, interval: Option<[f64; 2]>| match interval {
        Some([low, high]) => format!("{} [{}, {}]", show(value), show(low), show(high)),
        None => show(value),
    };
    let gap = match (row.gap, &row.not_compared) {
        (Some(gap), _) => with(gap, row.gap_interval),
        (None, Some(why)) => format!("not compared: {why}"),
        (None, None) => String::new(),
    };
    vec![
        row.name.clone(),
        row.group.clone(),
        row.num_images.to_string(),
        row.num_patients.to_string(),
        with(row.value, row.interval),
        gap,
        row.p_adjusted.map_or(String::new(), p_value),
    ]
}

pub(super) fn calibration(task: &TaskAnswer) -> Markup {
    let header = ["model", "ECE", "Brier score", "temperature", ""].map(str::to_owned);
    let row = |of: &Calibration| {
        vec![
            of.name.clone(),
            format!("{:.3}", of.expected_error),
            format!("{:.3}", of.brier),
            format!("{:.2}", of.temperature),
            of.temperature_limit.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = task.calibration.iter().map(row).collect();
    html! {
        p.hint {
            "ECE: gap between the probability of the predicted category and the share that is right, over ten equal \
             parts of [0, 1]; biased upwards with few images. Brier score: squared error summed over categories, in \
             [0, 2]. Temperature: what would fit these images best, above 1 if the model is too confident; fitted \
             to the test images, it describes them and must not correct them."
        }
        (table(&header, &rows, 1))
        div.charts { @for (index, of) in task.calibration.iter().enumerate() { (diagram(index, of)) } }
    }
}

/// Confidence against accuracy; the area of a dot follows the number of predictions.
fn diagram(index: usize, of: &Calibration) -> Markup {
    let (low, high) = (EDGE, SIDE - 10.0);
    let x = |value: f64| format!("{:.1}", low + value * (high - low));
    let y = |value: f64| format!("{:.1}", high - EDGE + 10.0 - value * (high - low));
    let most = of.bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1) as f64;
    let radius =
        |bin: &CalibrationBin| format!("{:.1}", 2.0 + 7.0 * (bin.count as f64 / most).sqrt());
    html! {
        figure.chart.reliability {
            figcaption { (of.name) small { " share that is right by confidence" } }
            svg viewBox=(format!("0 -12 {SIDE} {}", SIDE + 4.0)) role="img" aria-label=(format!("Reliability of {}", of.name)) {
                @for tick in [0.0, 0.5, 1.0] {
                    line.grid x1=(x(0.0)) x2=(x(1.0)) y1=(y(tick)) y2=(y(tick)) {}
                    text x=(low - 5.0) y=(y(tick - 0.015)) text-anchor="end" { (tick) }
                    text x=(x(tick)) y=(y(-0.075)) text-anchor="middle" { (tick) }
                }
                line.resumed x1=(x(0.0)) x2=(x(1.0)) y1=(y(0.0)) y2=(y(1.0)) {}
                g class=(colour(index)) {
                    @for bin in of.bins.iter().filter(|bin| bin.count > 0) {
                        circle cx=(x(bin.confidence)) cy=(y(bin.accuracy)) r=(radius(bin)) {
                            title { (bin.count) " predictions: confidence " (percent(bin.confidence)) " %, right " (percent(bin.accuracy)) " %" }
                        }
                    }
                }
            }
        }
    }
}

/// DeLong and McNemar, or why not.
pub(super) fn single_image_tests(task: &TaskAnswer) -> Markup {
    let header =
        ["pair", "only the first right", "only the second right", "p (McNemar)", "p (Holm)"];
    let row = |test: &SingleImageTests| {
        vec![
            format!("{} – {}", test.first, test.second),
            test.only_first.to_string(),
            test.only_second.to_string(),
            p_value(test.p_mcnemar),
            p_value(test.p_mcnemar_adjusted),
        ]
    };
    let rows: Vec<Vec<String>> = task.single_image_tests.iter().map(row).collect();
    html! {
        h3 { "McNemar's and DeLong's tests" }
        @if let Some(why) = &task.no_single_image_tests { p.none { "Not given: " (why) "." } }
        @if !rows.is_empty() {
            p.hint { "By probabilities averaged over seeds; the verdict does not rest on them." }
            (table(&header.map(str::to_owned), &rows, 1))
            (aurocs(task))
        }
    }
}

fn aurocs(task: &TaskAnswer) -> Markup {
    let header =
        ["pair", "category", "AUROC of the first", "AUROC of the second", "p (DeLong)", "p (Holm)"];
    let of_pair = |test: &SingleImageTests| {
        let pair = format!("{} – {}", test.first, test.second);
        let row = move |auroc: &super::super::AurocTest| {
            vec![
                pair.clone(),
                auroc.category.clone(),
                percent(auroc.first),
                percent(auroc.second),
                p_value(auroc.p_value),
                p_value(auroc.p_adjusted),
            ]
        };
        test.aurocs.iter().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = task.single_image_tests.iter().flat_map(of_pair).collect();
    html! {
        @if rows.is_empty() {
            p.none { "DeLong's test is not given: each fold has a model of its own, whose scores are not those of another's." }
        } @else {
            (table(&header.map(str::to_owned), &rows, 2))
        }
    }
}
