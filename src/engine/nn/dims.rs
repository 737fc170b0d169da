//! The sizes of a tensor whose rank is known.

use tch::Tensor;

/// Destructures a tensor's shape: `let [b, c, h, w] = x.dims();`.
pub trait Dims {
    /// The size of each of `N` dimensions.
    ///
    /// # Panics
    /// If the tensor has another rank: names its shape and the caller. Within a task a panic becomes an
    /// error with the step and the images.
    fn dims<const N: usize>(&self) -> [i64; N];
}

impl Dims for Tensor {
    #[track_caller]
    #[expect(clippy::panic, reason = "a wrong rank is a fault of the code, never of its input")]
    fn dims<const N: usize>(&self) -> [i64; N] {
        let size = self.size();
        <[i64; N]>::try_from(size.as_slice()).unwrap_or_else(|_| {
            panic!("expected a tensor of {N} dimensions, got one of the shape {size:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::panics::caught;
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_wrong_rank_names_the_shape() {
        let x = Tensor::zeros([2, 3, 4], (Kind::Float, Device::Cpu));
        let [b, h, w] = x.dims();
        assert_eq!((b, h, w), (2, 3, 4));
        let message = caught(|| x.dims::<4>()).unwrap_err();
        assert_eq!(message, "expected a tensor of 4 dimensions, got one of the shape [2, 3, 4]");
    }
}
