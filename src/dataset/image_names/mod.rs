//! From the name of an image in an annotation file to its file: names may come from another system, or from
//! another folder.

mod elsewhere;
mod folders;
mod located;
mod paths;
mod resolve;

pub use elsewhere::{Elsewhere, Places, sibling};
pub use located::Located;
pub use paths::{path_leaves, tidy};
pub use resolve::resolve;
