//! Both starts, compared.

use anyhow::Result;
use maud::{Markup, html};
use sonotune_base::fs::read_if_exists;
use sonotune_report::{
    chart::{Chart, Series},
    curves::Logged,
};
use sonotune_run_folder::RunFiles;
use sonotune_study::TaskAnswer;

use crate::{
    comparison,
    folder::DemoFolder,
    plan::{PRETRAINED, RANDOM},
    results::{Results, SeedTable},
};

/// The forest of each task, and its figures.
pub(super) fn compared(results: &Results, folder: &DemoFolder) -> Result<Markup> {
    let answer = &results.comparison;
    Ok(html! {
        p {
            "Each task is learnt twice with the same configs, images and steps: from random weights, and from the backbone that was "
            "pretrained on clicks and boxes in another organ. The test split decides, by a bootstrap over its patients."
        }
        @for (task, table) in answer.tasks.iter().zip(&results.tables[1..]) {
            h3 { (task.task) }
            p.hint { (super::images(task.num_images)) " of " (task.num_patients) " patients; " (seeds(results)) "." }
            (answer.forest(task))
            (figures(task))
            (self::table(table, results))
        }
        p.hint {
            "Everything that the comparison says, tests and calibration included, is in "
            code { (folder.comparison().page().display()) } "."
        }
    })
}

fn seeds(results: &Results) -> String {
    match results.plan.seeds {
        1 => "one seed, so that the luck of initial weights is not in the intervals; --full repeats all with three".to_owned(),
        seeds => format!("means over {seeds} seeds"),
    }
}

/// Every figure that has an interval, a row each.
fn figures(task: &TaskAnswer) -> Markup {
    // In the order of the other tables, whatever the ranking says.
    let entry = |model: &str| task.entries.iter().find(|entry| entry.model == model);
    let (Some(random), Some(pretrained)) = (entry(RANDOM), entry(PRETRAINED)) else {
        return html! {};
    };
    let header = ["with 95 % interval", RANDOM, PRETRAINED].map(str::to_owned);
    let rows = random.figures.iter().zip(&pretrained.figures);
    let rows: Vec<Vec<String>> =
        rows.map(|(a, b)| vec![a.name.clone(), a.text(), b.text()]).collect();
    html! { (super::table(&header, &rows)) }
}

/// Figures of the whole test split, such as mAP.
pub(super) fn table(table: &SeedTable, results: &Results) -> Markup {
    html! {
        details {
            summary { "Figures of the whole test split (" (results.of_seeds()) ")" }
            (super::table(&table.header(), &table.cells()))
        }
    }
}

/// Curves of the training losses, and of what was validated.
pub(super) fn curves(results: &Results, folder: &DemoFolder) -> Result<Markup> {
    let pretraining: Vec<_> = (0..results.plan.seeds).map(|seed| folder.pretrained(seed)).collect();
    let mut charts = vec![Chart {
        title: "Loss of pretraining".to_owned(),
        series: vec![series("prompted masks", &pretraining, "loss")?],
        may_be_log: true,
    }];
    for &task in results.plan.tasks() {
        let of = |start: &str| series(start, &comparison::runs(folder, task, start)?, "loss");
        charts.push(Chart {
            title: format!("Loss of {}", task.name()),
            series: vec![of(RANDOM)?, of(PRETRAINED)?],
            may_be_log: true,
        });
    }
    Ok(html! {
        div.charts { @for chart in charts { (chart.render(&[])) } }
        p.hint { "Training losses as they were logged. " @if results.plan.seeds > 1 { "Thick: the mean over seeds. Thin: each seed." } }
    })
}

/// A logged value of several runs: each, and their mean.
fn series(name: &str, runs: &[std::path::PathBuf], value: &str) -> Result<Series> {
    let mut repeats = Vec::new();
    for run in runs {
        let text = read_if_exists(&RunFiles::of(run).metrics())?.unwrap_or_default();
        let logged = Logged::parse(&text);
        repeats.extend(logged.of("train", |name| name == value).into_iter().map(|s| s.points));
    }
    let shortest = repeats.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |at: usize| {
        let values = repeats.iter().map(|points| points[at].1);
        (repeats[0][at].0, values.sum::<f64>() / repeats.len() as f64)
    };
    let points = (0..shortest).map(mean).collect();
    let repeats = if repeats.len() > 1 { repeats } else { Vec::new() };
    Ok(Series { name: name.to_owned(), points, repeats })
}
