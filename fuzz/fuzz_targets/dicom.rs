#![no_main]

fuzz::fuzz!(targets::dicom);
