//! A survey as pictures.

mod balance;
mod image_sizes;
mod object_sizes;
mod positions;

use image::Rgb;
use sonotune_draw::{
    Figure,
    chart::{AxisStyle, INK, Legend},
    colour::{BLUE, GREEN, ORANGE},
    shorten,
};

use super::{SplitSurvey, Survey};
pub use crate::statistics::charts::{
    balance::class_balance, image_sizes::image_sizes, object_sizes::object_sizes,
    positions::positions,
};
use sonotune_dataset::Split;

const GRID: Rgb<u8> = Rgb([222, 222, 222]);
const TITLE: f32 = 30.0;
const LABEL: f32 = 22.0;
const MARGIN: f32 = 36.0;
/// Where a chart begins, below its title and legend.
const TOP: f32 = MARGIN + TITLE + 24.0 + LABEL + 28.0;

const AXIS: AxisStyle = AxisStyle { size: LABEL, line: 2.0, colour: GRID };
const LEGEND: Legend =
    Legend { size: LABEL, swatch: (LABEL - 6.0, 32.0), drop: 3.0, indent: 40.0, gap: 36.0 };

fn colour(split: Split) -> Rgb<u8> {
    match split {
        Split::Train => BLUE,
        Split::Val => ORANGE,
        Split::Test => GREEN,
    }
}

/// The title, shortened if it does not fit.
fn title(figure: &mut Figure, text: &str) {
    let width = figure.size().1 as f32 - 2.0 * MARGIN;
    figure.text((MARGIN, MARGIN - 8.0), &shorten(text, TITLE, width), TITLE, INK);
}

/// Colour and text of each split: its name and what `of` says about it.
fn entries(survey: &Survey, of: impl Fn(&SplitSurvey) -> String) -> Vec<(Rgb<u8>, String)> {
    let entry = |s: &SplitSurvey| (colour(s.split), format!("{}: {}", s.split, of(s)));
    survey.splits.iter().map(entry).collect()
}

/// Width that a legend needs, margins included.
fn legend_width(entries: &[(Rgb<u8>, String)]) -> f32 {
    2.0 * MARGIN + LEGEND.width(entries)
}

/// Which colour stands for which split.
fn legend(figure: &mut Figure, entries: &[(Rgb<u8>, String)]) {
    LEGEND.draw(figure, (MARGIN, MARGIN + TITLE + 12.0), entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{SizeCount, survey};
    use sonotune_base::image_io::DecodeOptions;
    use sonotune_dataset::DatasetConfig;
    use sonotune_phantom::{PhantomConfig, generate};

    /// A survey of phantoms, in three splits.
    fn phantoms(folder: &std::path::Path) -> Survey {
        let config = PhantomConfig { num_images: 12, image_size: 64, ..PhantomConfig::default() };
        let out = folder.join("set");
        generate(&config, &out, false, &|_| ()).unwrap();
        let table = serde_json::json!({ "type": "coco", "root": out,
            "train": "annotations/train.json", "val": "annotations/val.json",
            "test": "annotations/test.json" });
        let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
        survey(&*config, DecodeOptions { exif: false, max_pixels: 1 << 20 }, &|| ())
    }

    #[test]
    fn every_text_is_inside_and_none_covers_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut survey = phantoms(folder.path());
        let assert_all_legible = |survey: &Survey| {
            for figure in [
                class_balance(survey),
                object_sizes(survey),
                positions(survey),
                image_sizes(survey),
            ] {
                figure.check_legible().unwrap();
            }
        };
        assert_all_legible(&survey);
        // Long names, large counts, large objects and images.
        for split in &mut survey.splits {
            split.counts.categories[0].name = "a name that is far too long for any chart".repeat(3);
            split.counts.categories[1].num_objects = 1_234_567;
            split.counts.num_objects = 1_234_567_890;
            split.details.areas.extend([0.0, 0.5, 1e8, f64::NAN]);
            let size = SizeCount { height: 12_345, width: 9, num_images: 1_000_000 };
            split.details.sizes.push(size);
        }
        assert_all_legible(&survey);
        assert_all_legible(&Survey { splits: Vec::new() });
    }

    #[test]
    fn bars_are_as_long_as_their_counts() {
        let folder = tempfile::tempdir().unwrap();
        let survey = phantoms(folder.path());
        let picture = class_balance(&survey).to_image();
        let blue = colour(Split::Train);
        // Below the legend, whose mark has the same colour.
        let longest = (TOP as u32..picture.height())
            .map(|y| (0..picture.width()).filter(|&x| picture.get_pixel(x, y) == &blue).count())
            .max();
        // No split has more of a class.
        assert_eq!(longest, Some(760));
    }
}
