#![no_main]

fuzz::fuzz!(targets::scores);
