//! The `sonotune` binary: names the task plugins it links and hands over to the engine.

// A plugin registers itself when it is linked, and it is linked only when something names it.
use classification as _;
use mask2former as _;
use sam_prompt as _;

fn main() -> std::process::ExitCode {
    sonotune_cli::run()
}
