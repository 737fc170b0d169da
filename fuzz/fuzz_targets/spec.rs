#![no_main]

fuzz::fuzz!(targets::spec);
