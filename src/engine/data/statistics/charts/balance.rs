//! Objects or images of each class, as bars.

use base::{
    text::{shorten, text_width},
    words::with_commas,
};
use curation::figure::Figure;

use super::{INK, LABEL, MARGIN, TOP, colour, legend, legend_width, title};
use crate::data::{
    Split,
    statistics::{SplitSurvey, Survey},
};

const BAR: f32 = 22.0;
const GAP: f32 = 16.0;
/// Longest bar.
const AXIS: f32 = 760.0;
const LONGEST_NAME: f32 = 420.0;

/// How many objects of each category each split has; without objects, how many images.
#[must_use]
pub fn class_balance(survey: &Survey) -> Figure {
    let has_objects = survey.splits.iter().any(|s| s.counts.num_objects > 0);
    let noun = if has_objects { "objects" } else { "images" };
    let count = |split: &SplitSurvey, name: &str| -> usize {
        let categories = split.counts.categories.iter().filter(|c| c.name == name);
        categories.map(|c| if has_objects { c.num_objects } else { c.num_images }).sum()
    };
    // Splits that differ in their categories show all of them.
    let mut names: Vec<&str> = Vec::new();
    for category in survey.splits.iter().flat_map(|s| &s.counts.categories) {
        if !names.contains(&category.name.as_str()) {
            names.push(&category.name);
        }
    }
    let counts: Vec<Vec<(Split, usize)>> = names
        .iter()
        .map(|name| survey.splits.iter().map(|s| (s.split, count(s, name))).collect())
        .collect();
    let most = counts.iter().flatten().map(|c| c.1).max().unwrap_or(0).max(1);
    let widest = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|text| text_width(&text, LABEL)).fold(0.0, f32::max)
    };
    let label = widest(&mut names.iter().map(|n| shorten(n, LABEL, LONGEST_NAME)));
    let left = MARGIN + label + 14.0;
    let width = left + AXIS + 12.0 + text_width(&with_commas(most as u64), LABEL) + MARGIN;
    let sum = |s: &SplitSurvey| {
        let sum = if has_objects { s.counts.num_objects } else { s.counts.num_images };
        (s.split, with_commas(sum as u64))
    };
    let sums: Vec<_> = survey.splits.iter().map(sum).collect();
    let width = width.max(legend_width(&sums));
    let row = BAR * survey.splits.len() as f32 + GAP;
    let height = TOP + row * names.len() as f32 + MARGIN;
    let mut figure = Figure::new(width.ceil() as u32, height.ceil() as u32);
    title(&mut figure, &format!("{noun} of each class"));
    legend(&mut figure, &sums);
    for (i, (name, counts)) in names.iter().zip(&counts).enumerate() {
        let top = TOP + row * i as f32;
        let name = shorten(name, LABEL, LONGEST_NAME);
        let middle = top + (row - GAP - LABEL) / 2.0;
        let x = left - 14.0 - text_width(&name, LABEL);
        figure.text((x, middle), &name, LABEL, INK);
        for (k, &(split, count)) in counts.iter().enumerate() {
            let y = top + BAR * k as f32;
            // One of thousands is still seen.
            let least = if count > 0 { 2.0 } else { 0.0 };
            let length = (count as f32 / most as f32 * AXIS).max(least);
            figure.bar((left, y), (length, BAR - 2.0), colour(split));
            figure.text((left + length + 8.0, y - 1.0), &with_commas(count as u64), LABEL, INK);
        }
    }
    figure
}
