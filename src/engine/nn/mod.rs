//! Layers shared by backbones and task heads. Parameters are named as PyTorch names them, so that
//! a variable's path is its key in an upstream checkpoint.

pub mod attention;
pub mod deformable;
mod dims;
mod dropout;
mod init;
mod linear;
pub mod lora;
mod mlp;
mod norm;
mod wide;

pub use dims::Dims;
pub use dropout::{Rows, dropout};

pub use init::{conv_default, kaiming_normal_fan_out, trunc_normal};
pub use linear::{Linear, linear};
pub use mlp::Mlp;
pub use norm::{LayerNorm, LayerNorm2d};
pub use wide::{at_least_float, wide_kind};
