#![no_main]

fuzz::fuzz!(engine_targets::list_file);
