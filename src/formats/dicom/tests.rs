use std::{fs, path::PathBuf};

use sonotune_base::{ErrorKind, error::kind};

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/dicom")
}

fn open(name: &str) -> Dicom {
    Dicom::open(&fixtures().join(format!("{name}.dcm"))).unwrap()
}

/// pydicom's display values; `scripts/make_fixtures_dicom.py` wrote them. Whatever is without loss must be
/// equal. Decoders of JPEG may differ by a level in luma and chroma, which is three levels of blue.
#[test]
fn parity_with_pydicom() {
    let mut count = 0;
    for entry in fs::read_dir(fixtures()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "dcm") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let dicom = Dicom::open(&path).unwrap();
        let mut found = Vec::new();
        for index in 0..dicom.num_frames() {
            let pixels = dicom.frame(index).unwrap();
            assert_eq!((pixels.height, pixels.width), dicom.size(), "{name}");
            found.extend(pixels.data);
        }
        let expected = fs::read(path.with_extension("npy")).unwrap();
        // The header of NumPy's format has 128 bytes.
        let expected = &expected[128..];
        assert_eq!(found.len(), expected.len(), "{name}");
        let tolerance = match name.as_str() {
            "jpeg_2000_lossy" => 1,
            _ => 0,
        };
        let difference = found.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(difference <= Some(tolerance), "{name}: {difference:?}");
    }
    assert_eq!(count, 29);
}

#[test]
fn frames_are_read_in_any_order() {
    for name in ["mono2", "bits", "jpeg_baseline", "rle_rgb", "rgb_deflated"] {
        let dicom = open(name);
        let last = dicom.num_frames() - 1;
        let (b, a) = (dicom.frame(last).unwrap(), dicom.frame(0).unwrap());
        assert_ne!(a, b, "{name}");
        assert_eq!(b, dicom.frame(last).unwrap(), "{name}");
        let error = dicom.frame(last + 1).unwrap_err().to_string();
        assert!(error.contains(&format!("there is no frame {}; it has", last + 1)), "{error}");
    }
}

#[test]
fn metadata_are_read() {
    let dicom = open("mono2");
    let info = dicom.info();
    assert_eq!((dicom.num_frames(), dicom.size()), (3, (32, 40)));
    assert_eq!(info.patient.as_deref(), Some("P01"));
    assert_eq!(info.modality.as_deref(), Some("US"));
    assert_eq!(info.model.as_deref(), Some("Phantom"));
    assert_eq!(info.study.as_deref(), Some("1.2.826.0.1.3680043.10.1500.1"));
    assert_eq!(info.frame_time_ms, Some(40.0));
    // 0.031 cm along x, twice that along y.
    let [row, column] = info.spacing.unwrap();
    assert!((row - 0.62).abs() < 1e-12 && (column - 0.31).abs() < 1e-12, "{row} {column}");
    assert_eq!(info.regions.len(), 1);
    assert_eq!(info.regions[0].rect, [0, 2, 40, 20]);
    assert_eq!((info.regions[0].spatial_format, info.regions[0].data_type), (1, 1));
}

#[test]
fn spacing_is_unknown_where_regions_disagree_and_else_that_of_pixels() {
    let two = open("signed_big_endian");
    assert_eq!(two.info().regions.len(), 2);
    assert_eq!(two.info().spacing, None);
    assert_eq!(open("mono1_12bit").info().spacing, Some([0.2, 0.1]));
    assert_eq!(open("luts").info().spacing, None);
}

#[test]
fn patient_ids_are_decoded_by_their_character_set() {
    for (name, expected) in [
        ("utf8", "Müller 東京"),
        ("greek", "Διονυσιος"),
        ("chinese", "王小东"),
        ("japanese", "東京"),
        ("korean", "김희중"),
    ] {
        let dicom = open(&format!("charset_{name}"));
        assert_eq!(dicom.info().patient.as_deref(), Some(expected), "{name}");
        assert_eq!(dicom.info().patient_issuer.as_deref(), Some("HOSPITAL"));
    }
}

#[test]
fn a_directory_lists_its_files_and_is_not_an_image() {
    let path = fixtures().join("DICOMDIR");
    let entries = directory::read(&path).unwrap();
    assert_eq!(entries.len(), 3);
    for entry in &entries {
        assert!(entry.path.starts_with(fixtures()), "{}", entry.path.display());
        assert_eq!(entry.kind, "IMAGE");
        assert_eq!(entry.series.as_deref(), Some("1.2.826.0.1.3680043.10.1500.2"));
    }
    let mut patients: Vec<_> = entries.iter().map(|e| e.patient.as_deref().unwrap()).collect();
    patients.sort_unstable();
    assert_eq!(patients, ["Müller 東京", "P01", "P01"]);
    let error = Dicom::open(&path).unwrap_err().to_string();
    assert!(error.contains("it is a DICOMDIR"), "{error}");
    let error = directory::read(&fixtures().join("mono2.dcm")).unwrap_err().to_string();
    assert!(error.contains("it is not a DICOMDIR"), "{error}");
}

#[test]
fn a_directory_names_no_file_outside_its_folder() {
    let bytes = fs::read(fixtures().join("DICOMDIR")).unwrap();
    let at = bytes.windows(4).position(|w| w == b"\x04\0\0\x15").expect("ReferencedFileID") + 8;
    let mut hostile = bytes;
    hostile[at..at + 3].copy_from_slice(b"..\\");
    let error = refused(&hostile, |path| directory::read(path).map(drop));
    assert!(error.contains("leaves the folder of the DICOMDIR"), "{error}");
}

/// The message of an error about these bytes, which names the file and is about data.
fn refused(bytes: &[u8], read: impl Fn(&Path) -> Result<()>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.dcm");
    fs::write(&path, bytes).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(kind(&error), Some(ErrorKind::Data));
    let error = format!("{error:#}");
    assert!(error.contains("hostile.dcm"), "{error}");
    error
}

/// Opens a file and decodes its first frame.
fn decoded(path: &Path) -> Result<()> {
    Dicom::open(path)?.frame(0).map(drop)
}

/// An element of an explicit little-endian data set.
fn element(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
    bytes.extend(vr);
    if matches!(vr, b"OB" | b"OW" | b"SQ") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

/// A file of 2 x 2 grey pixels with further elements before its pixels, sorted by tag.
fn file(syntax: &str, changes: &[Vec<u8>], pixels: &[u8]) -> Vec<u8> {
    let number = |e, value: u16| element(0x28, e, b"US", &value.to_le_bytes());
    let mut elements = vec![
        number(0x02, 1),
        element(0x28, 0x04, b"CS", b"MONOCHROME2 "),
        number(0x10, 2),
        number(0x11, 2),
        number(0x100, 8),
        number(0x101, 8),
        number(0x103, 0),
    ];
    for change in changes {
        elements.retain(|element| element[..4] != change[..4]);
        // A tag alone removes an element.
        if change.len() > 4 {
            elements.push(change.clone());
        }
    }
    elements.sort_by_key(|e| (e[1], e[0], e[3], e[2]));
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM");
    bytes.extend(element(2, 0x10, b"UI", syntax.as_bytes()));
    bytes.extend(elements.concat());
    bytes.extend(pixels);
    bytes
}

const EXPLICIT: &str = "1.2.840.10008.1.2.1\0";

fn plain(changes: &[Vec<u8>]) -> Vec<u8> {
    file(EXPLICIT, changes, &element(0x7FE0, 0x10, b"OB", &[0, 1, 2, 255]))
}

#[test]
fn a_file_with_little_more_than_pixels_is_read_with_and_without_preamble() {
    for bytes in [plain(&[]), plain(&[])[132..].to_vec()] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan");
        fs::write(&path, &bytes).unwrap();
        assert!(is_dicom(&bytes[..bytes.len().min(132)]));
        let pixels = Dicom::open(&path).unwrap().frame(0).unwrap();
        assert_eq!(pixels.data, [0, 1, 2, 255]);
    }
    assert!(!is_dicom(b"\x89PNG\r\n\x1a\n"));
}

#[test]
fn what_a_header_lacks_or_claims_falsely_is_named() {
    let number = |e, value: u16| element(0x28, e, b"US", &value.to_le_bytes());
    let text = |e, vr, value: &[u8]| element(0x28, e, vr, value);
    let cases = [
        (plain(&[vec![0x28, 0, 0x10, 0]]), "it has no Rows (0028,0010)"),
        (plain(&[vec![0x28, 0, 0x04, 0]]), "it has no PhotometricInterpretation (0028,0004)"),
        (plain(&[text(0x04, b"CS", b"HSV ")]), "PhotometricInterpretation (0028,0004) is HSV"),
        (plain(&[number(0x10, 60000), number(0x11, 60000)]), "claims 60000 x 60000 pixels"),
        (plain(&[number(0x100, 12)]), "BitsAllocated (0028,0100) is 12"),
        (plain(&[number(0x101, 9)]), "BitsStored (0028,0101) is 9"),
        (plain(&[number(0x02, 3)]), "SamplesPerPixel (0028,0002) is 3"),
        (plain(&[text(0x08, b"IS", b"1000")]), "dcmodify -m NumberOfFrames=1 "),
        (plain(&[text(0x08, b"IS", b"-7")]), "NumberOfFrames (0028,0008) is -7"),
        (plain(&[text(0x08, b"IS", b"many")]), "NumberOfFrames (0028,0008) is \"many\""),
        (plain(&[text(0x1050, b"DS", b"left")]), "WindowCenter (0028,1050) is"),
        (plain(&[text(0x04, b"CS", b"PALETTE COLOR ")]), "RedPaletteColorLookupTableDescriptor"),
        (file(EXPLICIT, &[], &[]), "it has no pixel data (7FE0,0010)"),
        (file("1.2.840.10008.1.2.4.100\0", &[], &[]), "MPEG-2"),
        (file("1.2.3.4.5\0", &[], &[]), "private transfer syntax 1.2.3.4.5"),
        (plain(&[])[..203].to_vec(), "it is cut off"),
        (b"not DICOM at all".to_vec(), "it is not a DICOM file"),
    ];
    for (bytes, expected) in cases {
        let error = refused(&bytes, decoded);
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
    }
}

#[test]
fn a_palette_that_is_too_short_is_named() {
    let palette = |e: u16, value: &[u8]| element(0x28, e, b"OW", value);
    let descriptor = |e: u16| element(0x28, e, b"US", &[0, 1, 0, 0, 16, 0]);
    let mut changes = vec![element(0x28, 0x04, b"CS", b"PALETTE COLOR ")];
    changes.extend([0x1101, 0x1102, 0x1103].map(descriptor));
    changes.extend([0x1201, 0x1202, 0x1203].map(|e| palette(e, &[0; 20])));
    let error = refused(&plain(&changes), decoded);
    let expected =
        "RedPaletteColorLookupTableData (0028,1201) has 20 bytes, too few for the 256 entries";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn sequences_nested_a_thousand_deep_are_refused() {
    let mut nested = Vec::new();
    for _ in 0..1000 {
        nested.extend(b"\x09\0\x01\x10SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\xFF\xFF\xFF\xFF");
    }
    let error = refused(&file(EXPLICIT, &[], &nested), decoded);
    assert!(error.contains("nest more than 64 deep"), "{error}");
}

#[test]
fn a_deflate_bomb_is_refused() {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..300).for_each(|_| encoder.write_all(&zeros).unwrap());
    let mut bytes = file("1.2.840.10008.1.2.1.99", &[], &[]);
    bytes.truncate(132 + 8 + 22);
    bytes.extend(encoder.finish().unwrap());
    assert!(bytes.len() < 1 << 20);
    let error = refused(&bytes, decoded);
    assert!(error.contains("more than 268435456 bytes once inflated"), "{error}");
    assert!(error.contains("dcmconv +te"), "{error}");
}

/// Pixels in fragments, after an empty table of offsets.
fn fragments(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0".to_vec();
    for part in parts {
        bytes.extend(b"\xFE\xFF\0\xE0");
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend(*part);
    }
    bytes.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    bytes
}

#[test]
fn compressed_frames_that_are_damaged_or_miscounted_are_named() {
    let frames = |n: &[u8]| element(0x28, 0x08, b"IS", n);
    let (jpeg, jpeg_ls) = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.80");
    let (jpeg_2000, rle) = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5\0");
    let start = [0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 9, 0, 9, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 2];
    let cases = [
        (
            jpeg,
            vec![frames(b"5 ")],
            fragments(&[b"\xFF\xD8", b"\xFF\xD8"]),
            "says 5, but its pixel data has 2",
        ),
        (
            jpeg,
            vec![frames(b"1 ")],
            fragments(&[&start, &start]),
            "says 1, but its pixel data has 2 frames",
        ),
        (jpeg, vec![], fragments(&[b"no JPEG "]), "frame 0: it is not a JPEG"),
        (jpeg, vec![], fragments(&[&start]), "no end-of-image marker"),
        (
            jpeg_ls,
            vec![],
            fragments(&[b"\xFF\xD8\xFF\xF7\0\x0B\x08\0\x02\0\x02\x01\x01\x11\0\xFF\xDA"]),
            "cut off",
        ),
        (
            jpeg_2000,
            vec![],
            fragments(&[b"\xFF\x4F\xFF\x51\0\x29"]),
            "cut off within its SIZ segment",
        ),
        (rle, vec![], fragments(&[&[0xFF; 64]]), "segments of RLE"),
        (rle, vec![], fragments(&[]), "at least one per frame"),
        (jpeg, vec![], element(0x7FE0, 0x10, b"OB", &[0; 4]), "as if they were not"),
        (EXPLICIT, vec![], fragments(&[b"abcd"]), "they are stored in fragments"),
    ];
    for (syntax, changes, pixels, expected) in cases {
        let error = refused(&file(syntax, &changes, &pixels), decoded);
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
    }
}

#[test]
fn every_prefix_of_a_file_and_every_changed_byte_is_an_error_or_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.dcm");
    for name in ["jpeg_ls_samples", "palette_segmented", "rle_16bit", "mono2"] {
        let bytes = fs::read(fixtures().join(format!("{name}.dcm"))).unwrap();
        for at in (0..bytes.len()).step_by(37) {
            let mut changed = bytes.clone();
            changed[at] ^= 0xFF;
            for hostile in [&bytes[..at], &changed] {
                fs::write(&path, hostile).unwrap();
                if let Err(error) = decoded(&path) {
                    assert_eq!(kind(&error), Some(ErrorKind::Data), "{error:#}");
                }
            }
        }
    }
}
