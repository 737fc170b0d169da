//! What the pixels of masks mean, as far as some of them show it.

use std::{collections::BTreeMap, path::PathBuf};

use rayon::prelude::*;
use sonotune_base::image_io::{self, DecodeOptions, Image};

/// Masks that are opened.
const MAX_OPENED: usize = 40;
/// Values up to this are numbers of classes rather than grey levels.
const MAX_LABEL: u8 = 20;
/// Filled, an outline has at least this many times its pixels.
const OUTLINE: f64 = 2.5;

/// How masks become objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) values: Values,
    /// The masks are outlines, which are filled.
    pub(crate) fill: bool,
    /// Some masks differ in size from their image.
    pub(crate) resize: bool,
    /// How many were opened.
    pub(crate) opened: usize,
    /// Why some could not be opened.
    pub(crate) unreadable: Vec<String>,
}

/// What pixel values mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// One value besides 0.
    Nonzero,
    /// Grey levels: from 128 on is the object.
    Bright,
    /// These numbers are classes.
    Labels(Vec<u8>),
    /// Several colours, in words.
    Colours(Vec<String>),
}

/// Looks at masks, evenly spaced among all; each comes with the size of its image.
pub(crate) fn look(masks: &[(PathBuf, Option<(u32, u32)>)]) -> Coding {
    let step = masks.len().div_ceil(MAX_OPENED).max(1);
    let sample: Vec<_> = masks.iter().step_by(step).collect();
    let options = DecodeOptions { exif: true, max_pixels: 1 << 28 };
    let opened: Vec<_> = sample
        .par_iter()
        .map(|(path, size)| image_io::decode_file(path, options).map(|mask| Mask::of(&mask, *size)))
        .collect();
    let mut unreadable = Vec::new();
    let mut all = Mask::default();
    let (mut outlines, mut marked) = (0, 0);
    for mask in opened {
        match mask {
            Err(error) => unreadable.push(format!("{error:#}")),
            Ok(mask) => {
                outlines += usize::from(mask.is_outline);
                marked += usize::from(mask.is_marked);
                all.add(mask);
            }
        }
    }
    Coding {
        values: values(&all),
        fill: marked > 0 && 2 * outlines > marked,
        resize: all.other_size,
        opened: sample.len(),
        unreadable,
    }
}

/// What one mask shows, or several together.
#[derive(Debug, Default)]
struct Mask {
    levels: BTreeMap<u8, u64>,
    colours: BTreeMap<[u8; 3], u64>,
    is_outline: bool,
    is_marked: bool,
    other_size: bool,
}

impl Mask {
    fn of(mask: &Image, size: Option<(u32, u32)>) -> Self {
        let mut own = Self {
            other_size: size.is_some_and(|s| s != (mask.height, mask.width)),
            ..Self::default()
        };
        let mut on = vec![false; mask.height as usize * mask.width as usize];
        for (pixel, on) in mask.pixels.chunks_exact(mask.channels.max(1)).zip(&mut on) {
            let is_grey = pixel.iter().all(|&v| v == pixel[0]);
            if let (false, &[r, g, b]) = (is_grey, pixel) {
                // Rounded, so that compression adds few.
                *own.colours.entry([r & 0xe0, g & 0xe0, b & 0xe0]).or_default() += 1;
            } else {
                *own.levels.entry(pixel[0]).or_default() += 1;
            }
            *on = pixel.iter().any(|&v| v >= 128);
        }
        let area = on.iter().filter(|&&on| on).count();
        own.is_marked = area > 0;
        if area > 0 {
            let background = reached(&on, mask.width as usize);
            own.is_outline = (on.len() - background) as f64 >= OUTLINE * area as f64;
        }
        own
    }

    fn add(&mut self, other: Self) {
        for (level, count) in other.levels {
            *self.levels.entry(level).or_default() += count;
        }
        for (colour, count) in other.colours {
            *self.colours.entry(colour).or_default() += count;
        }
        self.other_size |= other.other_size;
    }
}

/// Pixels that are off and connected to the border.
fn reached(on: &[bool], width: usize) -> usize {
    let height = on.len() / width.max(1);
    let mut seen = on.to_vec();
    let mut open: Vec<usize> = (0..on.len())
        .filter(|&i| i < width || i >= on.len() - width || i % width == 0 || i % width == width - 1)
        .collect();
    let mut count = 0;
    while let Some(i) = open.pop() {
        if std::mem::replace(&mut seen[i], true) {
            continue;
        }
        count += 1;
        let (row, column) = (i / width, i % width);
        open.extend((row > 0).then(|| i - width));
        open.extend((row + 1 < height).then(|| i + width));
        open.extend((column > 0).then(|| i - 1));
        open.extend((column + 1 < width).then(|| i + 1));
    }
    count
}

fn values(all: &Mask) -> Values {
    let coloured: u64 = all.colours.values().sum();
    let grey: u64 = all.levels.iter().filter(|(level, _)| **level > 0).map(|(_, n)| n).sum();
    // A few pixels of colour are compression.
    if coloured > grey {
        let mut by_count: Vec<_> = all.colours.iter().collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let large = by_count.iter().filter(|(_, count)| 20 * **count >= coloured);
        let names: Vec<String> = large.map(|([r, g, b], _)| format!("{r},{g},{b}")).collect();
        return if names.len() > 1 { Values::Colours(names) } else { Values::Nonzero };
    }
    let levels: Vec<u8> = all.levels.keys().copied().filter(|&level| level > 0).collect();
    match &levels[..] {
        [] | [_] => Values::Nonzero,
        levels if levels.iter().all(|&level| level <= MAX_LABEL) => Values::Labels(levels.to_vec()),
        _ => Values::Bright,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(name: &str, pixel: impl Fn(u32, u32) -> u8, size: Option<(u32, u32)>) -> Coding {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        image::GrayImage::from_fn(40, 30, |x, y| image::Luma([pixel(x, y)])).save(&path).unwrap();
        look(&[(path, size)])
    }

    #[test]
    fn values_tell_labels_from_grey_levels() {
        fn square(x: u32, y: u32) -> bool {
            (10..20).contains(&x) && (10..20).contains(&y)
        }
        type Case = (fn(u32, u32) -> u8, Values);
        let cases: [Case; 4] = [
            (|x, y| if square(x, y) { 255 } else { 0 }, Values::Nonzero),
            (|x, y| if square(x, y) { 1 } else { 0 }, Values::Nonzero),
            (|x, y| if square(x, y) { 200 + (x % 3) as u8 } else { 0 }, Values::Bright),
            (|x, y| if square(x, y) { 1 + (x % 2) as u8 } else { 0 }, Values::Labels(vec![1, 2])),
        ];
        for (pixel, expected) in cases {
            let coding = coding("a.png", pixel, Some((30, 40)));
            assert_eq!(coding.values, expected);
            assert!(!coding.fill && !coding.resize);
        }
    }

    #[test]
    fn an_outline_is_filled_and_another_size_noticed() {
        let ring = |x: u32, y: u32| {
            let far = (f64::from(x) - 20.0).hypot(f64::from(y) - 15.0);
            if (10.0..11.5).contains(&far) { 255 } else { 0 }
        };
        let found = coding("ring.png", ring, Some((60, 80)));
        assert!(found.fill && found.resize, "{found:?}");
    }

    #[test]
    fn a_file_that_is_no_image_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, "no image").unwrap();
        assert_eq!(look(&[(path, None)]).unreadable.len(), 1);
    }
}
