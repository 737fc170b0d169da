//! Run lengths and polygons.

use arbitrary::{Arbitrary, Result, Unstructured};
use sonotune_base::{Rle, Segmentation};

/// Masks that are painted may not have more pixels; those beyond it are measured only.
const MAX_PAINTED: u64 = 1 << 16;

fn pixels((height, width): (u32, u32)) -> u64 {
    u64::from(height) * u64::from(width)
}

/// A size that is small as a rule, and anything now and then.
fn size(input: &mut Unstructured) -> Result<(u32, u32)> {
    match u8::arbitrary(input)? {
        0 => Ok((input.arbitrary()?, input.arbitrary()?)),
        1..64 => Ok((input.int_in_range(0..=300)?, input.int_in_range(0..=300)?)),
        _ => Ok((input.int_in_range(0..=12)?, input.int_in_range(0..=12)?)),
    }
}

/// Two masks in either form of run lengths.
pub fn rle(bytes: &[u8]) {
    let _ = run_lengths(&mut Unstructured::new(bytes));
}

fn run_lengths(input: &mut Unstructured) -> Result<()> {
    let size = size(input)?;
    let (first, second) = (stored(input, size)?, stored(input, size)?);
    let bbox = input.arbitrary()?;
    let masks: Vec<Rle> =
        [first, second].iter().filter_map(|stored| use_segmentation(stored, size, bbox)).collect();
    if let Ok(union) = Rle::union(&masks) {
        let most = masks.iter().map(Rle::area).max().unwrap_or(0);
        let sum = masks.iter().map(Rle::area).sum();
        assert!((most..=sum).contains(&union.area()));
    }
    Ok(())
}

/// Run lengths of about `size`: anything, or such that fit it.
fn stored(input: &mut Unstructured, (height, width): (u32, u32)) -> Result<Segmentation> {
    let shape = u8::arbitrary(input)?;
    if shape & 1 == 0 {
        let length = input.int_in_range(0..=64)?;
        let mut runs = Vec::new();
        let mut left = u64::from(height) * u64::from(width);
        for _ in 0..length {
            let run: u32 = if shape & 2 == 0 {
                input.arbitrary()?
            } else {
                input.int_in_range(0..=u32::try_from(left).unwrap_or(u32::MAX))?
            };
            left = left.saturating_sub(run.into());
            runs.push(run);
        }
        if shape & 2 != 0 {
            runs.push(u32::try_from(left).unwrap_or(u32::MAX));
        }
        return Ok(Segmentation::Runs(Rle { height, width, counts: runs }));
    }
    if shape & 2 == 0 {
        let counts: &str = input.arbitrary()?;
        return Ok(Segmentation::Compressed { height, width, counts: counts.into() });
    }
    let length = input.int_in_range(0..=64)?;
    // The alphabet of the compressed form.
    let letters = (0..length).map(|_| Ok(char::from(input.int_in_range(48..=111u8)?)));
    let counts: String = letters.collect::<Result<_>>()?;
    Ok(Segmentation::Compressed { height, width, counts: counts.into() })
}

/// Everything that is done with a mask. What passes the check must rasterise.
pub(crate) fn use_segmentation(
    stored: &Segmentation,
    size: (u32, u32),
    bbox: [f64; 4],
) -> Option<Rle> {
    let checked = stored.check(Some(size));
    let (_, _) = (stored.bbox(), stored.area());
    let rle = match stored.rasterize(size, bbox) {
        Ok(rle) => rle,
        Err(error) => {
            // A box stands for no mask; the check does not know it.
            let unknown = pixels(size) > u64::from(u32::MAX) || *stored == Segmentation::None;
            assert!(checked.is_err() || unknown, "passed the check, but: {error:#}");
            return None;
        }
    };
    assert_eq!((rle.height, rle.width), size);
    let sum: u64 = rle.counts.iter().map(|&run| u64::from(run)).sum();
    assert_eq!(sum, pixels(size));
    assert!(rle.area() <= pixels(size));
    let _ = (rle.bbox(), rle.nth_pixel(rle.area() / 2));
    let again = Rle::from_compressed(rle.height, rle.width, &rle.to_compressed());
    assert_eq!(again.as_ref().map(Rle::area).ok(), Some(rle.area()));
    if pixels(size) <= MAX_PAINTED {
        assert_eq!(rle.centroid().is_some(), rle.area() > 0);
        let mask = rle.to_mask();
        assert_eq!(mask.iter().map(|&bit| u64::from(bit)).sum::<u64>(), rle.area());
        let again = Rle::from_mask(&mask, size).expect("a mask of its size");
        assert_eq!(again.area(), rle.area());
        let part = rle.to_mask_part(1..size.0 as usize + 1, 0..size.1 as usize / 2);
        assert_eq!(part.len(), size.0 as usize * (size.1 as usize / 2));
    }
    Some(rle)
}

/// Polygons and a box on an image of some size.
pub fn polygons(bytes: &[u8]) {
    let _ = outlines(&mut Unstructured::new(bytes));
}

fn outlines(input: &mut Unstructured) -> Result<()> {
    let size = size(input)?;
    let bbox = [coordinate(input)?, coordinate(input)?, coordinate(input)?, coordinate(input)?];
    let mut polygons = Vec::new();
    for _ in 0..input.int_in_range(0..=4)? {
        let length = input.int_in_range(0..=20)?;
        polygons.push((0..length).map(|_| coordinate(input)).collect::<Result<Vec<f64>>>()?);
    }
    use_segmentation(&Segmentation::Polygons(polygons), size, bbox);
    use_segmentation(&Segmentation::None, size, bbox);
    Ok(())
}

fn coordinate(input: &mut Unstructured) -> Result<f64> {
    Ok(match u8::arbitrary(input)? {
        0..4 => f64::arbitrary(input)?,
        4..8 => f64::from(f32::arbitrary(input)?),
        8..16 => f64::from(i32::arbitrary(input)?),
        16..24 => *input.choose(&[f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, -0.0, 1e308])?,
        24..64 => f64::from(i16::arbitrary(input)?) / 2.0,
        _ => f64::from(i16::arbitrary(input)?) / 1000.0,
    })
}
