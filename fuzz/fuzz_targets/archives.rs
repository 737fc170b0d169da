#![no_main]

fuzz::fuzz!(targets::archives);
