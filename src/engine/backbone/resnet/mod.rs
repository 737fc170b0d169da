//! ResNet, 18 to 152 layers (He et al. 2016), with torchvision's variable names and its placement of
//! the stride (on the 3×3 convolution). Batch norms use their stored statistics, even in
//! training, as the reference's fine-tuning does, unless `norm_eval = false`.

mod block;
mod config;
mod encoder;

pub use config::ResNetConfig;
