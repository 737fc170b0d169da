//! The ONNX counterparts of libtorch's operators.

mod arithmetic;
mod layers;
mod reduction;
mod shape;

use anyhow::Result;

use super::convert::Call;

/// What an operator gives.
pub(crate) enum Results {
    One(String),
    List(Vec<String>),
}

/// Adds the counterpart of an operator.
///
/// # Errors
/// Of kind config if there is none.
pub(crate) fn convert(call: &mut Call<'_, '_>) -> Result<Results> {
    let families = [arithmetic::convert, layers::convert, reduction::convert, shape::convert];
    for family in families {
        if let Some(results) = family(call)? {
            return Ok(results);
        }
    }
    call.refuse("")
}

/// As a family gives it.
fn one(name: String) -> Result<Option<Results>> {
    Ok(Some(Results::One(name)))
}
