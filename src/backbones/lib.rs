//! Published backbones beside those of the engine. Linking this crate registers their `[backbone]` tables.

pub mod hiera;
pub mod tiny_vit;
pub mod vit;
