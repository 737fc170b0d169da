//! Around a target: a limit on memory, and panics told apart.

use std::{
    alloc::System, collections::HashSet, fs::OpenOptions, io::Write, panic::PanicHookInfo,
    sync::Mutex,
};

use cap::Cap;

/// Rust's allocations; those of libtorch count towards libFuzzer's own `-rss_limit_mb` alone.
pub type Allocator = Cap<System>;

/// Megabytes that a target may hold at one time, unless `SONOTUNE_FUZZ_MEMORY_MB` says otherwise.
const MEMORY_MB: usize = 256;

#[must_use]
pub const fn allocator() -> Allocator {
    Cap::new(System, usize::MAX)
}

/// Sets the limit, and takes libFuzzer's panic hook away.
///
/// That hook ends the process at every panic, also where the library catches the panics of an image
/// decoder on purpose. Without it a panic that escapes still ends the process: libFuzzer's entry
/// catches it and aborts. Each place where one arose is written once, to standard error and to the
/// file that `SONOTUNE_FUZZ_PANICS` names.
pub fn start(allocator: &'static Allocator) {
    let limit = std::env::var("SONOTUNE_FUZZ_MEMORY_MB").ok().and_then(|mb| mb.parse().ok());
    let bytes = limit.unwrap_or(MEMORY_MB) << 20;
    assert!(allocator.set_limit(bytes).is_ok(), "more than {bytes} bytes are held already");
    let seen = Mutex::new(HashSet::new());
    std::panic::set_hook(Box::new(move |panic| note(panic, &seen)));
}

fn note(panic: &PanicHookInfo, seen: &Mutex<HashSet<String>>) {
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let first = seen.lock().is_ok_and(|mut seen| seen.insert(place));
    if !first {
        return;
    }
    eprintln!("{panic}");
    if let Some(path) = std::env::var_os("SONOTUNE_FUZZ_PANICS") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let text = panic.to_string().replace('\n', " ");
        // A panic within the hook would hide the first one.
        drop(file.and_then(|mut file| writeln!(file, "{text}")));
    }
}
