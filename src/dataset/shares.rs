//! Coordinates as shares of the image, from 0 to 1, where pixels are expected.

use sonotune_base::{Segmentation, words::counted};

/// Counts objects whose coordinates are shares.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    num_objects: usize,
    num_shares: usize,
    /// Where the first of them is.
    first: Option<String>,
}

impl Shares {
    /// What to do about them.
    pub const REMEDY: &str =
        "multiply x and width by the width of the image, y and height by its height";

    /// Counts an object by what its file says: box (XYWH) and mask. `place` says where it is.
    pub fn add(
        &mut self,
        bbox: Option<[f64; 4]>,
        mask: &Segmentation,
        place: impl FnOnce() -> String,
    ) {
        self.num_objects += 1;
        let polygons = match mask {
            Segmentation::Polygons(polygons) => polygons.as_slice(),
            _ => &[],
        };
        let coordinates = || polygons.iter().flatten().copied();
        let corners = bbox.map(|[x, y, width, height]| [x, y, x + width, y + height]);
        if are_shares(coordinates()) || corners.is_some_and(are_shares) {
            self.num_shares += 1;
            self.first.get_or_insert_with(place);
        }
    }

    /// Says that all objects have them.
    #[must_use]
    pub fn all(&self) -> Option<String> {
        let first = self.first.as_ref().filter(|_| self.num_shares == self.num_objects)?;
        let which = match self.num_objects {
            1 => "its coordinates are".to_owned(),
            n => format!("its coordinates, as those of all {n} objects, are"),
        };
        Some(format!("{first}: {which} between 0 and 1: expected pixels; {}", Self::REMEDY))
    }

    /// Says that some objects have them.
    #[must_use]
    pub fn some(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!(
            "{} of {} with coordinates between 0 and 1, less than a pixel; the first is {first}",
            self.num_shares,
            counted(self.num_objects, "object"),
        ))
    }
}

/// Whether numbers lie between 0 and 1, not all of them whole: those of an object within the first pixel
/// rarely do.
pub(crate) fn are_shares(numbers: impl IntoIterator<Item = f64>) -> bool {
    // Rounding may exceed 1.
    const MOST: f64 = 1.001;
    let mut has_fraction = false;
    for number in numbers {
        if !(0.0..=MOST).contains(&number) {
            return false;
        }
        has_fraction |= number.fract() != 0.0;
    }
    has_fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_from_pixels() {
        let share = Segmentation::Polygons(vec![vec![0.1, 0.2, 0.5, 0.2, 1.0, 0.9]]);
        let pixels = Segmentation::Polygons(vec![vec![0.1, 0.2, 5.0, 0.2, 5.0, 9.0]]);
        let count = |objects: &[(Option<[f64; 4]>, &Segmentation)]| {
            let mut shares = Shares::default();
            for (i, (bbox, mask)) in objects.iter().enumerate() {
                shares.add(*bbox, mask, || format!("annotations[{i}]"));
            }
            (shares.all(), shares.some())
        };
        let none = &Segmentation::None;
        for pixels in [
            &[][..],
            &[(Some([0.0, 0.0, 1.0, 1.0]), none)],
            &[(Some([0.5, 0.5, 8.0, 0.5]), &pixels)],
            &[(Some([-0.5, 0.5, 0.2, 0.2]), none)],
        ] {
            assert_eq!(count(pixels), (None, None));
        }
        let (all, some) = count(&[(Some([0.2, 0.1, 0.8, 0.9]), none), (None, &share)]);
        assert_eq!(
            all.unwrap(),
            "annotations[0]: its coordinates, as those of all 2 objects, are between 0 and 1: \
             expected pixels; multiply x and width by the width of the image, y and height by its \
             height"
        );
        assert!(some.is_some());
        let (all, some) = count(&[(None, &pixels), (Some([0.0, 0.0, 9.0, 9.0]), &share)]);
        assert_eq!(all, None);
        assert_eq!(
            some.unwrap(),
            "1 of 2 objects with coordinates between 0 and 1, less than a pixel; the first is \
             annotations[1]"
        );
    }
}
