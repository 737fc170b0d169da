//! Images and masks of each dataset by application, as one picture: the paper's Figure 2.
//!
//! Horizontal bars on a logarithmic axis, two per dataset, each with its count; applications are sorted
//! by number of images, and so are the datasets within each. Two colours of Okabe and Ito's palette, which
//! can be told apart with any colour vision and in grey.

use sonotune_base::words::{counted, with_commas};
use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use image::Rgb;
use serde::Serialize;
use sonotune_base::Error;
use sonotune_draw::{
    Figure, Rect,
    chart::{AxisStyle, Bar, BarStyle, INK, Legend, LogAxis, bar_group},
    colour::{BLUE, ORANGE},
    widest,
};

/// Counts of one dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatasetCount {
    pub name: String,
    /// Organ or use, e.g. `breast`.
    pub application: String,
    pub images: u64,
    pub masks: u64,
}

const IMAGES: Rgb<u8> = BLUE;
const MASKS: Rgb<u8> = ORANGE;

const NAME_SIZE: f32 = 30.0;
const COUNT_SIZE: f32 = 24.0;
const HEADING_SIZE: f32 = 34.0;
const BAR: f32 = 20.0;
const ROW: f32 = 2.0 * BAR + 12.0;
const HEADING: f32 = 62.0;
const MARGIN: f32 = 40.0;
/// Length of the axis.
const AXIS: f32 = 1300.0;
/// Above the first application: the legend and the numbers of the axis.
const TOP: f32 = 150.0;

const AXIS_STYLE: AxisStyle =
    AxisStyle { size: COUNT_SIZE, line: 2.0, colour: Rgb([215, 215, 215]) };
const BAR_STYLE: BarStyle = BarStyle {
    pitch: BAR,
    gap: 1.0,
    least: 3.0,
    name: NAME_SIZE,
    indent: 16.0,
    count: COUNT_SIZE,
    drop: (BAR - COUNT_SIZE) / 2.0,
};
const LEGEND: Legend =
    Legend { size: NAME_SIZE, swatch: (BAR, 44.0), drop: 6.0, indent: 56.0, gap: 50.0 };

/// Draws `counts`; at 300 pixels per inch the figure is as wide as a page.
///
/// # Errors
/// When there is no dataset.
pub fn draw(counts: &[DatasetCount]) -> Result<Figure> {
    ensure!(!counts.is_empty(), Error::data("no dataset to draw"));
    let groups = by_application(counts);
    let names = widest(counts.iter().map(|c| &c.name), NAME_SIZE);
    let labels =
        widest(counts.iter().flat_map(|c| [c.images, c.masks]).map(with_commas), COUNT_SIZE);
    let headings = widest(groups.iter().map(heading), HEADING_SIZE);
    let left = (MARGIN + names + 16.0).ceil();
    let width = (left + AXIS + 12.0 + labels + MARGIN).max(2.0 * MARGIN + headings);
    let height =
        TOP + groups.iter().map(|g| HEADING + ROW * g.1.len() as f32).sum::<f32>() + MARGIN;
    let most = counts.iter().map(|c| c.images.max(c.masks)).max().unwrap_or(1);
    let axis = LogAxis::new(most, AXIS);
    let mut figure = Figure::new((height.ceil() as u32, width.ceil() as u32));
    let plot = Rect { x: left, y: TOP - 10.0, width: AXIS, height: height - MARGIN - TOP + 10.0 };
    axis.draw_above(&mut figure, plot, AXIS_STYLE);
    legend(&mut figure, counts, left);
    let mut y = TOP;
    for group in &groups {
        let corner = (MARGIN, y + HEADING - HEADING_SIZE - 8.0);
        figure.text(corner, &heading(group), HEADING_SIZE, INK);
        y += HEADING;
        for dataset in &group.1 {
            let bar = |count, colour| Bar { count, length: axis.place(count), colour };
            let bars = [bar(dataset.images, IMAGES), bar(dataset.masks, MASKS)];
            bar_group(&mut figure, (left, y), &dataset.name, &bars, &BAR_STYLE);
            y += ROW;
        }
    }
    Ok(figure)
}

/// Applications with their datasets, each sorted by number of images, most first; ties by name.
fn by_application(counts: &[DatasetCount]) -> Vec<(&str, Vec<&DatasetCount>)> {
    let mut groups: BTreeMap<&str, Vec<&DatasetCount>> = BTreeMap::new();
    for count in counts {
        groups.entry(&count.application).or_default().push(count);
    }
    for list in groups.values_mut() {
        list.sort_by(|a, b| b.images.cmp(&a.images).then_with(|| a.name.cmp(&b.name)));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, list)| std::cmp::Reverse(list.iter().map(|c| c.images).sum::<u64>()));
    groups
}

/// `breast: 9 datasets, 7,000 images, 7,500 masks`.
fn heading((application, list): &(&str, Vec<&DatasetCount>)) -> String {
    let sum = |of: fn(&DatasetCount) -> u64| with_commas(list.iter().map(|c| of(c)).sum());
    format!(
        "{application}: {}, {} images, {} masks",
        counted(list.len(), "dataset"),
        sum(|c| c.images),
        sum(|c| c.masks)
    )
}

fn legend(figure: &mut Figure, counts: &[DatasetCount], left: f32) {
    let entries = [
        (counts.iter().map(|c| c.images).sum::<u64>(), "images", IMAGES),
        (counts.iter().map(|c| c.masks).sum::<u64>(), "masks", MASKS),
    ]
    .map(|(sum, what, colour)| (colour, format!("{} {what}", with_commas(sum))));
    LEGEND.draw(figure, (left, 38.0), &entries);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, application: &str, images: u64, masks: u64) -> DatasetCount {
        DatasetCount { name: name.into(), application: application.into(), images, masks }
    }

    /// As many datasets as US-43d, with names as long as its longest.
    fn many() -> Vec<DatasetCount> {
        let names = ["BUSI", "Common Carotid Artery Ultrasound Images", "TN3K", "MUP"];
        let application = |i: usize| ["breast", "thyroid", "heart", "fetus", "prostate"][i % 5];
        (0..43)
            .map(|i| {
                let images = 3u64.pow(i as u32 % 10) * (1 + i as u64);
                count(names[i % 4], application(i), images, images / 2 * (i as u64 % 4))
            })
            .collect()
    }

    #[test]
    fn every_text_is_inside_and_none_covers_another() {
        let figure = draw(&many()).unwrap();
        figure.check_legible().unwrap();
        assert!(figure.to_svg().matches("<text").count() > 3 * 43);
    }

    #[test]
    fn bars_are_logarithmic_and_applications_by_size() {
        let counts = [
            count("a", "small", 10, 0),
            count("b", "large", 100, 1000),
            count("c", "large", 1000, 1),
        ];
        let figure = draw(&counts).unwrap();
        let widths = |wanted: Rgb<u8>| -> Vec<f32> {
            let bars = figure.bars().filter(|(_, colour)| *colour == wanted);
            // The first is the legend's.
            bars.skip(1).map(|(area, _)| area.width).collect()
        };
        // Three decades; c, b, a from top to bottom.
        let third = AXIS / 3.0;
        for (width, expected) in widths(IMAGES).iter().zip([3.0 * third, 2.0 * third, third]) {
            assert!((width - expected).abs() < 0.01, "{width} {expected}");
        }
        assert_eq!(widths(MASKS), [3.0, AXIS, 0.0]);
        let svg = figure.to_svg();
        assert!(svg.contains(">large: 2 datasets, 1,100 images, 1,001 masks</text>"), "{svg}");
        assert!(draw(&[]).is_err());
    }

    #[test]
    fn the_png_is_the_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figure.png");
        let figure = draw(&many()).unwrap();
        figure.write_png(&path).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), figure.to_image());
        if let Some(kept) = std::env::var_os("SONOTUNE_KEEP_FIGURE") {
            std::fs::copy(&path, kept).unwrap();
        }
    }
}
