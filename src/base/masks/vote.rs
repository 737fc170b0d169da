//! One mask from several.

use anyhow::{Result, ensure};

use super::{Rle, runs::Runs};

impl Rle {
    /// The pixels for which `foreground` says so, given which of `masks` contain the pixel. It is called once
    /// for each stretch of pixels that are in the same masks.
    ///
    /// # Errors
    /// If `masks` is empty, or they differ in size.
    pub fn vote(masks: &[&Self], mut foreground: impl FnMut(&[bool]) -> bool) -> Result<Self> {
        let Some(&Self { height, width, .. }) = masks.first().copied() else {
            anyhow::bail!("a vote of no masks has no size");
        };
        for mask in masks {
            ensure!(
                (mask.height, mask.width) == (height, width),
                "masks of {height}x{width} and {}x{} pixels (height x width) cannot be combined",
                mask.height,
                mask.width
            );
        }
        let pixels = height as usize * width as usize;
        let mut changes: Vec<(usize, usize)> = Vec::new();
        for (voter, mask) in masks.iter().enumerate() {
            let mut position = 0;
            for &count in &mask.counts {
                position += count as usize;
                changes.push((position.min(pixels), voter));
            }
        }
        changes.sort_unstable();
        changes.push((pixels, 0));
        let (mut runs, mut inside, mut from) = (Runs::default(), vec![false; masks.len()], 0);
        for (until, voter) in changes {
            if until > from && foreground(&inside) {
                runs.add(from..until);
            }
            from = until;
            inside[voter] ^= true;
        }
        Ok(Self { height, width, counts: runs.finish(pixels) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: [&str; 2]) -> Rle {
        let pixels: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
        Rle::from_mask(&pixels, (2, 4)).unwrap()
    }

    #[test]
    fn every_pixel_is_decided_by_the_masks_that_contain_it() {
        let masks = [mask(["##..", "#..#"]), mask([".##.", "#..#"]), mask(["...#", "#..."])];
        let masks: Vec<&Rle> = masks.iter().collect();
        let at_least = |n: usize| {
            Rle::vote(&masks, |inside| inside.iter().filter(|i| **i).count() >= n).unwrap()
        };
        assert_eq!(at_least(1), mask(["####", "#..#"]));
        assert_eq!(at_least(2), mask([".#..", "#..#"]));
        assert_eq!(at_least(3), mask(["....", "#..."]));
        assert_eq!(at_least(0), mask(["####", "####"]));
        assert_eq!(at_least(4), mask(["....", "...."]));
        let second = Rle::vote(&masks, |inside| inside[1]).unwrap();
        assert_eq!(&second, masks[1]);
    }

    #[test]
    fn masks_of_different_sizes_are_refused() {
        let (a, b) = (mask(["....", "...."]), Rle::new(1, 8, vec![8]).unwrap());
        let error = Rle::vote(&[&a, &b], |_| true).unwrap_err().to_string();
        assert!(error.contains("2x4") && error.contains("1x8"), "{error}");
        assert!(Rle::vote(&[], |_| true).is_err());
    }
}
