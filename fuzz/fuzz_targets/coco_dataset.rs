#![no_main]

fuzz::fuzz!(engine_targets::coco_dataset);
