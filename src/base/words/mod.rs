//! Numbers and names in messages, so that each reads the same wherever it is printed. For people
//! only: `--json` output and files hold the plain numbers.

mod counts;
mod duration;
mod figures;
mod near;
mod shell;
mod sizes;

pub use counts::{abbreviated, counted, listed, with_commas};
pub use duration::duration;
pub use figures::{number, percent, score, share, short, significant, two_decimals};
pub use near::{aside, closest, did_you_mean, likeness, question};
pub use shell::shell_word;
pub use sizes::{bytes, exact_bytes};
