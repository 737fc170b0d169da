#![no_main]

fuzz::fuzz!(engine_targets::prompt_file);
