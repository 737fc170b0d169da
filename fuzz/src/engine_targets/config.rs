//! Configs, with what they inherit and what overrides them.

use sonotune_base::ErrorKind;
use sonotune_run::config::{self, Loaded};

use super::super::targets::{accepted, scratch};

// Their configs are found by name once they are linked.
use {classification as _, mask2former as _, sam_prompt as _};

/// Parts separated by a line `%%`: the config, the files `base.toml` and `other.toml` that it may
/// extend, then overrides line by line.
pub fn config(bytes: &[u8]) {
    let mut parts = split(bytes, b"\n%%\n").into_iter();
    let path = scratch::file("hostile.toml", parts.next().unwrap_or_default());
    scratch::file("hostile_base.toml", parts.next().unwrap_or_default());
    scratch::file("hostile_other.toml", parts.next().unwrap_or_default());
    let overrides = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let overrides: Vec<String> = overrides.lines().map(str::to_owned).collect();
    let Some(loaded) = accepted(config::load(&path, &overrides), ErrorKind::Config, "") else {
        return;
    };
    use_config(&loaded);
    let _ = accepted(loaded.with_overrides(&overrides), ErrorKind::Config, "");
    let again = scratch::file("hostile_resolved.toml", loaded.resolved.as_bytes());
    let again = config::load(&again, &[]).expect("what was resolved loads");
    assert_eq!(again.resolved, loaded.resolved);
}

fn use_config(loaded: &Loaded) {
    assert!(!loaded.with_origins().is_empty());
    for (key, _) in loaded.origins() {
        let _ = loaded.locate(&key);
    }
}

fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}
