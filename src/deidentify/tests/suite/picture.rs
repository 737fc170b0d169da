//! Black outside the region, and nothing else changes.

use std::fs;

use sonotune_deidentify::{Options, Rect};
use sonotune_formats::dicom::Dicom;

use crate::support::{Folder, open, text, written};

/// Whether a pixel is within the region of the fixtures.
fn is_inside(x: usize, y: usize) -> bool {
    (4..=11).contains(&x) && (3..=8).contains(&y)
}

#[test]
fn every_frame_is_black_outside_and_unchanged_inside() {
    let folder = Folder::with(&["everything.dcm", "follow_up.dcm"]);
    let originals = fs::read(folder.at("in/everything.dcm")).unwrap();
    let report = folder.run(&folder.options());
    for (name, black, frames) in [("everything.dcm", 0_u32, 3), ("follow_up.dcm", 0x0fff, 1)] {
        let path = written(&report, &folder.at("out"), name);
        let (old, new) =
            (Dicom::open(&folder.at("in").join(name)).unwrap(), Dicom::open(&path).unwrap());
        assert_eq!(new.num_frames(), frames);
        for index in 0..frames {
            let (old, new) = (old.stored(index).unwrap(), new.stored(index).unwrap());
            assert_eq!(old.photometric, new.photometric);
            let pixel = new.data.len() / (12 * 16);
            for (at, (old, new)) in old.data.chunks(pixel).zip(new.data.chunks(pixel)).enumerate() {
                let inside = is_inside(at % 16, at / 16);
                let expected: Vec<u8> = match (inside, pixel) {
                    // What is above the twelve bits of the value is not kept.
                    (true, 2) => vec![old[0], old[1] & 0x0f],
                    (true, _) => old.to_vec(),
                    (false, _) => {
                        black.to_le_bytes().into_iter().chain([0; 2]).take(pixel).collect()
                    }
                };
                assert_eq!(new, expected, "{name}, frame {index}, pixel {at}");
            }
        }
    }
    let file =
        &report.files[report.originals.iter().position(|p| p.ends_with("everything.dcm")).unwrap()];
    assert!((file.blacked_out - (1.0 - 48.0 / 192.0)).abs() < 1e-9);
    assert_eq!(file.kept_regions, [Rect { x: 4, y: 3, width: 8, height: 6 }]);
    assert_eq!(
        fs::read(folder.at("in/everything.dcm")).unwrap(),
        originals,
        "the original changed"
    );
}

#[test]
fn a_region_of_the_command_line_and_a_palette() {
    let folder = Folder::with(&["no_region.dcm"]);
    let keep_region = Some(Rect { x: 4, y: 3, width: 8, height: 6 });
    let report = folder.run(&Options { keep_region, ..folder.options() });
    let path = written(&report, &folder.at("out"), "no_region.dcm");
    let (old, new) =
        (Dicom::open(&folder.at("in/no_region.dcm")).unwrap(), Dicom::open(&path).unwrap());
    for index in 0..2 {
        let (old, new) = (old.stored(index).unwrap(), new.stored(index).unwrap());
        for (at, (old, new)) in old.data.iter().zip(&new.data).enumerate() {
            // The ramp of this palette falls, so that its darkest colour is the last.
            let expected = if is_inside(at % 16, at / 16) { *old } else { 255 };
            assert_eq!(*new, expected, "frame {index}, pixel {at}");
        }
        let shown = Dicom::open(&path).unwrap().frame(index).unwrap();
        assert_eq!(shown.data[..3], [0, 0, 0]);
    }
    let object = open(&path);
    assert_eq!(object.meta().transfer_syntax().trim_end_matches('\0'), "1.2.840.10008.1.2.1");
    assert_eq!(text(&object, 0x0028, 0x2110), "", "run lengths lose nothing");
}
