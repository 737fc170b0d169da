//! Whether the numbers of a stack are grey levels.

use std::ops::Range;

use anyhow::Result;

use super::Stack;
use crate::{Intensity, elements::Dtype};

impl Stack<'_> {
    /// The range by which `intensity` judges some planes (ascending): theirs, or that of the whole dataset
    /// where theirs alone would be black, since a clip may be dark. Reads no more than it needs: bytes are
    /// grey levels unless all of them are 0 and 1.
    ///
    /// # Errors
    /// When the data are damaged.
    pub fn range_of(&self, planes: &[u32], intensity: Intensity) -> Result<(f64, f64)> {
        let mut range = (0.0_f64, 0.0_f64);
        if intensity == Intensity::Range {
            return self.range();
        }
        if intensity != Intensity::Exact || self.dtype == Dtype::Bool {
            return Ok(range);
        }
        for part in self.parts(planes) {
            self.planes(part, |_, plane| {
                let (low, high) = plane.range();
                range = (range.0.min(low), range.1.max(high));
                Ok(())
            })?;
            if self.dtype == Dtype::U8 && range.1 > 1.0 {
                return Ok(range);
            }
        }
        let is_black = range.0 >= 0.0 && range.1 > 0.0 && range.1 <= 1.0;
        if is_black { self.range() } else { Ok(range) }
    }

    /// Runs of planes that are read together.
    fn parts(&self, planes: &[u32]) -> impl Iterator<Item = Range<usize>> {
        let window = self.window;
        let together =
            move |a: &u32, b: &u32| a + 1 == *b && (*a as usize / window) == (*b as usize / window);
        planes.chunk_by(together).filter_map(|run| {
            let (first, last) = (*run.first()?, *run.last()?);
            Some(first as usize..last as usize + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Intensity,
        hdf5::Hdf5,
        write::{Dataset, Numbers, hdf5},
    };

    /// The range of the first of two planes.
    fn range(numbers: Numbers<'_>, intensity: Intensity) -> (f64, f64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5");
        hdf5(&path, &[Dataset { name: "image", shape: vec![2, 1, 2], numbers }], &[], false)
            .unwrap();
        let file = Hdf5::open(&path).unwrap();
        file.stack("image").unwrap().range_of(&[0], intensity).unwrap()
    }

    #[test]
    fn planes_are_judged_by_themselves_unless_they_are_dark() {
        let exact = Intensity::Exact;
        assert_eq!(range(Numbers::U8(&[0, 1, 1, 1]), exact), (0.0, 1.0));
        assert_eq!(range(Numbers::U8(&[0, 1, 1, 90]), exact), (0.0, 90.0));
        assert_eq!(range(Numbers::U8(&[0, 7, 1, 90]), exact), (0.0, 7.0));
        assert_eq!(range(Numbers::F32(&[0.0, 0.5, 1.0, 1.0]), exact), (0.0, 1.0));
        assert_eq!(range(Numbers::F32(&[0.0, 0.5, 1.0, 90.0]), exact), (0.0, 90.0));
        assert_eq!(range(Numbers::I16(&[0, 1, 1, 1]), exact), (0.0, 1.0));
        assert_eq!(range(Numbers::I16(&[0, 300, -5, 1]), exact), (0.0, 300.0));
        assert_eq!(range(Numbers::U8(&[0, 1, 1, 1]), Intensity::Clip), (0.0, 0.0));
        assert_eq!(range(Numbers::U8(&[0, 1, 1, 90]), Intensity::Range), (0.0, 90.0));
    }
}
