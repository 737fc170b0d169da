//! Features of images as tokens, shared by the objects of an image as long as possible.

use sonotune_engine::{nn::Rows, prelude::*};

/// The image that each object is in; objects of an image are consecutive.
#[derive(Debug)]
pub struct Owners {
    /// Objects of each image.
    counts: Vec<i64>,
    /// `[N]` i64.
    index: Tensor,
    /// Objects that other processes have of the same step.
    others: Rows,
}

impl Owners {
    /// For images with that many objects each, with tensors on the device of `like`.
    #[must_use]
    pub fn new(counts: Vec<i64>, like: &Tensor) -> Self {
        let index = upload(&owners_index(&counts), like.device());
        Self::of_index(counts, index)
    }

    /// Same as [`new`](Self::new), with what [`owners_index`] gives already on the device.
    pub(crate) fn of_index(counts: Vec<i64>, index: Tensor) -> Self {
        Self { counts, index, others: Rows::default() }
    }

    /// Beside the objects that other processes have.
    pub(crate) fn with_others(self, others: Rows) -> Self {
        Self { others, ..self }
    }

    /// Objects that other processes have of the same step.
    pub(crate) fn others(&self) -> Rows {
        self.others
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// Whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects of each image.
    #[must_use]
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }

    /// `[B, ...]` per image to `[N, ...]` per object; nothing is copied if there is one image.
    pub(crate) fn spread(&self, of_images: &Tensor) -> Tensor {
        if self.counts.len() == 1 {
            let mut shape = of_images.size();
            shape[0] = self.len();
            return of_images.expand(shape, false);
        }
        of_images.index_select(0, &self.index)
    }
}

/// `[N]` i64: for each object the image that it is in.
pub(crate) fn owners_index(counts: &[i64]) -> Tensor {
    let images = counts.iter().enumerate();
    let index: Vec<i64> =
        images.flat_map(|(i, &n)| std::iter::repeat_n(i as i64, n as usize)).collect();
    Tensor::from_slice(&index)
}

/// Tokens of a feature grid.
#[derive(Debug)]
pub(crate) enum ImageTokens<'a> {
    /// `[B, h · w, C]`: one set per image, shared by its objects.
    Shared(Tensor, &'a Owners),
    /// `[N, h · w, C]`: one set per object.
    Own(Tensor),
}

impl ImageTokens<'_> {
    pub(crate) fn tokens(&self) -> &Tensor {
        match self {
            Self::Shared(tokens, _) | Self::Own(tokens) => tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use sonotune_engine::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_objects_of_an_image_share_its_memory() {
        let image = Tensor::randn([1, 16, 8], (Kind::Float, Device::Cpu));
        let spread = Owners::new(vec![100], &image).spread(&image);
        assert_eq!((spread.size(), spread.stride()[0]), (vec![100, 16, 8], 0));
        assert_eq!(spread.data_ptr(), image.data_ptr());
        let two = Tensor::randn([2, 16, 8], (Kind::Float, Device::Cpu));
        let spread = Owners::new(vec![2, 1], &two).spread(&two);
        assert!(spread.get(1).equal(&two.get(0)) && spread.get(2).equal(&two.get(1)));
    }
}
