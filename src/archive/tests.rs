//! Archives packed, unpacked, broken and forged.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use anyhow::Result;
use sonotune_base::stop::StopFlag;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{
    Inner, Into, Limits, Tree,
    pack::{self, Format, pack, pack_files},
    unpack,
};

type Entries = Vec<(String, Vec<u8>)>;

/// A folder for one test: `source` holds what is unpacked, `work` receives it.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn unpack(&self, name: &str, inner: &[Inner]) -> Result<Tree> {
        self.unpack_within(name, inner, &Limits::default())
    }

    fn unpack_within(&self, name: &str, inner: &[Inner], limits: &Limits) -> Result<Tree> {
        let source = self.folder.path().join("source").join(name);
        unpack(&source, inner, &self.work(), limits, &|_| {}, &StopFlag::default())
    }

    /// The error of unpacking `bytes`; whatever it is, nothing may be written outside or left half done.
    fn refusal(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        let error = self.unpack(name, &[]).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 3, "{error:#}");
        let left = fs::read_dir(self.work()).map_or(0, |entries| {
            entries.filter(|e| e.as_ref().unwrap().file_name() != ".lock").count()
        });
        assert_eq!(left, 0, "a refused archive leaves nothing");
        let outside: Vec<_> = fs::read_dir(self.folder.path()).unwrap().flatten().collect();
        assert!(
            outside.iter().all(|e| ["source", "work"].contains(&&*e.file_name().to_string_lossy()))
        );
        let text = format!("{error:#}");
        assert!(text.starts_with(name), "names the archive: {text}");
        text
    }
}

fn entries(list: &[(&str, &str)]) -> Entries {
    list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn inner(files: &str, into: Into) -> Inner {
    Inner { files: files.to_owned(), into }
}

fn content(tree: &Tree) -> Vec<(String, String)> {
    let read = |path: &Path| String::from_utf8(fs::read(path).unwrap()).unwrap();
    tree.files.iter().map(|(key, path)| (key.clone(), read(path))).collect()
}

fn texts(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

/// Every third text repeats, every other does not, some are longer than a buffer.
fn sample(count: usize) -> Entries {
    let text = |i: usize| match i % 5 {
        0 => Vec::new(),
        1 => vec![b'x'; 300_000],
        _ => (0..i * 37 + 1000).map(|j| ((i * 31 + j * j * 7 + j / 3) % 251) as u8).collect(),
    };
    (0..count).map(|i| (format!("set/{}/{i:03}.bin", i % 4), text(i))).collect()
}

fn check_sample(tree: &Tree, entries: &Entries) {
    let expected: std::collections::BTreeMap<_, _> = entries.iter().cloned().collect();
    assert_eq!(tree.files.len(), expected.len());
    for ((key, path), (name, bytes)) in tree.files.iter().zip(&expected) {
        assert_eq!(key, name);
        assert!(&fs::read(path).unwrap() == bytes, "{key}");
    }
}

#[test]
fn every_format_gives_back_what_was_packed_whatever_its_name() {
    let packed = sample(40);
    for format in [
        Format::Zip,
        Format::Tar,
        Format::TarGz,
        Format::SevenZ,
        Format::RarStored,
        Format::SplitZip { part_bytes: 100_000 },
    ] {
        let bench = Bench::new();
        pack(format, &packed, &bench.path("data.change2zip")).unwrap();
        let heard = AtomicU64::new(0);
        let tree = unpack(
            &bench.path("data.change2zip"),
            &[],
            &bench.work(),
            &Limits::default(),
            &|bytes| {
                heard.fetch_add(bytes, Relaxed);
            },
            &StopFlag::default(),
        )
        .unwrap_or_else(|e| panic!("{format:?}: {e:#}"));
        check_sample(&tree, &packed);
        assert_eq!(tree.archives, ["data.change2zip"]);
        let total: usize = packed.iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(heard.into_inner(), total as u64, "{format:?}");
    }
}

#[test]
fn a_folder_is_read_in_place() {
    let bench = Bench::new();
    for name in ["b/2.png", "b/1.png", "a.txt", ".hidden", "__MACOSX/b/._1.png", ".git/HEAD"] {
        fs::write(bench.path(name), name).unwrap();
    }
    fs::write(bench.folder.path().join("secret"), "s").unwrap();
    std::os::unix::fs::symlink("b/1.png", bench.path("inside.png")).unwrap();
    std::os::unix::fs::symlink("../secret", bench.path("outside.png")).unwrap();
    let tree = bench.unpack("", &[inner("**/*.zip", Into::Beside)]).unwrap();
    let keys: Vec<_> = tree.files.keys().map(String::as_str).collect();
    assert_eq!(keys, ["a.txt", "b/1.png", "b/2.png", "inside.png", "outside.png"]);
    assert_eq!((tree.hidden, tree.links), (3, 0));
    assert_eq!(tree.unmatched, ["**/*.zip"]);
    assert!(!bench.work().exists(), "nothing to unpack");
    assert_eq!(content(&Tree::open(&bench.path("")).unwrap()), content(&tree));
}

#[test]
fn a_damaged_inner_archive_is_named_with_the_one_that_holds_it() {
    let bench = Bench::new();
    let outer = pack_files(Format::Zip, &entries(&[("inner.zip", "no archive")]), "x.zip").unwrap();
    fs::write(bench.path("x.zip"), &outer[0].1).unwrap();
    let error = bench.unpack("x.zip", &[inner("*.zip", Into::Beside)]).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 3, "{error:#}");
    let error = format!("{error:#}");
    assert!(error.contains("x.zip: inner.zip: is not a supported archive"), "{error}");
}

#[test]
fn inner_archives_appear_beside_or_in_a_folder_of_their_own() {
    for into in [Into::Beside, Into::OwnFolder] {
        let bench = Bench::new();
        fs::write(bench.path("BUID/readme"), "r").unwrap();
        pack(Format::Zip, &entries(&[("Benign/1.bmp", "b")]), &bench.path("BUID/Benign.zip"))
            .unwrap();
        pack(Format::RarStored, &entries(&[("1.bmp", "m")]), &bench.path("BUID/Mal.rar")).unwrap();
        let tree = bench.unpack("", &[inner("BUID/*.zip", into), inner("**/*.rar", into)]).unwrap();
        let expected = match into {
            Into::Beside => [("BUID/1.bmp", "m"), ("BUID/Benign/1.bmp", "b"), ("BUID/readme", "r")],
            Into::OwnFolder => {
                [("BUID/Benign/Benign/1.bmp", "b"), ("BUID/Mal/1.bmp", "m"), ("BUID/readme", "r")]
            }
        };
        assert_eq!(content(&tree), texts(&expected));
        assert_eq!(tree.archives, ["BUID/Benign.zip", "BUID/Mal.rar"]);
        assert!(tree.unmatched.is_empty());
    }
}

#[test]
fn a_work_folder_inside_the_source_is_no_part_of_it() {
    let bench = Bench::new();
    pack(Format::Zip, &entries(&[("1.txt", "one")]), &bench.path("a.zip")).unwrap();
    let (source, work) = (bench.path(""), bench.path("work"));
    let all = [inner("*.zip", Into::Beside)];
    for _ in 0..2 {
        let limits = Limits::default();
        let tree = unpack(&source, &all, &work, &limits, &|_| {}, &StopFlag::default()).unwrap();
        assert_eq!(content(&tree), texts(&[("1.txt", "one")]));
    }
}

#[test]
fn a_split_zip_inside_a_zip_is_joined_from_its_parts() {
    let bench = Bench::new();
    let images = sample(20);
    let mut outer =
        pack_files(Format::SplitZip { part_bytes: 50_000 }, &images, "u/set.change2zip").unwrap();
    // The parts are beside the last one.
    for (name, _) in &mut outer {
        *name = format!("u/{}", name.trim_start_matches("u/"));
    }
    assert!(outer.len() > 5, "{} parts", outer.len());
    pack(Format::Zip, &outer, &bench.path("cardiacUDC.zip")).unwrap();
    let tree = bench.unpack("cardiacUDC.zip", &[inner("**/*.change2zip", Into::Beside)]).unwrap();
    let expected = images.into_iter().map(|(name, bytes)| (format!("u/{name}"), bytes)).collect();
    check_sample(&tree, &expected);
    assert_eq!(tree.archives, ["cardiacUDC.zip", "u/set.change2zip"]);
}

#[test]
fn a_missing_part_is_named() {
    let bench = Bench::new();
    pack(Format::SplitZip { part_bytes: 50_000 }, &sample(20), &bench.path("x.zip")).unwrap();
    fs::remove_file(bench.path("x.z03")).unwrap();
    let error = format!("{:#}", bench.unpack("x.zip", &[]).unwrap_err());
    assert!(error.contains("x.z03 is missing"), "{error}");
    fs::remove_file(bench.path("x.z02")).unwrap();
    let error = format!("{:#}", bench.unpack("x.zip", &[]).unwrap_err());
    assert!(error.contains("x.z02 and 1 more is missing"), "{error}");
    let error = format!("{:#}", bench.unpack("x.z01", &[]).unwrap_err());
    assert!(error.contains("pass its last part instead, usually x.zip"), "{error}");
}

#[test]
fn pieces_are_joined_and_a_missing_one_is_told() {
    for format in [Format::Zip, Format::TarGz, Format::SevenZ, Format::RarStored] {
        let bench = Bench::new();
        let packed = sample(20);
        let whole = pack_files(format, &packed, "x").unwrap().remove(0).1;
        let pieces: Vec<_> = whole.chunks(whole.len() / 3 + 1).collect();
        for (i, piece) in pieces.iter().enumerate() {
            fs::write(bench.path(&format!("x.bin.{:03}", i + 1)), piece).unwrap();
        }
        check_sample(&bench.unpack("x.bin.001", &[]).unwrap(), &packed);
        let tree = bench.unpack("", &[inner("x.*", Into::Beside)]).unwrap();
        check_sample(&tree, &packed);
        let error = format!("{:#}", bench.unpack("x.bin.002", &[]).unwrap_err());
        assert!(error.contains("pass x.bin.001 instead"), "{error}");
        fs::remove_file(bench.path("x.bin.003")).unwrap();
        bench.unpack("x.bin.001", &[]).unwrap_err();
    }
}

#[test]
fn archives_deeper_than_allowed_are_refused() {
    let bench = Bench::new();
    let mut bytes = pack_files(Format::Zip, &entries(&[("x.txt", "x")]), "0.zip").unwrap();
    for depth in 1..5 {
        bytes = pack_files(Format::Zip, &bytes, &format!("{depth}.zip")).unwrap();
    }
    fs::write(bench.path("4.zip"), &bytes[0].1).unwrap();
    let all = [inner("**/*.zip", Into::Beside)];
    let error = format!("{:#}", bench.unpack("4.zip", &all).unwrap_err());
    assert!(error.contains("0.zip: archives are nested more than 4 deep"), "{error}");
    let limits = Limits { max_depth: 5, ..Limits::default() };
    let tree = bench.unpack_within("4.zip", &all, &limits).unwrap();
    assert_eq!(content(&tree), texts(&[("x.txt", "x")]));
}

#[test]
fn one_path_in_folder_and_archive_must_have_one_content() {
    let bench = Bench::new();
    fs::write(bench.path("a/1.txt"), "same").unwrap();
    pack(Format::Zip, &entries(&[("a/1.txt", "same"), ("a/2.txt", "2")]), &bench.path("a.zip"))
        .unwrap();
    let all = [inner("*.zip", Into::Beside)];
    let tree = bench.unpack("", &all).unwrap();
    assert_eq!(content(&tree), texts(&[("a/1.txt", "same"), ("a/2.txt", "2")]));
    fs::write(bench.path("a/1.txt"), "else").unwrap();
    let error = format!("{:#}", bench.unpack("", &all).unwrap_err());
    assert!(error.contains("a/1.txt: is both in the folder and in a.zip"), "{error}");
}

#[test]
fn a_second_call_reuses_and_a_changed_archive_is_unpacked_anew() {
    let bench = Bench::new();
    let archive = bench.path("x.zip");
    pack(Format::Zip, &entries(&[("1.txt", "one")]), &archive).unwrap();
    let first = bench.unpack("x.zip", &[]).unwrap();
    let place = first.files["1.txt"].clone();
    // The same size, so that only reuse keeps it.
    fs::write(&place, "ONE").unwrap();
    assert_eq!(content(&bench.unpack("x.zip", &[]).unwrap()), texts(&[("1.txt", "ONE")]));
    // A missing file is noticed.
    fs::remove_file(&place).unwrap();
    assert_eq!(content(&bench.unpack("x.zip", &[]).unwrap()), texts(&[("1.txt", "one")]));
    pack(Format::Zip, &entries(&[("1.txt", "two")]), &archive).unwrap();
    assert_eq!(content(&bench.unpack("x.zip", &[]).unwrap()), texts(&[("1.txt", "two")]));
}

#[test]
fn what_a_killed_run_left_is_removed_and_finished_archives_stay() {
    let bench = Bench::new();
    pack(Format::Zip, &entries(&[("1.txt", "one")]), &bench.path("a.zip")).unwrap();
    pack(Format::Zip, &entries(&[("2.txt", "two")]), &bench.path("b.zip")).unwrap();
    let all = [inner("*.zip", Into::Beside)];
    let tree = bench.unpack("", &all).unwrap();
    let (one, two) = (tree.files["1.txt"].clone(), tree.files["2.txt"].clone());
    fs::write(&one, "ONE").unwrap();
    // As if killed within b.zip: its folder does not have its final name yet and holds half a file.
    let slot = two.parent().unwrap().parent().unwrap();
    let partial = slot.with_file_name(format!("{}.partial", slot.file_name().unwrap().display()));
    fs::rename(slot, &partial).unwrap();
    fs::remove_file(partial.join("unpacked.json")).unwrap();
    fs::write(partial.join("files/2.txt"), "t").unwrap();
    fs::write(partial.join("files/stray"), "t").unwrap();
    let again = bench.unpack("", &all).unwrap();
    assert_eq!(content(&again), texts(&[("1.txt", "ONE"), ("2.txt", "two")]));
    assert!(!partial.exists());
}

#[test]
fn a_stop_ends_it_and_the_next_call_goes_on() {
    let bench = Bench::new();
    pack(Format::Zip, &sample(40), &bench.path("x.zip")).unwrap();
    let stop = StopFlag::default();
    let raise = |_| stop.raise();
    let archive = bench.path("x.zip");
    let error =
        unpack(&archive, &[], &bench.work(), &Limits::default(), &raise, &stop).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 130, "{error:#}");
    check_sample(&bench.unpack("x.zip", &[]).unwrap(), &sample(40));
}

#[test]
fn two_processes_do_not_share_a_work_folder() {
    let bench = Bench::new();
    pack(Format::Zip, &sample(4), &bench.path("x.zip")).unwrap();
    let held = super::slot::WorkFolder::lock(&bench.work()).unwrap();
    let error = format!("{:#}", bench.unpack("x.zip", &[]).unwrap_err());
    assert!(error.contains("another process unpacks archives into"), "{error}");
    drop(held);
    bench.unpack("x.zip", &[]).unwrap();
}

#[test]
fn one_and_many_threads_give_the_same_files_and_the_same_error() {
    let packed = sample(200);
    let mut damaged = pack_files(Format::Zip, &packed, "x").unwrap().remove(0).1;
    let good = damaged.clone();
    // In the data of many entries.
    for at in (5_000..damaged.len() * 3 / 4).step_by(3_001) {
        damaged[at] ^= 0x10;
    }
    let mut results = Vec::new();
    for threads in [1, 2, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let bench = Bench::new();
        fs::write(bench.path("x.zip"), &good).unwrap();
        pool.install(|| check_sample(&bench.unpack("x.zip", &[]).unwrap(), &packed));
        fs::write(bench.path("x.zip"), &damaged).unwrap();
        let error = pool.install(|| bench.unpack("x.zip", &[]).unwrap_err());
        results.push(format!("{error:#}"));
    }
    results.dedup();
    assert_eq!(results.len(), 1, "{results:#?}");
}

#[test]
fn a_bad_glob_is_an_error_of_the_config() {
    let bench = Bench::new();
    bench.path("x");
    let error = bench.unpack("", &[inner("a[", Into::Beside)]).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 2, "{error:#}");
    assert!(format!("{error:#}").contains("\"a[\""), "{error:#}");
}

#[test]
fn inner_archives_are_written_in_snake_case() {
    let read = |text: &str| toml::from_str::<Inner>(text);
    assert_eq!(read("files = \"*.zip\"").unwrap(), inner("*.zip", Into::Beside));
    let own = read("files = \"*.zip\"\ninto = \"own_folder\"").unwrap();
    assert_eq!(own, inner("*.zip", Into::OwnFolder));
    assert!(read("files = \"*.zip\"\nunpack_to = \"beside\"").is_err());
}

mod forms;
mod hostile;
mod listing;
