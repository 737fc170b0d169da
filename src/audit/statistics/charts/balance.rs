//! Objects or images of each class, as bars.

use sonotune_base::words::with_commas;
use sonotune_draw::{
    Figure,
    chart::{Bar, BarStyle, bar_group},
    shorten, text_width, widest,
};

use super::{LABEL, MARGIN, TOP, colour, entries, legend, legend_width, title};
use crate::statistics::{SplitSurvey, Survey};

const GAP: f32 = 16.0;
/// Longest bar.
const AXIS: f32 = 760.0;
const LONGEST_NAME: f32 = 420.0;

const STYLE: BarStyle = BarStyle {
    pitch: 22.0,
    gap: 2.0,
    least: 2.0,
    name: LABEL,
    indent: 14.0,
    count: LABEL,
    drop: -1.0,
};

/// How many objects of each category each split has; without objects, how many images.
#[must_use]
pub fn class_balance(survey: &Survey) -> Figure {
    let has_objects = survey.splits.iter().any(|s| s.counts.num_objects > 0);
    let noun = if has_objects { "objects" } else { "images" };
    let count = |split: &SplitSurvey, name: &str| -> usize {
        let categories = split.counts.categories.iter().filter(|c| c.name == name);
        categories.map(|c| if has_objects { c.num_objects } else { c.num_images }).sum()
    };
    let names = names(survey);
    let counts: Vec<Vec<usize>> =
        names.iter().map(|name| survey.splits.iter().map(|s| count(s, name)).collect()).collect();
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let shown: Vec<String> = names.iter().map(|n| shorten(n, LABEL, LONGEST_NAME)).collect();
    let left = MARGIN + widest(&shown, LABEL) + STYLE.indent;
    let width = left + AXIS + 12.0 + text_width(&with_commas(most as u64), LABEL) + MARGIN;
    let sums = entries(survey, |s| {
        let sum = if has_objects { s.counts.num_objects } else { s.counts.num_images };
        with_commas(sum as u64)
    });
    let width = width.max(legend_width(&sums));
    let row = STYLE.pitch * survey.splits.len() as f32 + GAP;
    let height = TOP + row * names.len() as f32 + MARGIN;
    let mut figure = Figure::new((height.ceil() as u32, width.ceil() as u32));
    title(&mut figure, &format!("{noun} of each class"));
    legend(&mut figure, &sums);
    for (i, (name, counts)) in shown.iter().zip(&counts).enumerate() {
        let bar = |(split, &count): (&SplitSurvey, &usize)| {
            let length = count as f32 / most as f32 * AXIS;
            Bar { count: count as u64, length, colour: colour(split.split) }
        };
        let bars: Vec<Bar> = survey.splits.iter().zip(counts).map(bar).collect();
        bar_group(&mut figure, (left, TOP + row * i as f32), name, &bars, &STYLE);
    }
    figure
}

/// Names of the categories of all splits, which may differ.
fn names(survey: &Survey) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for category in survey.splits.iter().flat_map(|s| &s.counts.categories) {
        if !names.contains(&category.name.as_str()) {
            names.push(&category.name);
        }
    }
    names
}
