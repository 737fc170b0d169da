#![no_main]

fuzz::fuzz!(targets::arrays);
