//! Forged and damaged archives, written byte by byte if writers refuse to produce them.

use flate2::{Compression, write::DeflateEncoder};

use super::*;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// A zip entry in which any field may be wrong.
#[derive(Clone)]
pub(super) struct Raw {
    name: Vec<u8>,
    method: u16,
    flags: u16,
    data: Vec<u8>,
    crc: u32,
    size: u32,
    mode: u32,
}

impl Raw {
    pub(super) fn new(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            method: STORED,
            flags: 0,
            data: content.to_vec(),
            crc: pack::crc(content),
            size: content.len() as u32,
            mode: 0o100_644,
        }
    }

    /// With a name in any encoding.
    pub(super) fn named(self, name: &[u8]) -> Self {
        Self { name: name.to_vec(), ..self }
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = vec![20, 0];
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.method.to_le_bytes());
        out.extend_from_slice(&[0, 0, 0x21, 0]);
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&(self.data.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out
    }

    fn directory(&self, at: usize) -> Vec<u8> {
        const UNIX: u8 = 3;
        let mut out = vec![b'P', b'K', 1, 2, 20, UNIX];
        out.extend_from_slice(&self.fields());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&(self.mode << 16).to_le_bytes());
        out.extend_from_slice(&(at as u32).to_le_bytes());
        out.extend_from_slice(&self.name);
        out
    }
}

pub(super) fn zip_of(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut places = Vec::new();
    for entry in entries {
        places.push(out.len());
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&entry.fields());
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(&entry.data);
    }
    let directory: Vec<_> =
        entries.iter().zip(places).flat_map(|(entry, at)| entry.directory(at)).collect();
    end(out, &directory, entries.len())
}

fn end(mut out: Vec<u8>, directory: &[u8], count: usize) -> Vec<u8> {
    let at = out.len() as u32;
    out.extend_from_slice(directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = (count as u16).to_le_bytes();
    out.extend_from_slice(&[count, count].concat());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::default());
    out.write_all(content).unwrap();
    out.finish().unwrap()
}

pub(super) fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Written raw: the crate refuses names that lead out.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_cksum();
        out.append(&header, *content).unwrap();
    }
    out.into_inner().unwrap()
}

pub(super) fn assert_says(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "{needle:?} is not in: {text}");
    }
}

const BAD_NAMES: [(&str, &str); 6] = [
    ("../evil", "has `..` in its path"),
    ("a/../../evil", "has `..` in its path"),
    ("/etc/evil", "has an absolute path"),
    ("C:/evil", "begins with a drive letter"),
    ("a\\..\\evil", "has `..` in its path"),
    ("/", "has an absolute path"),
];

#[test]
fn names_that_lead_out_are_refused_in_every_format() {
    for (name, wrong) in BAD_NAMES {
        let good = ("good.txt", tar::EntryType::Regular, b"g".as_slice());
        let mut archives = vec![
            zip_of(&[Raw::new("good.txt", b"g"), Raw::new(name, b"x")]),
            tar_of(&[good, (name, tar::EntryType::Regular, b"x")]),
        ];
        if name != "/" {
            let bad = entries(&[("good.txt", "g"), (name, "x")]);
            archives.push(pack_files(Format::RarStored, &bad, "x").unwrap().remove(0).1);
            archives.push(pack_files(Format::SevenZ, &bad, "x").unwrap().remove(0).1);
        }
        for bytes in archives {
            let text = Bench::new().refusal("x.bin", &bytes);
            assert_says(&text, &[wrong, &format!("{name:?}"), "Download it again"]);
        }
    }
    let nul = Raw::new("a\0b", b"x");
    assert_says(&Bench::new().refusal("x.zip", &zip_of(&[nul])), &["NUL byte"]);
}

#[test]
fn links_are_left_out_and_counted_and_never_followed() {
    let bench = Bench::new();
    let link = Raw { mode: 0o120_777, ..Raw::new("link", b"/etc") };
    fs::write(bench.path("x.zip"), zip_of(&[link.clone(), Raw::new("a.txt", b"a")])).unwrap();
    let tree = bench.unpack("x.zip", &[]).unwrap();
    assert_eq!((content(&tree), tree.links), (texts(&[("a.txt", "a")]), 1));
    // Also counted when the archive is reused.
    assert_eq!(bench.unpack("x.zip", &[]).unwrap().links, 1);

    let kinds = [tar::EntryType::Symlink, tar::EntryType::Link];
    let mut tar = kinds.map(|kind| ("link", kind, b"".as_slice())).to_vec();
    tar.push(("link/a.txt", tar::EntryType::Regular, b"a"));
    fs::write(bench.path("x.tar"), tar_of(&tar)).unwrap();
    let tree = bench.unpack("x.tar", &[]).unwrap();
    assert_eq!((content(&tree), tree.links), (texts(&[("link/a.txt", "a")]), 2));

    let out = Raw { name: b"../link".to_vec(), ..link };
    assert_says(&Bench::new().refusal("x.zip", &zip_of(&[out])), &["`..`"]);
}

#[test]
fn devices_and_pipes_are_refused() {
    for (kind, what) in [
        (tar::EntryType::Char, "a device"),
        (tar::EntryType::Block, "a device"),
        (tar::EntryType::Fifo, "a pipe"),
    ] {
        let text = Bench::new().refusal("x.tar", &tar_of(&[("dev", kind, b"")]));
        assert_says(&text, &["\"dev\"", what]);
    }
    let device = Raw { mode: 0o060_644, ..Raw::new("dev", b"") };
    assert_says(&Bench::new().refusal("x.zip", &zip_of(&[device])), &["a device"]);
}

#[test]
fn one_name_twice_is_refused_in_every_format() {
    let twice = entries(&[("a/1.png", "x"), ("a/2.png", "y"), ("a/1.png", "z")]);
    let raw: Vec<_> = twice.iter().map(|(name, bytes)| Raw::new(name, bytes)).collect();
    let mut archives = vec![zip_of(&raw)];
    for format in
        [Format::Tar, Format::TarGz, Format::RarStored, Format::SplitZip { part_bytes: 10_000 }]
    {
        archives.push(pack_files(format, &twice, "x").unwrap().remove(0).1);
    }
    for bytes in archives {
        assert_says(&Bench::new().refusal("x.bin", &bytes), &["\"a/1.png\"", "twice"]);
    }
    // Names that differ but mean the same path, and a file in place of a folder.
    let same = zip_of(&[Raw::new("a//1", b"x"), Raw::new("./a/1", b"y")]);
    assert_says(&Bench::new().refusal("x.zip", &same), &["twice"]);
    let below = zip_of(&[Raw::new("a", b"x"), Raw::new("a/1", b"y")]);
    assert_says(&Bench::new().refusal("x.zip", &below), &["is below \"a\", which is a file"]);
    let above = zip_of(&[Raw::new("a/1", b"x"), Raw::new("a", b"y")]);
    assert_says(&Bench::new().refusal("x.zip", &above), &["twice"]);
}

#[test]
fn encrypted_entries_are_refused() {
    let locked = Raw { flags: 1, ..Raw::new("secret.png", &[7; 40]) };
    let text = Bench::new().refusal("x.zip", &zip_of(&[locked]));
    assert_says(&text, &["\"secret.png\"", "encrypted", "password"]);
    // Rar: an encryption record in the extra area of the file header.
    let mut rar = b"Rar!\x1a\x07\x01\0".to_vec();
    pack::rar_block(&mut rar, &[1, 0, 0], &[]);
    let mut header = vec![2, 3, 37, 16, 0, 16, 0, 0, 1, 1, b's'];
    header.extend_from_slice(&[36, 1, 0, 0, 15]);
    header.extend_from_slice(&[9; 32]);
    pack::rar_block(&mut rar, &header, &[5; 16]);
    pack::rar_block(&mut rar, &[5, 0, 0], &[]);
    assert_says(&Bench::new().refusal("x.rar", &rar), &["encrypted", "password"]);
}

#[test]
fn entries_that_lie_about_their_size_are_refused() {
    let content = vec![b'a'; 10_000];
    for size in [9_999, 10_001, 1] {
        let raw = Raw {
            method: DEFLATED,
            data: deflated(&content),
            size,
            ..Raw::new("liar.png", &content)
        };
        let text = Bench::new().refusal("x.zip", &zip_of(&[Raw::new("ok", b"ok"), raw]));
        assert_says(&text, &["\"liar.png\""]);
    }
}

#[test]
fn damaged_entries_are_named() {
    let raw = Raw { crc: 7, ..Raw::new("b/broken.png", b"content") };
    let text = Bench::new().refusal("x.zip", &zip_of(&[Raw::new("ok", b"ok"), raw]));
    assert_says(&text, &["\"b/broken.png\"", "download it again"]);

    let mut rar = b"Rar!\x1a\x07\x01\0".to_vec();
    pack::rar_block(&mut rar, &[1, 0, 0], &[]);
    pack::rar_file(&mut rar, "ok", b"ok", pack::crc(b"ok"));
    pack::rar_file(&mut rar, "broken.png", b"content", 7);
    pack::rar_block(&mut rar, &[5, 0, 0], &[]);
    let text = Bench::new().refusal("x.rar", &rar);
    assert_says(&text, &["\"broken.png\"", "download it again"]);
}

#[test]
fn archives_cut_off_anywhere_are_refused_and_never_half_accepted() {
    let packed = sample(12);
    for format in [Format::Zip, Format::Tar, Format::TarGz, Format::SevenZ, Format::RarStored] {
        let whole = pack_files(format, &packed, "x").unwrap().remove(0).1;
        for tenth in 0..10 {
            let text = Bench::new().refusal("x.bin", &whole[..whole.len() * tenth / 10]);
            assert!(text.contains("ownload it again"), "{format:?} {tenth}: {text}");
        }
    }
}

#[test]
fn flipped_bits_are_found_or_harmless() {
    let packed = sample(8);
    for format in [Format::Zip, Format::TarGz, Format::SevenZ, Format::RarStored] {
        let whole = pack_files(format, &packed, "x").unwrap().remove(0).1;
        for at in (0..whole.len()).step_by(whole.len() / 60) {
            let bench = Bench::new();
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(bench.path("x.bin"), bytes).unwrap();
            // Some formats have no checksum for names, times and modes, but all have one for contents.
            let Ok(tree) = bench.unpack("x.bin", &[]) else { continue };
            let contents: Vec<_> = packed.iter().map(|(_, bytes)| bytes.clone()).collect();
            for path in tree.files.values() {
                let read = fs::read(path).unwrap();
                assert!(contents.contains(&read), "{format:?}, byte {at}: {}", path.display());
            }
        }
    }
}

#[test]
fn overlapping_entries_are_refused() {
    // Two names for one local header, the heart of a bomb that needs no recursion.
    let raw = Raw::new("a", &[0; 1000]);
    let mut out = b"PK\x03\x04".to_vec();
    out.extend_from_slice(&raw.fields());
    out.extend_from_slice(b"a");
    out.extend_from_slice(&raw.data);
    let other = Raw { name: b"b".to_vec(), ..raw.clone() };
    let directory = [raw.directory(0), other.directory(0)].concat();
    assert_says(&Bench::new().refusal("x.zip", &end(out, &directory, 2)), &["overlap"]);
}

#[test]
fn bombs_are_refused_before_they_are_written() {
    const SIZE: usize = 101 << 20;
    let content = vec![0; SIZE];
    let raw = Raw { method: DEFLATED, data: deflated(&content), ..Raw::new("zeros", &content) };
    let bomb = Raw { data: raw.data[..raw.data.len() / 3].to_vec(), ..raw.clone() };
    let text = Bench::new().refusal("x.zip", &zip_of(&[bomb]));
    assert_says(&text, &["\"zeros\"", "more than 2000 times"]);
    // A volume of zeros reaches a ratio of about 1000.
    let bench = Bench::new();
    fs::write(bench.path("x.zip"), zip_of(&[raw])).unwrap();
    assert_eq!(bench.unpack("x.zip", &[]).unwrap().files.len(), 1);
    // LZMA packs them even more tightly: a bomb by its ratio.
    let packed = pack_files(Format::SevenZ, &[("zeros".to_owned(), content)], "x").unwrap();
    let text = Bench::new().refusal("x.7z", &packed[0].1);
    assert_says(&text, &["\"zeros\"", "more than 2000 times"]);
}

#[test]
fn limits_hold_over_all_archives_together_and_when_reused() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        let one = [(format!("{name}.txt"), vec![b'x'; 1000])];
        for (format, ending) in [
            (Format::Zip, "zip"),
            (Format::TarGz, "gz"),
            (Format::SevenZ, "7z"),
            (Format::RarStored, "rar"),
        ] {
            let folder = bench.path(&format!("{ending}/{name}.{ending}"));
            pack(format, &one, &folder).unwrap();
        }
    }
    for ending in ["zip", "gz", "7z", "rar"] {
        let all = [inner(&format!("*.{ending}"), Into::Beside)];
        let few = Limits { max_bytes: 2999, ..Limits::default() };
        for _ in 0..2 {
            let error = format!("{:#}", bench.unpack_within(ending, &all, &few).unwrap_err());
            assert_says(&error, &[&format!("c.{ending}: "), "more than 2999 bytes"]);
        }
        let few = Limits { max_files: 2, ..Limits::default() };
        let error = format!("{:#}", bench.unpack_within(ending, &all, &few).unwrap_err());
        assert_says(&error, &[&format!("c.{ending}: "), "more than 2 entries"]);
        let enough = Limits { max_bytes: 3000, max_files: 3, ..Limits::default() };
        assert_eq!(bench.unpack_within(ending, &all, &enough).unwrap().files.len(), 3);
    }
}

#[test]
fn what_is_no_archive_is_told_with_a_guess_why() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"a nifti").unwrap();
    for (name, bytes, says) in [
        ("empty.zip", b"".to_vec(), "the file is empty"),
        ("page.zip", b" <!DOCTYPE html>".to_vec(), "looks like a web page"),
        ("x.zip", b"version https://git-lfs.github.com/spec/v1".to_vec(), "git lfs pull"),
        ("x.tar.xz", b"\xfd7zXZ\0...".to_vec(), "run `tar -xf 'x.tar.xz'`"),
        ("x.nii.gz", gzip.finish().unwrap(), "not a tar.gz archive"),
        ("x.bin", vec![0; 2000], "is not a supported archive"),
        ("x.zip", b"PK\x03\x04 and no end".to_vec(), "a zip file whose end is missing"),
    ] {
        assert_says(&Bench::new().refusal(name, &bytes), &[says]);
    }
    let error = Bench::new().unpack("none.zip", &[]).unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 3);
    assert_says(&format!("{error:#}"), &["none.zip"]);
}

#[test]
fn a_compression_nobody_reads_is_named() {
    let raw = Raw { method: 97, ..Raw::new("wav.png", b"content") };
    assert_says(
        &Bench::new().refusal("x.zip", &zip_of(&[raw])),
        &["\"wav.png\"", "97", "which is not supported", "7z x"],
    );
}

#[test]
fn hidden_entries_are_left_out_and_names_without_a_flag_are_utf8() {
    let bench = Bench::new();
    let zip = zip_of(&[
        Raw::new("__MACOSX/a/._x.png", b"fork"),
        Raw::new("a/.DS_Store", b"view"),
        Raw::new("a/", b""),
        Raw::new("a/größe.png", b"x"),
    ]);
    fs::write(bench.path("x.zip"), zip).unwrap();
    let tree = bench.unpack("x.zip", &[]).unwrap();
    assert_eq!((content(&tree), tree.hidden), (texts(&[("a/größe.png", "x")]), 2));
    for format in [Format::SevenZ, Format::RarStored, Format::TarGz] {
        let list = entries(&[("._b", "fork"), ("b", "b"), ("c/.d", "d"), ("e", "e")]);
        pack(format, &list, &bench.path("y")).unwrap();
        let tree = bench.unpack("y", &[]).unwrap();
        assert_eq!(
            (content(&tree), tree.hidden),
            (texts(&[("b", "b"), ("e", "e")]), 2),
            "{format:?}"
        );
    }
}

#[test]
fn more_than_the_disk_holds_is_refused_beforehand() {
    let error = crate::write::check_space("x.zip", Path::new("/"), u64::MAX).unwrap_err();
    assert_says(
        &format!("{error:#}"),
        &["x.zip: needs 16777216.0 TiB", " left", "choose another folder"],
    );
    crate::write::check_space("x.zip", Path::new("/"), 1).unwrap();
}

#[test]
fn a_writer_of_zips_is_read_with_its_data_descriptors() {
    let bench = Bench::new();
    let mut zip = ZipWriter::new_stream(Vec::new());
    for (name, bytes) in sample(10) {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    fs::write(bench.path("x.zip"), zip.finish().unwrap().into_inner()).unwrap();
    check_sample(&bench.unpack("x.zip", &[]).unwrap(), &sample(10));
}
