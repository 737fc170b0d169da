//! Predictions of the fine-tuned models on images that they have not seen.

use std::collections::BTreeMap;

use anyhow::Result;
use maud::{Markup, html};
use sonotune_dataset::Split;
use sonotune_report::{Picture, pictures::image};
use sonotune_run_folder::RunFiles;
use sonotune_statistics::scores::Scores;

use super::{images as counted_images, kept::Kept, triptych};
use crate::{
    answers::{Classified, Object},
    comparison,
    folder::DemoFolder,
    pictures,
    plan::{PRETRAINED, Task},
    shown::{self, ClassCase, ends},
    test_split::TestImage,
};

/// Images that are shown in the order of the split.
const FIRST: usize = 12;
/// Mistakes that are shown.
const MISTAKES: usize = 6;
/// Images of each kind that are shown with all their lesions.
const EACH: usize = 3;
/// Objects with less confidence are not predicted; the same default as that of `sonotune predict`.
const LEAST_SCORE: &str = "0.5";

/// The first images as they come, and the most confident mistakes.
pub(super) fn classes(
    images: &[TestImage],
    answers: &[Classified],
    kept: &mut Kept<'_>,
) -> Result<Markup> {
    let cases = shown::classified(images, answers);
    let right = cases.iter().filter(|case| case.is_right()).count();
    let mut mistakes: Vec<&ClassCase<'_>> = cases.iter().filter(|case| !case.is_right()).collect();
    mistakes.sort_by(|a, b| b.score.total_cmp(&a.score));
    let first = cases.iter().take(FIRST).map(classified).collect::<Result<Vec<_>>>()?;
    let worst =
        mistakes.iter().take(MISTAKES).map(|case| classified(case)).collect::<Result<Vec<_>>>()?;
    if let Some(case) = cases.iter().find(|case| case.is_right()) {
        kept.keep("class-right", &pictures::classified(case)?)?;
    }
    Ok(html! {
        p {
            "The classifier from the " (PRETRAINED) " is right about " (right) " of " (counted_images(cases.len()))
            " that are shown and counted here. Green outlines: it is right; orange: it is wrong."
        }
        h3 { "The first " (first.len()) " of the test split, as they come" }
        div.pictures { @for figure in first { (figure) } }
        @if !worst.is_empty() {
            h3 { "The most confident mistakes" }
            div.pictures { @for figure in worst { (figure) } }
        }
    })
}

fn classified(case: &ClassCase<'_>) -> Result<Markup> {
    let picture =
        Picture::new(&case.image.path, case.score, Vec::new(), &pictures::classified(case)?)?;
    let (class, verdict) = if case.is_right() { ("good", "right") } else { ("bad", "wrong") };
    let name = |category: &str| category.replace('_', " ");
    Ok(html! {
        figure {
            (image(&picture, &format!("{}, {}", case.image.name, name(case.truth))))
            figcaption {
                b { (name(case.predicted)) " " (format!("{:.2}", case.score)) " " span class=(class) { (verdict) } }
                @if !case.is_right() { span { "truth: " (name(case.truth)) } }
                span { (case.image.name) }
            }
        }
    })
}

/// The best, the middle and the worst images of the instance segmentation.
pub(super) fn instances(
    folder: &DemoFolder,
    images: &[TestImage],
    answers: &BTreeMap<String, Vec<Object>>,
    kept: &mut Kept<'_>,
) -> Result<Markup> {
    let quality = quality(folder)?;
    let scored = images.iter().filter_map(|image| Some((*quality.get(&image.name)?, image)));
    let ends = ends(scored.collect(), EACH);
    let mut classes: Vec<String> = images
        .iter()
        .flat_map(|image| &image.objects)
        .map(|truth| truth.category.clone())
        .collect();
    classes.sort();
    classes.dedup();
    let mut rows = Vec::new();
    for (name, images) in [("best", &ends.best), ("typical", &ends.typical), ("worst", &ends.worst)]
    {
        let mut figures = Vec::new();
        for (index, image) in images.iter().enumerate() {
            let found = answers.get(&image.name).map_or(&[][..], Vec::as_slice);
            let panels = pictures::instances(image, found, &classes)?;
            kept.keep(&format!("instances-{name}-{}", index + 1), &panels.sheet())?;
            let value = quality.get(&image.name).copied().unwrap_or(f64::NAN);
            let caption = html! {
                b { "panoptic quality " (format!("{value:.2}")) }
                span { (found.len()) " found, " (image.objects.len()) " true, in " (image.name) }
            };
            figures.push(triptych(&panels.embedded(image)?, &image.name, caption));
        }
        rows.push((name, figures));
    }
    Ok(html! {
        p.hint {
            "Nobody prompts this model: it finds the lesions, outlines and names them. Best, typical and worst of "
            (counted_images(ends.of)) " by panoptic quality, which is 1 if every lesion is found with its class and its exact outline. "
            "Objects with a score below " (LEAST_SCORE) " are left out."
        }
        @for (name, figures) in rows {
            @if !figures.is_empty() {
                h3 { (name) }
                div.triptychs { @for figure in figures { (figure) } }
            }
        }
    })
}

/// Panoptic quality by the name of the image.
fn quality(folder: &DemoFolder) -> Result<BTreeMap<String, f64>> {
    let run = comparison::run(folder, Task::Instances, PRETRAINED)?;
    let scores = Scores::read(&RunFiles::of(&run).image_scores(Split::Test))?;
    let values = scores.column(Task::Instances.metric())?;
    let name = |file: &str| file.rsplit('/').next().unwrap_or(file).to_owned();
    Ok(scores.rows.iter().map(|row| name(&row.file_name)).zip(values).collect())
}
