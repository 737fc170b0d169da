//! As [`targets`](super::targets), for what stands on libtorch.

mod config;
mod datasets;
mod weights;

pub use config::config;
pub use datasets::{coco_dataset, coco_results, list_file, prompt_file};
pub use weights::{safetensors, torch_pth};

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its folder of inputs.
pub const ALL: &[(&str, Target)] = &[
    ("coco_dataset", coco_dataset),
    ("coco_results", coco_results),
    ("config", config),
    ("torch_pth", torch_pth),
    ("safetensors", safetensors),
    ("prompt_file", prompt_file),
    ("list_file", list_file),
];
