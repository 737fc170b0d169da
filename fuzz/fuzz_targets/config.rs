#![no_main]

fuzz::fuzz!(engine_targets::config);
