//! Colours: RGB, 8 bits per channel, that stand out on grey images or work with any colour vision.

use image::Rgb;

/// Background of sheets, and letters on dark bars.
pub const WHITE: Rgb<u8> = Rgb([255; 3]);
/// Letters on light backgrounds, and the dark bars below pictures.
pub const INK: Rgb<u8> = Rgb([24, 26, 30]);
/// Correct results, and points on an object.
pub const RIGHT: Rgb<u8> = Rgb([86, 196, 120]);
/// Wrong results, and points off an object.
pub const WRONG: Rgb<u8> = Rgb([255, 122, 92]);

/// Blue of the palette of Okabe and Ito, for charts: distinct in any colour vision and in grey.
pub const BLUE: Rgb<u8> = Rgb([0, 114, 178]);
/// Orange of the palette of Okabe and Ito.
pub const ORANGE: Rgb<u8> = Rgb([230, 159, 0]);
/// Green of the palette of Okabe and Ito.
pub const GREEN: Rgb<u8> = Rgb([0, 158, 115]);

/// Colour of the category at `index`: saturated, distinct on grey images, repeated after ten.
#[must_use]
pub fn category_colour(index: usize) -> Rgb<u8> {
    const COLOURS: [[u8; 3]; 10] = [
        [255, 176, 0],
        [66, 165, 245],
        [240, 83, 101],
        [76, 201, 132],
        [186, 104, 232],
        [0, 206, 209],
        [255, 128, 191],
        [173, 214, 60],
        [255, 127, 63],
        [140, 140, 255],
    ];
    Rgb(COLOURS[index % COLOURS.len()])
}

/// Colour of a share in `0..=1`, from near black over red and yellow to near white: darker means
/// less, in grey as well. Shares outside are clamped.
#[must_use]
pub fn heat(share: f32) -> Rgb<u8> {
    const STOPS: [[f32; 3]; 5] = [
        [12.0, 7.0, 34.0],
        [101.0, 21.0, 110.0],
        [212.0, 72.0, 66.0],
        [251.0, 170.0, 40.0],
        [252.0, 250.0, 190.0],
    ];
    let at = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
    let below = (at as usize).min(STOPS.len() - 2);
    let part = at - below as f32;
    Rgb(std::array::from_fn(|c| {
        let (a, b) = (STOPS[below][c], STOPS[below + 1][c]);
        (a + (b - a) * part).round() as u8
    }))
}

/// Mixes `alpha` (in `0..=1`) of `over` with the rest of `under`.
#[must_use]
pub fn blend(under: Rgb<u8>, over: Rgb<u8>, alpha: f32) -> Rgb<u8> {
    let alpha = alpha.clamp(0.0, 1.0);
    let mix = |u: u8, o: u8| (f32::from(u) + (f32::from(o) - f32::from(u)) * alpha).round() as u8;
    Rgb(std::array::from_fn(|c| mix(under[c], over[c])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_mixed_by_their_share() {
        let (black, red) = (Rgb([0; 3]), Rgb([255, 0, 0]));
        assert_eq!(blend(black, red, 0.35), Rgb([89, 0, 0]));
        assert_eq!((blend(black, red, -1.0), blend(black, red, 2.0)), (black, red));
    }

    #[test]
    fn more_heat_is_brighter() {
        let sum = |share: f32| heat(share).0.iter().map(|&c| u32::from(c)).sum::<u32>();
        let sums: Vec<u32> = (0..=8).map(|i| sum(i as f32 / 8.0)).collect();
        assert!(sums.windows(2).all(|pair| pair[0] < pair[1]), "{sums:?}");
        assert_eq!((heat(-1.0), heat(2.0)), (heat(0.0), heat(1.0)));
        let _ = heat(f32::NAN);
    }

    #[test]
    fn category_colours_repeat_after_ten() {
        assert_eq!(category_colour(13), category_colour(3));
        assert!((0..10).all(|i| (0..i).all(|j| category_colour(i) != category_colour(j))));
    }
}
