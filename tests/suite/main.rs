//! The integration tests, one module a subject, linked once.

mod backbone_support;
mod coco;
mod coco_hostile;
mod coco_masks;
mod config;
mod image_lists;
mod parity_backbone;
mod parity_resnet;
mod run_folder;
mod support;
mod tensorboard;
mod training;
mod weights;
mod weights_hostile;
mod weights_upstream;
