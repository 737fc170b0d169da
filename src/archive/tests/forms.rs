//! Archive variants that real packers write and our own writers do not.

use sevenz_rust2::{ArchiveEntry, ArchiveWriter};

use super::{
    hostile::{Raw, assert_says, tar_of, zip_of},
    *,
};

const RAR5: &[u8] = b"Rar!\x1a\x07\x01\0";

#[test]
fn folders_among_the_files_of_a_7z_hide_none_of_them() {
    let bench = Bench::new();
    let mut writer = ArchiveWriter::create(bench.path("x.7z")).unwrap();
    let mut names = Vec::new();
    let mut files = Vec::new();
    for i in 0..4 {
        writer
            .push_archive_entry::<&[u8]>(ArchiveEntry::new_directory(&format!("{i}")), None)
            .unwrap();
        files.clear();
        for j in 0..3 {
            names.push(format!("{i}/{j}"));
            files.push(ArchiveEntry::new_file(&format!("{i}/{j}")));
        }
        let contents = files.iter().map(|f| f.name.clone().into_bytes()).collect::<Vec<_>>();
        let readers = contents.iter().map(|c| c.as_slice().into()).collect();
        writer.push_archive_entries(files.clone(), readers).unwrap();
    }
    writer.finish().unwrap();
    let expected: Vec<_> = names.iter().map(|name| (name.clone(), name.clone())).collect();
    assert_eq!(content(&bench.unpack("x.7z", &[]).unwrap()), expected);
}

/// A header of RAR 1.5 to 4, preceded by its checksum.
fn rar4_block(out: &mut Vec<u8>, kind: u8, flags: u16, fields: &[u8]) {
    let mut header = vec![kind];
    header.extend_from_slice(&flags.to_le_bytes());
    header.extend_from_slice(&(fields.len() as u16 + 7).to_le_bytes());
    header.extend_from_slice(fields);
    out.extend_from_slice(&(pack::crc(&header) as u16).to_le_bytes());
    out.extend_from_slice(&header);
}

fn rar4_file(out: &mut Vec<u8>, name: &str, bytes: &[u8], attributes: u32) {
    const DATA_FOLLOWS: u16 = 0x8000;
    const HOST_WINDOWS: u8 = 2;
    const STORED: u8 = 0x30;
    let len = (bytes.len() as u32).to_le_bytes();
    let mut fields = [len, len].concat();
    fields.push(HOST_WINDOWS);
    fields.extend_from_slice(&pack::crc(bytes).to_le_bytes());
    fields.extend_from_slice(&[0, 0, 0x21, 0, 20, STORED]);
    fields.extend_from_slice(&(name.len() as u16).to_le_bytes());
    fields.extend_from_slice(&attributes.to_le_bytes());
    fields.extend_from_slice(name.as_bytes());
    rar4_block(out, 0x74, DATA_FOLLOWS, &fields);
    out.extend_from_slice(bytes);
}

fn rar4(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut out = b"Rar!\x1a\x07\0".to_vec();
    rar4_block(&mut out, 0x73, 0, &[0; 6]);
    for (name, text) in entries {
        rar4_file(&mut out, name, text.as_bytes(), 0x20);
    }
    rar4_block(&mut out, 0x7b, 0x4000, &[]);
    out
}

#[test]
fn backslashes_separate_folders_in_rar_4() {
    let bench = Bench::new();
    fs::write(bench.path("x.rar"), rar4(&[("mask\\0001.png", "m"), ("mask\\fa.png", "f")]))
        .unwrap();
    let tree = bench.unpack("x.rar", &[]).unwrap();
    assert_eq!(content(&tree), texts(&[("mask/0001.png", "m"), ("mask/fa.png", "f")]));
    for name in ["..\\evil", "mask\\..\\..\\evil", "\\evil", "c:\\evil"] {
        let text = Bench::new().refusal("x.rar", &rar4(&[("ok", "o"), (name, "x")]));
        assert!(text.contains("leads out of the folder"), "{text}");
    }
}

/// One file spread over `pieces` volumes.
fn rar5_volumes(name: &str, bytes: &[u8], pieces: usize) -> Vec<Vec<u8>> {
    const DATA: u8 = 2;
    const BEFORE: u8 = 8;
    const AFTER: u8 = 16;
    let chunks: Vec<_> = bytes.chunks(bytes.len().div_ceil(pieces)).collect();
    let volume = |(i, chunk): (usize, &&[u8])| {
        let last = i + 1 == chunks.len();
        let mut out = RAR5.to_vec();
        let main = if i == 0 { vec![1, 0, 1] } else { vec![1, 0, 3, i as u8] };
        pack::rar_block(&mut out, &main, &[]);
        let flags = DATA | if i > 0 { BEFORE } else { 0 } | if last { 0 } else { AFTER };
        // The last volume holds the checksum of the whole file, the others those of their piece.
        let crc = pack::crc(if last { bytes } else { chunk });
        let mut header = vec![2, flags, chunk.len() as u8, 4, bytes.len() as u8, 0x20];
        header.extend_from_slice(&crc.to_le_bytes());
        header.extend_from_slice(&[0, 0, name.len() as u8]);
        header.extend_from_slice(name.as_bytes());
        pack::rar_block(&mut out, &header, chunk);
        pack::rar_block(&mut out, &[5, 0, u8::from(!last)], &[]);
        out
    };
    chunks.iter().enumerate().map(volume).collect()
}

#[test]
fn volumes_of_a_rar_are_one_archive_and_a_missing_one_is_named() {
    for naming in [["x.part1.rar", "x.part2.rar", "x.part3.rar"], ["x.rar", "x.r00", "x.r01"]] {
        let bench = Bench::new();
        let text = "a text that goes over three volumes";
        for (name, bytes) in naming.iter().zip(rar5_volumes("a.txt", text.as_bytes(), 3)) {
            fs::write(bench.path(name), bytes).unwrap();
        }
        let expected = texts(&[("a.txt", text)]);
        assert_eq!(content(&bench.unpack(naming[0], &[]).unwrap()), expected);
        // Within a folder the later volumes belong to the first.
        let tree = bench.unpack("", &[inner("*.rar", Into::Beside)]).unwrap();
        assert_eq!((content(&tree), tree.archives), (expected, vec![naming[0].to_owned()]));
        let error = format!("{:#}", bench.unpack(naming[1], &[]).unwrap_err());
        assert!(error.contains("is a later volume of a rar"), "{error}");
        fs::remove_file(bench.path(naming[2])).unwrap();
        let error = format!("{:#}", bench.unpack(naming[0], &[]).unwrap_err());
        assert!(error.contains(&format!("{} is missing", naming[2])), "{error}");
    }
}

#[test]
fn redirections_of_a_rar_are_links_but_mentions_of_files_are_not() {
    // The extra area: its size, then a record of size, kind 5, type, flags, and the target.
    let archive = |kind: u8| {
        let mut out = RAR5.to_vec();
        pack::rar_block(&mut out, &[1, 0, 0], &[]);
        pack::rar_file(&mut out, "a.txt", b"a", pack::crc(b"a"));
        let mut header = vec![2, 3, 10, 0, 0, 0, 0x20, 0, 1, 5];
        header.extend_from_slice(b"b.txt");
        header.extend_from_slice(&[9, 5, kind, 0, 5]);
        header.extend_from_slice(b"a.txt");
        pack::rar_block(&mut out, &header, &[]);
        pack::rar_block(&mut out, &[5, 0, 0], &[]);
        out
    };
    for link in [1, 4] {
        let bench = Bench::new();
        fs::write(bench.path("x.rar"), archive(link)).unwrap();
        let tree = bench.unpack("x.rar", &[]).unwrap();
        assert_eq!((content(&tree), tree.links), (texts(&[("a.txt", "a")]), 1));
    }
    let text = Bench::new().refusal("x.rar", &archive(5));
    assert!(text.contains("\"b.txt\" is a reference to another file"), "{text}");
}

#[test]
fn other_methods_of_zip_are_read() {
    use zip::CompressionMethod as Method;
    for method in [Method::Stored, Method::Bzip2, Method::Xz] {
        let bench = Bench::new();
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file("a.txt", options).unwrap();
        zip.write_all(&[b'a'; 5000]).unwrap();
        fs::write(bench.path("x.zip"), zip.finish().unwrap().into_inner()).unwrap();
        let tree = bench.unpack("x.zip", &[]).unwrap();
        assert_eq!(content(&tree), [("a.txt".to_owned(), "a".repeat(5000))], "{method}");
    }
}

#[test]
fn zips_with_64_bit_numbers_are_read_whole_and_split() {
    let bench = Bench::new();
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in sample(10) {
        zip.start_file(name, SimpleFileOptions::default().large_file(true)).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    fs::write(bench.path("x.zip"), zip.finish().unwrap().into_inner()).unwrap();
    check_sample(&bench.unpack("x.zip", &[]).unwrap(), &sample(10));
    let [first, last] = wide_split("a.txt", b"content");
    fs::write(bench.path("y.z01"), first).unwrap();
    fs::write(bench.path("y.zip"), last).unwrap();
    assert_eq!(content(&bench.unpack("y.zip", &[]).unwrap()), texts(&[("a.txt", "content")]));
}

/// A split zip of two parts with every number in its 64-bit field; the entry begins in the second
/// part, after a few meaningless bytes.
fn wide_split(name: &str, bytes: &[u8]) -> [Vec<u8>; 2] {
    let mut common = vec![45, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend_from_slice(&pack::crc(bytes).to_le_bytes());
    let len = (bytes.len() as u32).to_le_bytes();
    let name_len = (name.len() as u16).to_le_bytes();
    let mut last = b"....PK\x03\x04".to_vec();
    for field in [&*common, &len, &len, &name_len, &[0; 2], name.as_bytes(), bytes] {
        last.extend_from_slice(field);
    }
    let mut directory = b"PK\x01\x02\x2d\0".to_vec();
    for field in [&*common, &[0xff; 8], &name_len, &32_u16.to_le_bytes(), &[0; 2], &[0xff; 2]] {
        directory.extend_from_slice(field);
    }
    for field in [[0; 6].as_slice(), &[0xff; 4], name.as_bytes(), &[1, 0, 28, 0]] {
        directory.extend_from_slice(field);
    }
    for number in [bytes.len() as u64, bytes.len() as u64, 4] {
        directory.extend_from_slice(&number.to_le_bytes());
    }
    directory.extend_from_slice(&1_u32.to_le_bytes());
    let at = last.len() as u64;
    last.extend_from_slice(&directory);
    let end = last.len() as u64;
    last.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\x01\0\0\0\x01\0\0\0");
    for number in [1, 1, directory.len() as u64, at] {
        last.extend_from_slice(&number.to_le_bytes());
    }
    last.extend_from_slice(b"PK\x06\x07\x01\0\0\0");
    last.extend_from_slice(&end.to_le_bytes());
    last.extend_from_slice(&2_u32.to_le_bytes());
    last.extend_from_slice(b"PK\x05\x06");
    last.extend_from_slice(&[0xff; 16]);
    last.extend_from_slice(&[0; 2]);
    [b"PK\x07\x08 whatever came before".to_vec(), last]
}

#[test]
fn backslashes_separate_folders_in_every_format() {
    for name in ["images\\0001.png", "images/more\\0001.png"] {
        let key = name.replace('\\', "/");
        let folder = Raw::new(&format!("{}\\", key.rsplit_once('/').unwrap().0), b"");
        let packed = entries(&[(name, "x")]);
        let mut archives = vec![
            zip_of(&[folder, Raw::new(name, b"x")]),
            tar_of(&[(name, tar::EntryType::Regular, b"x")]),
        ];
        for format in [Format::RarStored, Format::SevenZ] {
            archives.push(pack_files(format, &packed, "x").unwrap().remove(0).1);
        }
        for bytes in archives {
            let bench = Bench::new();
            fs::write(bench.path("x.bin"), bytes).unwrap();
            assert_eq!(content(&bench.unpack("x.bin", &[]).unwrap()), texts(&[(&key, "x")]));
        }
    }
}

#[test]
fn names_in_an_unnamed_encoding_are_refused_unless_one_reading_is_plain() {
    let zip = |name: &[u8]| zip_of(&[Raw::new("", b"x").named(name)]);
    // Chinese in GBK, katakana in Shift-JIS, Cyrillic in code page 866, Korean in code page 949.
    let foreign: [&[u8]; 4] =
        [b"\xc1\xbc\xd0\xd41.png", b"\x83e\x83X\x83g.png", b"\xac\xa0\xe1.png", b"\xc7\xd1.png"];
    for name in foreign {
        let shown = format!("entry \"{}\" has a name that is not UTF-8", name.escape_ascii());
        let by_hand = "`python3 -m zipfile --metadata-encoding gbk -e 'x.zip' FOLDER`";
        assert_says(&Bench::new().refusal("x.zip", &zip(name)), &[&shown, by_hand]);
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(0);
        header.set_cksum();
        let tar = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        assert_says(&Bench::new().refusal("x.tar", &tar), &[&shown, "tarfile.open("]);
    }
    let bench = Bench::new();
    fs::write(bench.path("x.zip"), zip(b"Gef\x84\xe1_B\x94.png")).unwrap();
    let tree = bench.unpack("x.zip", &[]).unwrap();
    assert_eq!(content(&tree), texts(&[("Gefäß_Bö.png", "x")]));
}
