//! Augmentation of one image, drawn from its position in the training sequence alone, so that
//! the size of the image, known only once it is decoded, does not affect later draws.

use super::{AugmentConfig, Placement, PreprocessConfig, Window, scaled_size};
use sonotune_base::seed::{AUGMENT, Rng};

/// The changes to one image.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Augmentation {
    /// Mirrored left to right.
    pub flip: bool,
    /// Absent: scaled to `image_size` and not cropped.
    pub jitter: Option<Jitter>,
}

/// Large-scale jitter: a different scale, and a random crop if the result is too large.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter {
    /// Longest side after resizing, as a multiple of `image_size`.
    pub scale: f64,
    /// Position of the crop within the available range, along y and x, in [0, 1).
    pub place: (f64, f64),
}

impl Augmentation {
    /// The changes to the image at `position` of the training sequence. The flip is drawn first, so
    /// it does not depend on whether other draws follow.
    #[must_use]
    pub fn draw(config: &AugmentConfig, seed: u64, position: u64) -> Self {
        let mut rng = Rng::at(seed, &[AUGMENT, position]);
        let flip = rng.uniform() < config.flip_probability;
        let jitter = config.scale_range.map(|[low, high]| Jitter {
            scale: low + rng.uniform() * (high - low),
            place: (rng.uniform(), rng.uniform()),
        });
        Self { flip, jitter }
    }

    /// The window of an image of `original_size`. The scale is rounded so that the longest side is a
    /// whole number of pixels, and a crop of at most `image_size` on both sides is drawn, like mmcv's
    /// `RandomResize` and mmdet's `RandomCrop`.
    #[must_use]
    pub fn placement(self, original_size: (u32, u32), config: &PreprocessConfig) -> Placement {
        let side = config.image_size;
        let Some(Jitter { scale, place }) = self.jitter else {
            let resized = scaled_size(original_size, side, config.size_rule);
            let window = Window::whole(resized);
            return Placement { original_size, longest_side: side, window, flipped: self.flip };
        };
        let longest_side = ((f64::from(side) * scale) as u32).max(1);
        let resized = scaled_size(original_size, longest_side, config.size_rule);
        let offset = |along: u32, place: f64| {
            let room = along.saturating_sub(side);
            (place * (f64::from(room) + 1.0)) as u32
        };
        let offset = (offset(resized.0, place.0), offset(resized.1, place.1));
        let window = Window::new(resized, offset, (side, side));
        Placement { original_size, longest_side, window, flipped: self.flip }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(scale_range: Option<[f64; 2]>) -> AugmentConfig {
        AugmentConfig { flip_probability: 0.5, scale_range }
    }

    #[test]
    fn jitter_leaves_the_flips_as_they_were() {
        for position in 0..50 {
            let plain = Augmentation::draw(&config(None), 3, position);
            let expected = Rng::at(3, &[AUGMENT, position]).uniform() < 0.5;
            assert_eq!(plain, Augmentation { flip: expected, jitter: None });
            let jittered = Augmentation::draw(&config(Some([0.1, 2.0])), 3, position);
            assert_eq!(jittered.flip, expected);
        }
    }

    #[test]
    fn scales_and_places_fill_their_ranges_evenly() {
        let preprocess = PreprocessConfig { image_size: 64, ..Default::default() };
        let (mut scales, mut offsets) = ([0u32; 4], [[0u32; 5]; 2]);
        for position in 0..20_000 {
            let drawn = Augmentation::draw(&config(Some([0.5, 1.5])), 1, position);
            let scale = drawn.jitter.unwrap().scale;
            scales[((scale - 0.5) * 4.0) as usize] += 1;
            // 68 high and wide: the crop has five places along each axis.
            let fixed = Jitter { scale: 68.0 / 64.0, ..drawn.jitter.unwrap() };
            let placed =
                Augmentation { jitter: Some(fixed), ..drawn }.placement((9, 9), &preprocess);
            assert_eq!((placed.longest_side, placed.window.size()), (68, (64, 64)));
            offsets[0][placed.window.offset().0 as usize] += 1;
            offsets[1][placed.window.offset().1 as usize] += 1;
        }
        // 5,000 and 4,000 expected each, standard deviations 61 and 57.
        assert!(scales.iter().all(|n| (4_700..5_300).contains(n)), "{scales:?}");
        assert!(offsets.iter().flatten().all(|n| (3_700..4_300).contains(n)), "{offsets:?}");
    }

    #[test]
    fn images_smaller_than_the_crop_are_kept_whole_however_small() {
        let preprocess = PreprocessConfig { image_size: 64, ..Default::default() };
        let at = |original, scale| {
            let jitter = Some(Jitter { scale, place: (0.999, 0.999) });
            Augmentation { flip: false, jitter }.placement(original, &preprocess).window
        };
        assert_eq!(at((30, 60), 0.5), Window::whole((16, 32)));
        assert_eq!(at((1, 1000), 0.1), Window::whole((1, 6)));
        assert_eq!(at((1, 1), 0.001), Window::whole((1, 1)));
        // Too wide, but not too high.
        assert_eq!(at((10, 100), 2.0), Window::new((13, 128), (0, 64), (13, 64)));
    }
}
