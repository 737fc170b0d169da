#![no_main]

fuzz::fuzz!(targets::images);
