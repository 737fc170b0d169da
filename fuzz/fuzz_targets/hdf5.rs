#![no_main]

fuzz::fuzz!(targets::hdf5);
