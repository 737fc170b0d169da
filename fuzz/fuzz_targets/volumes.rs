#![no_main]

fuzz::fuzz!(targets::volumes);
