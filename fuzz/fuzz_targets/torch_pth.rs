#![no_main]

fuzz::fuzz!(engine_targets::torch_pth);
