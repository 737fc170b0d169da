//! What is refused, and how.

use std::fs;

use sonotune_base::{error::exit_code, seed::Rng};
use sonotune_deidentify::{Options, Rect};

use crate::support::{Folder, files};

/// The reason for the only file that was refused.
fn reason(folder: &Folder, options: &Options) -> String {
    let report = folder.run(&Options { overwrite: true, ..options.clone() });
    assert_eq!((report.files.len(), report.refused.len()), (0, 1), "{report:?}");
    assert_eq!(files(&folder.at("out")), [folder.at("out/report.json")]);
    report.refused[0].reason.clone()
}

#[test]
fn a_file_without_region_is_refused_unless_the_user_says_otherwise() {
    let folder = Folder::with(&["no_region.dcm"]);
    let text = reason(&folder, &folder.options());
    assert!(text.contains("--keep-region") && text.contains("--allow-unblacked"), "{text}");
    let keep_region = Some(Rect { x: 16, y: 0, width: 8, height: 6 });
    let text = reason(&folder, &Options { keep_region, ..folder.options() });
    assert!(text.contains("16,0,8,6 is outside its picture of 12 x 16"), "{text}");
}

#[test]
fn what_is_not_an_image_is_refused_and_what_is_not_dicom_is_not_copied() {
    let folder = Folder::with(&["report.dcm"]);
    fs::write(folder.at("in/list.txt"), "Mueller, Eva").unwrap();
    let report = folder.run(&folder.options());
    assert!(report.refused[0].reason.contains("no pixel data"), "{:?}", report.refused);
    assert_eq!(report.not_copied[0].path, folder.at("in/list.txt"));
    assert_eq!(report.summary.not_copied, 1);
}

#[test]
fn two_files_with_one_uid_do_not_overwrite_each_other() {
    let folder = Folder::with(&["follow_up.dcm"]);
    fs::copy(folder.at("in/follow_up.dcm"), folder.at("in/z.dcm")).unwrap();
    let report = folder.run(&folder.options());
    assert_eq!(report.files.len(), 1);
    let text = &report.refused[0].reason;
    assert!(text.contains("same SOPInstanceUID") && text.contains("follow_up.dcm"), "{text}");
}

#[test]
fn places_that_would_mix_originals_and_results() {
    let folder = Folder::with(&["follow_up.dcm"]);
    for out in ["in", "in/out"] {
        let error = folder.try_run(out, &folder.options()).unwrap_err();
        assert_eq!(exit_code(&error), 2);
    }
    let mapping = Some(folder.at("out/map.csv"));
    let error = folder.try_run("out", &Options { mapping, ..folder.options() }).unwrap_err();
    assert!(error.to_string().contains("leads back to the patients"), "{error}");
    assert!(!folder.at("out").exists());
}

/// Explicit, little-endian.
fn element(tag: (u16, u16), vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
    bytes.extend(vr);
    if matches!(vr, b"SQ" | b"OB" | b"UT") {
        bytes.extend([0, 0]);
        bytes.extend((value.len() as u32).to_le_bytes());
    } else {
        bytes.extend((value.len() as u16).to_le_bytes());
    }
    bytes.extend(value);
    bytes
}

fn item(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xfe, 0xff, 0x00, 0xe0];
    bytes.extend((content.len() as u32).to_le_bytes());
    bytes.extend(content);
    bytes
}

/// The fixture, with bytes put before its pixels or somewhere else.
fn changed(change: impl Fn(&mut Vec<u8>, usize)) -> Folder {
    let folder = Folder::with(&["everything.dcm"]);
    let path = folder.at("in/everything.dcm");
    let mut bytes = fs::read(&path).unwrap();
    let pixels = bytes.windows(6).position(|w| w == [0xe0, 0x7f, 0x10, 0, b'O', b'B']).unwrap();
    change(&mut bytes, pixels);
    fs::write(path, bytes).unwrap();
    folder
}

#[test]
fn deep_nesting_is_refused_before_it_takes_the_stack() {
    for depth in [40, 20_000] {
        let mut nested = element((0x0008, 0x0104), b"LO", b"SECRET");
        for _ in 0..depth {
            nested = element((0x0008, 0x1250), b"SQ", &item(&nested));
        }
        let folder = changed(|bytes, pixels| drop(bytes.splice(pixels..pixels, nested.clone())));
        let text = reason(&folder, &folder.options());
        assert!(text.contains("nest more than 32 deep"), "{text}");
    }
}

#[test]
fn damaged_files_are_refused_by_name() {
    type Change = fn(&mut Vec<u8>, usize);
    let cases: [(&str, Change); 5] = [
        ("cut off within the attributes", |bytes, pixels| bytes.truncate(pixels - 40)),
        ("cut off within the pixels", |bytes, pixels| bytes.truncate(pixels + 100)),
        ("only the preamble", |bytes, _| bytes.truncate(132)),
        ("a length beyond the file", |bytes, pixels| {
            let long = [0x40, 0, 0x00, 0xe0, b'U', b'T', 0, 0, 0xf0, 0xff, 0xff, 0x7f];
            drop(bytes.splice(pixels..pixels, long));
        }),
        ("gigantic frames", |bytes, _| {
            let rows =
                bytes.windows(8).position(|w| w == [0x28, 0, 0x10, 0, b'U', b'S', 2, 0]).unwrap();
            bytes[rows + 8..rows + 10].copy_from_slice(&[0xff, 0xff]);
        }),
    ];
    for (what, change) in cases {
        let folder = changed(change);
        let text = reason(&folder, &folder.options());
        assert!(text.len() > 30, "{what}: {text}");
        assert!(!text.contains("SECRET"), "{what}: {text}");
    }
}

#[test]
fn bytes_changed_at_random_are_refused_or_written() {
    let bytes = fs::read(sonotune_testing::fixture("deidentify/everything.dcm")).unwrap();
    let folder = Folder::with(&[]);
    for seed in 0..200 {
        let mut rng = Rng::at(seed, &[]);
        let mut bytes = bytes.clone();
        for _ in 0..8 {
            let at = 132 + rng.below(bytes.len() as u64 - 132) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }
        fs::write(folder.at(&format!("in/{seed}.dcm")), bytes).unwrap();
    }
    let report = folder.run(&folder.options());
    assert_eq!(report.files.len() + report.refused.len() + report.not_copied.len(), 200);
    assert_eq!(files(&folder.at("out")).len(), 1 + report.files.len());
}
