#![no_main]

fuzz::fuzz!(targets::polygons);
