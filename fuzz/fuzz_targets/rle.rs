#![no_main]

fuzz::fuzz!(targets::rle);
