#![no_main]

fuzz::fuzz!(targets::video);
