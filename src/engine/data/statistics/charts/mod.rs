//! A survey as pictures.

mod balance;
mod image_sizes;
mod object_sizes;
mod positions;

use base::{
    text::{shorten, text_width},
    words::{two_decimals, with_commas},
};
use curation::figure::Figure;
use image::Rgb;

pub use self::{
    balance::class_balance, image_sizes::image_sizes, object_sizes::object_sizes,
    positions::positions,
};
use crate::data::Split;

const INK: Rgb<u8> = Rgb([30, 30, 30]);
const GRID: Rgb<u8> = Rgb([222, 222, 222]);
const TITLE: f32 = 30.0;
const LABEL: f32 = 22.0;
const MARGIN: f32 = 36.0;
/// Where a chart begins, below its title and legend.
const TOP: f32 = MARGIN + TITLE + 24.0 + LABEL + 28.0;

/// Of Okabe and Ito's palette: told apart with any colour vision, and in grey.
fn colour(split: Split) -> Rgb<u8> {
    match split {
        Split::Train => Rgb([0, 114, 178]),
        Split::Val => Rgb([230, 159, 0]),
        Split::Test => Rgb([0, 158, 115]),
    }
}

/// The title, cut where it does not fit.
fn title(figure: &mut Figure, text: &str) {
    let width = figure.size().0 as f32 - 2.0 * MARGIN;
    figure.text((MARGIN, MARGIN - 8.0), &shorten(text, TITLE, width), TITLE, INK);
}

/// Width that a legend needs, margins included.
fn legend_width(entries: &[(Split, String)]) -> f32 {
    let one =
        |(split, text): &(Split, String)| 76.0 + text_width(&format!("{split}: {text}"), LABEL);
    2.0 * MARGIN + entries.iter().map(one).sum::<f32>()
}

/// Which colour is which split, with a number to each.
fn legend(figure: &mut Figure, entries: &[(Split, String)]) {
    let mut x = MARGIN;
    let y = MARGIN + TITLE + 12.0;
    for (split, text) in entries {
        figure.bar((x, y + 3.0), (32.0, LABEL - 6.0), colour(*split));
        let text = format!("{split}: {text}");
        figure.text((x + 40.0, y), &text, LABEL, INK);
        x += 40.0 + text_width(&text, LABEL) + 36.0;
    }
}

/// Text with its middle at `x`.
fn centred(figure: &mut Figure, (x, y): (f32, f32), text: &str) {
    figure.text((x - text_width(text, LABEL) / 2.0, y), text, LABEL, INK);
}

/// Text that ends at `x`.
fn right_aligned(figure: &mut Figure, (x, y): (f32, f32), text: &str) {
    figure.text((x - text_width(text, LABEL), y), text, LABEL, INK);
}

/// Round numbers from 0 to at least `most`, at most six, whole ones where that is asked for.
fn ticks(most: f64, whole: bool) -> Vec<f64> {
    let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
    let rough = most / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|s| s * decade).find(|s| *s >= rough);
    let mut step = step.unwrap_or(10.0 * decade);
    if whole {
        step = step.ceil().max(1.0);
    }
    (0..=(most / step - 1e-9).ceil() as usize).map(|i| i as f64 * step).collect()
}

/// A power of ten: `100`, `10k`, `1M`.
fn power_of_ten(decade: u32) -> String {
    let unit = ["", "k", "M", "G", "T"].get(decade as usize / 3);
    let digits = 10u32.pow(decade % 3);
    unit.map_or_else(|| format!("1e{decade}"), |unit| format!("{digits}{unit}"))
}

/// A number as short as it is exact enough.
fn number(x: f64) -> String {
    if x >= 1000.0 && x.fract() == 0.0 {
        return with_commas(x as u64);
    }
    two_decimals(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        DatasetConfig,
        image_io::DecodeOptions,
        phantom::{PhantomConfig, generate},
        statistics::{SizeCount, Survey, survey},
    };

    /// That every text is inside and none covers another.
    #[track_caller]
    fn assert_legible(figure: &Figure) {
        let (width, height) = figure.size();
        let boxes = figure.text_boxes();
        for (i, ([left, top, right, bottom], text)) in boxes.iter().enumerate() {
            assert!(*left >= 0.0 && *top >= 0.0, "`{text}` at {left}, {top}");
            assert!(*right <= width as f32 && *bottom <= height as f32, "`{text}` ends outside");
            for ([l, t, r, b], other) in &boxes[..i] {
                assert!(
                    right <= l || r <= left || bottom <= t || b <= top,
                    "`{text}` covers `{other}`"
                );
            }
        }
    }

    /// Of phantoms, in three splits.
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
                assert_legible(&figure);
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
        // Below the legend, whose mark has the colour too.
        let longest = (TOP as u32..picture.height())
            .map(|y| (0..picture.width()).filter(|&x| picture.get_pixel(x, y) == &blue).count())
            .max();
        // No split has more of a class.
        assert_eq!(longest, Some(760));
    }

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(ticks(10.0, true), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(1.0, true), [0.0, 1.0]);
        assert_eq!(ticks(43.0, true), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(ticks(f64::NAN, true), [0.0, 1.0]);
        for most in [0.3, 1.0, 7.0, 999.0, 1e6] {
            let ticks = ticks(most, false);
            assert!(ticks.len() <= 6 && *ticks.last().unwrap() >= most, "{most}: {ticks:?}");
        }
        let powers: Vec<String> = [0, 2, 4, 6, 15].into_iter().map(power_of_ten).collect();
        assert_eq!(powers, ["1", "100", "10k", "1M", "1e15"]);
        assert_eq!((number(12_000.0), number(0.25)), ("12,000".into(), "0.25".into()));
    }
}
