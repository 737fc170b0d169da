#![no_main]

fuzz::fuzz!(targets::coco_file);
