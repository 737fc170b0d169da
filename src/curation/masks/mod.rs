//! Turns the pixels of a mask file into objects.

mod clean;
mod components;
mod decode;
mod fit;
mod stored;

pub use clean::clean;
pub(crate) use clean::{foreground, keep_where, outside};
pub use components::{Connectivity, components, largest_component};
pub use decode::{Decoder, UnknownValue};
pub use fit::fit;
pub use stored::{Refusal, StoredMask};
