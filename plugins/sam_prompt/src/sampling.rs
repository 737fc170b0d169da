//! Draws training prompts from the objects' masks and boxes.

use sonotune_engine::prelude::*;

use crate::{
    Convention, TrainingConfig,
    convention::Origin,
    prompt_encoder::{Label, Prompts},
};

/// Pixel of a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pixel {
    pub(crate) x: i64,
    pub(crate) y: i64,
}

/// One pixel of each mask `[N, H, W]` bool on the CPU, uniformly; `None` for a mask without any.
///
/// Reads row sums and one row per object, not the masks.
pub(crate) fn draw_pixels(masks: &Tensor, rngs: &mut [Rng]) -> Result<Vec<Option<Pixel>>> {
    let (n, height, width) = masks.size3()?;
    if n == 0 {
        return Ok(Vec::new());
    }
    let rows = masks.sum_dim_intlist([2i64].as_slice(), false, Kind::Int64).cumsum(1, Kind::Int64);
    let rows = Vec::<i64>::try_from(rows.flatten(0, -1))?;
    // Row, and the pixel's rank in it, from the left.
    let drawn: Vec<Option<(i64, i64)>> = rows
        .chunks_exact(height as usize)
        .zip(rngs.iter_mut())
        .map(|(below, rng)| {
            let area = below.last().copied().filter(|&area| area > 0)?;
            let pick = rng.below(area as u64) as i64;
            let row = below.partition_point(|&count| count <= pick);
            let before = if row == 0 { 0 } else { below[row - 1] };
            Some((row as i64, pick - before))
        })
        .collect();
    let index: Vec<i64> =
        drawn.iter().enumerate().map(|(i, d)| i as i64 * height + d.map_or(0, |d| d.0)).collect();
    let index = Tensor::from_slice(&index);
    let chosen = masks.reshape([n * height, width]).index_select(0, &index).to_kind(Kind::Uint8);
    let chosen = Vec::<u8>::try_from(chosen.flatten(0, -1))?;
    let pixel = |(row, drawn): (&[u8], &Option<(i64, i64)>)| {
        let (y, nth) = (*drawn)?;
        let x = row.iter().enumerate().filter(|&(_, &p)| p != 0).nth(nth as usize)?.0 as i64;
        Some(Pixel { x, y })
    };
    Ok(chosen.chunks_exact(width as usize).zip(&drawn).map(pixel).collect())
}

/// One prompt token: position and label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) label: Label,
}

impl Token {
    /// The second token of a point, in place of a box's second corner.
    pub(crate) const NOT_A_POINT: Self = Self { x: 0.0, y: 0.0, label: Label::NotAPoint };

    pub(crate) fn corners([x0, y0, x1, y1]: [f64; 4], offset: f64) -> [Self; 2] {
        [(x0, y0, Label::BoxCornerA), (x1, y1, Label::BoxCornerB)].map(|(x, y, label)| Self {
            x: x + offset,
            y: y + offset,
            label,
        })
    }
}

/// A point or a box for an object, as the reference draws it.
pub(crate) fn draw_prompt(
    pixel: Pixel,
    bbox: [f64; 4],
    config: &TrainingConfig,
    convention: Convention,
    rng: &mut Rng,
) -> Vec<Token> {
    if rng.uniform() < config.box_probability {
        let [x0, y0, x1, y1] = bbox;
        let (width, height) = (x1 - x0, y1 - y0);
        let mut moved =
            |v: f64, side: f64| v + (2.0 * rng.uniform() - 1.0) * config.box_jitter * side;
        let bbox = [moved(x0, width), moved(y0, height), moved(x1, width), moved(y1, height)];
        let corners = Token::corners(bbox, convention.offset(Origin::TrainBox));
        let filler = convention.is_sam2().then_some(Token::NOT_A_POINT);
        return corners.into_iter().chain(filler).collect();
    }
    // UltraSam draws one offset for both axes; SAM points at the centre of the pixel.
    let jitter = if convention.is_ultrasam() { rng.uniform() } else { 0.0 };
    let offset = convention.offset(Origin::TrainPoint) + jitter;
    let (x, y) = (pixel.x as f64 + offset, pixel.y as f64 + offset);
    vec![Token { x, y, label: Label::Positive }, Token::NOT_A_POINT]
}

/// Tokens of N objects, T each, as `[N, T, 2]` f64 and `[N, T]` i64 on the CPU.
pub(crate) fn token_tensors<'a>(
    objects: impl Iterator<Item = &'a [Token]> + Clone,
) -> (Tensor, Tensor) {
    let n = objects.clone().count() as i64;
    let tokens = objects.flatten();
    let coords: Vec<f64> = tokens.clone().flat_map(|t| [t.x, t.y]).collect();
    let labels: Vec<i64> = tokens.map(|t| t.label as i64).collect();
    let count = labels.len() as i64 / n.max(1);
    let coords = Tensor::from_slice(&coords).view([n, count, 2]);
    (coords, Tensor::from_slice(&labels).view([n, count]))
}

/// Tokens of N objects, the same number each, on the device of `like` and in its format, and their masks.
pub(crate) fn prompts<'a>(
    objects: impl Iterator<Item = &'a [Token]> + Clone,
    masks: Option<Tensor>,
    like: &Tensor,
) -> Prompts {
    let (coords, labels) = token_tensors(objects);
    let coords = coords.to_kind(wide_kind(like));
    let [coords, labels] = [coords, labels].map(|tensor| upload(&tensor, like.device()));
    Prompts { coords, labels, masks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_drawn_uniformly_and_only_from_the_mask() {
        let mut mask = vec![false; 2 * 3 * 4];
        for at in [1, 2, 11] {
            mask[at] = true; // (1, 0), (2, 0), (3, 2) of the first mask; the second is empty
        }
        let masks = Tensor::from_slice(&mask).view([2, 3, 4]);
        let mut counts = [0u32; 3];
        for seed in 0..3000 {
            let mut rngs = [Rng::at(seed, &[]), Rng::at(seed, &[1])];
            let drawn = draw_pixels(&masks, &mut rngs).unwrap();
            assert_eq!(drawn[1], None);
            let Pixel { x, y } = drawn[0].unwrap();
            counts[match (x, y) {
                (1, 0) => 0,
                (2, 0) => 1,
                (3, 2) => 2,
                other => panic!("{other:?} is not of the mask"),
            }] += 1;
        }
        // 1,000 each expected, standard deviation 26.
        assert!(counts.iter().all(|&c| (870..1130).contains(&c)), "{counts:?}");
    }

    #[test]
    fn prompts_keep_to_the_reference_ranges() {
        let config = TrainingConfig::default();
        let (pixel, bbox) = (Pixel { x: 30, y: 40 }, [10.0, 20.0, 110.0, 60.0]);
        let mut boxes = 0;
        for seed in 0..1000 {
            let mut rng = Rng::at(seed, &[]);
            let tokens = draw_prompt(pixel, bbox, &config, Convention::Ultrasam, &mut rng);
            if tokens[0].label == Label::BoxCornerA {
                boxes += 1;
                let within = |v: f64, at: f64, side: f64| (v - 0.5 - at).abs() <= 0.05 * side;
                assert!(within(tokens[0].x, 10.0, 100.0) && within(tokens[0].y, 20.0, 40.0));
                assert!(within(tokens[1].x, 110.0, 100.0) && within(tokens[1].y, 60.0, 40.0));
            } else {
                let (dx, dy) = (tokens[0].x - 30.0, tokens[0].y - 40.0);
                assert!((0.0..1.0).contains(&dx) && (dx - dy).abs() < 1e-9);
                assert_eq!(tokens[1], Token::NOT_A_POINT);
            }
        }
        assert!((430..570).contains(&boxes), "{boxes}");
    }
}
