//! Hands memory filled by Rust to libtorch without a copy.

use std::ffi::c_void;

use tch::Tensor;

use crate::{ShimError, ffi};

/// Values, and the function that takes them back.
type Owner = (Vec<f32>, Box<dyn FnOnce(Vec<f32>) + Send>);

/// A CPU fp32 tensor of `sizes` that uses the memory of `values`. When its storage is freed, on
/// whatever thread, `give_back` receives the values, to reuse or drop; it must not panic.
///
/// # Errors
/// When `sizes` do not multiply to the number of values, or libtorch fails.
pub fn tensor_from_vec(
    values: Vec<f32>,
    sizes: &[i64],
    give_back: impl FnOnce(Vec<f32>) + Send + 'static,
) -> Result<Tensor, ShimError> {
    let count = sizes.iter().try_fold(1usize, |n, &s| n.checked_mul(usize::try_from(s).ok()?));
    if count != Some(values.len()) {
        let got = values.len();
        return Err(ShimError(format!("{got} values cannot fill a tensor of sizes {sizes:?}")));
    }
    let mut owner: Box<Owner> = Box::new((values, Box::new(give_back)));
    let data = owner.0.as_mut_ptr();
    let owner = Box::into_raw(owner);
    let mut out = std::ptr::null_mut();
    // SAFETY: `data` holds as many floats as `sizes` require, stays in place until `end` takes its
    // owner back, and Rust does not touch it in between. libtorch calls `end` once: with the
    // last tensor on the storage, or if it fails after it has taken over the deleter.
    ffi::check(unsafe {
        ffi::shim_adopt_f32(data, sizes.as_ptr(), sizes.len(), owner.cast(), end, &mut out)
    })?;
    // SAFETY: a new tensor that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

extern "C" fn end(owner: *mut c_void) {
    // SAFETY: created by `Box::into_raw` in `tensor_from_vec`, given back once.
    let (values, give_back) = *unsafe { Box::from_raw(owner.cast::<Owner>()) };
    give_back(values);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tensor_holds_the_values_and_outlives_its_views() {
        let tensor = tensor_from_vec(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3], drop).unwrap();
        let row = tensor.get(1);
        drop(tensor);
        assert_eq!(Vec::<f32>::try_from(row).unwrap(), [4.0, 5.0, 6.0]);
        assert_eq!(tensor_from_vec(Vec::new(), &[0, 3], drop).unwrap().size(), [0, 3]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        for sizes in [&[3][..], &[-2, -1], &[i64::MAX, 4]] {
            assert!(tensor_from_vec(vec![0.0; 2], sizes, drop).is_err(), "{sizes:?}");
        }
    }
}
