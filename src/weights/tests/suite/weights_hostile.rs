//! Damaged and malicious weight files: always an immediate error, and nothing is executed.

use std::{path::Path, time::Instant};

use sonotune_base::seed::Rng;
use sonotune_weights as weights;

use sonotune_testing::fixture;

/// Opens `bytes` as a file and reads all that it lists.
fn open_and_read(path: &Path, bytes: &[u8]) -> Result<usize, String> {
    std::fs::write(path, bytes).unwrap();
    let file = weights::open(path).map_err(|error| format!("{error:#}"))?;
    for entry in file.entries() {
        let _ = file.read(&entry.name).map_err(|error| format!("{error:#}"))?;
    }
    let inspection = weights::Inspection::of(&file);
    assert!(!inspection.words(true).is_empty());
    Ok(file.entries().len())
}

/// A legacy file around one pickle of the saved object.
fn legacy(object: &[u8]) -> Vec<u8> {
    let mut bytes =
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    bytes.extend(object);
    bytes.extend(b"\x80\x02].");
    bytes
}

/// Like [`legacy`], with a storage `0` of one number.
fn legacy_with_storage(object: &[u8]) -> Vec<u8> {
    let mut bytes = legacy(object);
    bytes.truncate(bytes.len() - 4);
    bytes.extend(b"\x80\x02]X\x01\x00\x00\x000a.\x01\0\0\0\0\0\0\0\0\0\x80\x3f");
    bytes
}

#[test]
fn mutated_files_never_panic_or_hang() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mutated");
    let (mut opened, mut refused) = (0, 0);
    for (number, name) in [
        "zip.pth",
        "legacy.pth",
        "tar.pth",
        "oddities.pth",
        "oddities_legacy.pth",
        "layouts.safetensors",
        "mmengine.pth",
        "numpy.pkl",
        "numpy_protocol5.pkl",
    ]
    .iter()
    .enumerate()
    {
        let valid = std::fs::read(fixture(&format!("weights/{name}"))).unwrap();
        for round in 0..150 {
            let mut rng = Rng::at(11, &[number as u64, round]);
            let bytes = mutate(&valid, &mut rng);
            let start = Instant::now();
            match open_and_read(&path, &bytes) {
                Ok(_) => opened += 1,
                Err(error) => {
                    assert!(error.contains("mutated"), "{error}");
                    refused += 1;
                }
            }
            assert!(start.elapsed().as_secs() < 20, "{name}, round {round}");
        }
    }
    // Some mutations hit numbers only; most hit something that matters.
    assert!(opened > 50 && refused > 300, "{opened} opened, {refused} refused");
}

/// Flips bytes, cuts, repeats or overwrites a range; mostly near the ends, where structure is.
fn mutate(valid: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    let len = bytes.len() as u64;
    let place = |rng: &mut Rng| match rng.below(3) {
        0 => rng.below(len) as usize,
        1 => rng.below(len.min(800)) as usize,
        _ => (len - 1 - rng.below(len.min(800))) as usize,
    };
    match rng.below(4) {
        0 => {
            let end = rng.below(len) as usize;
            bytes.truncate(end);
        }
        1 => {
            let (a, b) = (place(rng), place(rng));
            let stretch = bytes[a.min(b)..a.max(b).min(a.min(b) + 64)].to_vec();
            let at = place(rng);
            bytes.splice(at..at, stretch);
        }
        2 => {
            let at = place(rng);
            let value = [0x00, 0xff, 0x7f, 0x80][rng.below(4) as usize];
            let end = (at + 8).min(bytes.len());
            bytes[at..end].fill(value);
        }
        _ => {
            for _ in 0..=rng.below(4) {
                let at = place(rng);
                bytes[at] = rng.next_u64() as u8;
            }
        }
    }
    bytes
}

#[test]
fn every_truncation_of_a_small_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in ["layouts.safetensors", "legacy.pth", "numpy.pkl", "numpy_protocol5.pkl"] {
        let valid = std::fs::read(fixture(&format!("weights/{name}"))).unwrap();
        for end in (0..valid.len()).step_by(7) {
            assert!(open_and_read(&path, &valid[..end]).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb");
    // Each tuple holds the one before twice: 2^200 values in a kilobyte.
    let mut doubling = b"\x80\x02)q\x00".to_vec();
    for _ in 0..200 {
        doubling.extend(b"h\x00h\x00\x86q\x00");
    }
    doubling.push(b'.');
    let mut nested = b"\x80\x02".to_vec();
    nested.extend(vec![b']'; 100_000]);
    nested.extend(vec![b'a'; 99_999]);
    nested.push(b'.');
    let mut marks = b"\x80\x02".to_vec();
    marks.extend(vec![b'('; 10_000_000]);
    let cycle = b"\x80\x02]q\x00h\x00a.".to_vec();
    let dict_cycle = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.".to_vec();
    let long_bytes = b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.".to_vec();
    let long_int = b"\x80\x02\x8b\xff\xff\xff\x7f.".to_vec();
    for (name, object) in [
        ("doubling", doubling),
        ("nested", nested),
        ("marks", marks),
        ("cycle", cycle),
        ("dict cycle", dict_cycle),
        ("long bytes", long_bytes),
        ("long int", long_int),
    ] {
        let start = Instant::now();
        let error = open_and_read(&path, &legacy(&object)).unwrap_err();
        assert!(error.contains("bomb"), "{name}: {error}");
        assert!(start.elapsed().as_secs() < 20, "{name} took {:?}", start.elapsed());
    }
}

/// Small files that name one large thing in many places.
#[test]
fn what_is_shared_without_end_is_refused_before_it_unfolds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.pth");
    // A text of 200 kB and a tensor of 60 axes, memoised as 0 and 1.
    let mut noted = b"\x80\x02X\x40\x0d\x03\x00".to_vec();
    noted.extend(vec![b'n'; 200_000]);
    noted.extend(b"q\x000ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01NtQK\x00(");
    noted.extend(b"K\x01".repeat(60));
    noted.extend(b"tq\x02h\x02\x89NtRq\x010");
    let after = |rest: &[&[u8]]| [noted.as_slice(), &rest.concat(), b"."].concat();
    let many = 100_000;
    // A dict with the same number of entries, memoised as 3.
    let dict = [b"}q\x03(".as_slice(), &b"K\x01h\x01".repeat(many), b"u0"].concat();
    for (what, object) in [
        // 20 GB of names in 600 kB.
        ("one name", after(&[b"}(", &b"h\x00h\x01".repeat(many), b"u"])),
        (
            "one name beside",
            after(&[b"}(X\x05\x00\x00\x00model}K\x01h\x01s", &b"h\x00K\x01".repeat(many), b"u"]),
        ),
        ("one prefix", after(&[b"}h\x00](", &b"h\x01".repeat(many), b"es"])),
        ("one shape", after(&[b"](", &b"h\x01".repeat(3 * many), b"e"])),
        ("one argument", after(&[&dict, b"ccollections\nD\n(", &b"h\x03".repeat(many), b"tR"])),
        ("one state", after(&[&dict, b"](", &b"ca\nb\n)Rh\x03b".repeat(many), b"h\x01e"])),
        (
            "one key of a storage",
            after(&[
                b"](",
                &b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nh\x00K\x01K\x01NtQ".repeat(many),
                b"h\x01e",
            ]),
        ),
    ] {
        let start = Instant::now();
        let result = open_and_read(&path, &legacy_with_storage(&object));
        assert!(start.elapsed().as_secs() < 20, "{what} took {:?}", start.elapsed());
        match (what, result) {
            // Inspected eight times at most; and a key this long does not name a storage.
            ("one argument" | "one key of a storage", Ok(entries)) => assert_eq!(entries, 1),
            (_, Err(error)) => assert!(error.contains("unfold to more than"), "{what}: {error}"),
            (_, Ok(entries)) => panic!("{what}: {entries} tensors"),
        }
    }
}

#[test]
fn a_cycle_that_holds_a_tensor_is_refused() {
    // state = {'a': tensor, 'loop': state}, with the storage that the legacy format requires.
    let object = b"\x80\x02}q\x00(X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01NtQK\x00K\x01\x85K\x01\x85\x89NtRX\x04\x00\x00\x00looph\x00u.";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cycle.pth");
    let error = open_and_read(&path, &legacy_with_storage(object)).unwrap_err();
    assert!(error.contains("contains itself"), "{error}");
}

#[test]
fn a_pickle_that_calls_os_system_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("witness");
    let object = format!("\u{0}cposix\nsystem\n(S'touch {}'\ntR.", witness.display());
    let error = open_and_read(&folder.path().join("evil.pth"), &legacy(&object.as_bytes()[1..]))
        .unwrap_err();
    assert!(error.contains("it holds no tensor"), "{error}");
    assert!(!witness.exists());
}

#[test]
fn common_mistakes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    for (bytes, words) in [
        (&b""[..], "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x1f\x8b\x08\x00", "compressed with gzip"),
        (b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00}.", "a plain pickle"),
        (b"\x80\x04B\xff\xff\xff\xffabc.", "are announced, 4 are left"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{\"a\"", "claims 255 bytes"),
        (b"something else altogether", "its kind is unknown"),
        (b"PK\x03\x04 cut off", "is the file cut off?"),
    ] {
        let error = open_and_read(&path, bytes).unwrap_err();
        assert!(error.contains(words) && error.contains("weights.pth"), "{error}");
    }
}

#[test]
fn big_endian_files_are_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.pth");
    let mut bytes = legacy(b"\x80\x02}.");
    let at = bytes.windows(2).rposition(|pair| pair == b"}.").unwrap();
    // The first empty dict is the system information.
    let first = bytes.windows(2).position(|pair| pair == b"}.").unwrap();
    assert!(first < at);
    bytes.splice(first..first + 1, b"}X\x0d\x00\x00\x00little_endian\x89s".iter().copied());
    let error = open_and_read(&path, &bytes).unwrap_err();
    assert!(error.contains("big-endian"), "{error}");
    let zip = std::fs::read(fixture("weights/zip.pth")).unwrap();
    let at = zip.windows(6).position(|word| word == b"little").unwrap();
    let mut zip = zip;
    zip[at..at + 6].copy_from_slice(b"big   ");
    let error = open_and_read(&path, &zip).unwrap_err();
    // The record's checksum no longer fits either; both are refusals.
    assert!(error.contains("big-endian") || error.contains("byteorder"), "{error}");
}
