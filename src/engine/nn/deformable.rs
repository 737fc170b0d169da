//! Sampling at places a network chooses: multi-scale deformable attention, and maps at points.
//!
//! The kernels are in the shim, the only crate that talks to C++.

pub use sonotune_shim::{
    ms_deform_attn, ms_deform_attn_composite, point_sample, point_sample_composite,
};
