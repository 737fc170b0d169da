//! Number formats that lose nothing: 16 bits are widened to fp32, fp64 stays fp64.

use tch::{Kind, Tensor};

/// The format in which to sum or compare values of `x`: fp64 if they are fp64, else fp32, which autocast's
/// 16-bit tensors, masks and bytes need for it.
pub fn wide_kind(x: &Tensor) -> Kind {
    if x.kind() == Kind::Double { Kind::Double } else { Kind::Float }
}

/// The values in [`wide_kind`]: casts 16-bit tensors left by autocast to fp32; fp32 and fp64 stay as
/// they are.
pub fn at_least_float(x: &Tensor) -> Tensor {
    x.to_kind(wide_kind(x))
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn only_what_is_narrower_than_fp32_is_widened() {
        for (kind, expected) in [
            (Kind::Bool, Kind::Float),
            (Kind::Uint8, Kind::Float),
            (Kind::BFloat16, Kind::Float),
            (Kind::Float, Kind::Float),
            (Kind::Double, Kind::Double),
        ] {
            let x = Tensor::ones([3], (kind, Device::Cpu));
            let wide = at_least_float(&x);
            assert_eq!((wide.kind(), wide_kind(&x)), (expected, expected), "{kind:?}");
            assert_eq!(wide.data_ptr() == x.data_ptr(), kind == expected, "{kind:?}");
        }
    }
}
