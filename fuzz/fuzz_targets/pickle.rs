#![no_main]

fuzz::fuzz!(targets::pickle);
