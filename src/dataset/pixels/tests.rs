//! Frames of clips and DICOM files, alone and in datasets.

use std::path::{Path, PathBuf};

use sonotune_base::image_io::DecodeOptions;
use sonotune_formats::{
    Pixels,
    write::{DicomHead, dicom, h264_mp4, mjpeg_avi},
};

use super::*;
use crate::{Dataset, FrameChoice};

const OPTIONS: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 20 };

/// Frames of 16×24, each of one grey level.
fn frames(levels: &[u8], channels: usize) -> Vec<Pixels> {
    let frame = |&level: &u8| {
        let data = vec![level; 16 * 24 * channels];
        Pixels { height: 16, width: 24, channels, data }
    };
    levels.iter().map(frame).collect()
}

fn write_dicom(path: &Path, levels: &[u8]) {
    let head = DicomHead { patient: "p1", spacing: Some([0.5, 0.25]) };
    dicom(path, &frames(levels, 1), head).unwrap();
}

fn level(reader: &Reader, path: &Path, frame: u32) -> u8 {
    reader.decode(path, Some(frame), OPTIONS).unwrap().pixels[100]
}

fn refused(path: &Path, frame: Option<u32>) -> String {
    let error = decode(path, frame, OPTIONS).unwrap_err();
    assert_eq!(sonotune_base::error::kind(&error), Some(sonotune_base::ErrorKind::Data));
    format!("{error:#}")
}

#[test]
fn frames_of_every_kind_are_read_and_a_missing_number_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let levels = [10, 60, 110, 160, 210];
    write_dicom(&at("cine.dcm"), &levels);
    write_dicom(&at("IM0001"), &[77]);
    mjpeg_avi(&at("clip.avi"), &frames(&levels, 1), 95).unwrap();
    h264_mp4(&at("clip.mp4"), &frames(&levels, 3)).unwrap();
    let reader = Reader::default();
    for name in ["cine.dcm", "clip.avi", "clip.mp4"] {
        let path = at(name);
        assert_eq!(num_frames(&path).unwrap(), Some(5), "{name}");
        assert_eq!(read_size(&path, Some(4), OPTIONS).unwrap(), (16, 24));
        // Backwards, twice, and past what a player keeps.
        for frame in [3, 0, 1, 1, 4, 2] {
            let (got, expected) = (level(&reader, &path, frame), levels[frame as usize]);
            assert!(got.abs_diff(expected) < 6, "{name}: {got} instead of {expected}");
        }
        let error = refused(&path, None);
        assert!(error.contains("5 frames") && error.contains("`frame`"), "{error}");
        let error = refused(&path, Some(5));
        assert!(error.contains("no frame 5; it has 5"), "{error}");
        let error = read_size(&path, None, OPTIONS).unwrap_err().to_string();
        assert!(error.contains("5 frames"), "{error}");
    }
    assert_eq!(decode(&at("IM0001"), None, OPTIONS).unwrap().pixels[0], 77);
    assert_eq!(decode(&at("IM0001"), Some(0), OPTIONS).unwrap().pixels[0], 77);
    let small = DecodeOptions { max_pixels: 100, ..OPTIONS };
    let error = decode(&at("IM0001"), None, small).unwrap_err().to_string();
    assert!(error.contains("16x24 = 384 pixels"), "{error}");
}

#[test]
fn an_image_is_read_as_before_whatever_its_frame_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    image::GrayImage::from_pixel(5, 4, image::Luma([9])).save(&path).unwrap();
    let expected = sonotune_base::image_io::decode_file(&path, OPTIONS).unwrap();
    assert_eq!(decode(&path, Some(17), OPTIONS).unwrap(), expected);
    assert_eq!(num_frames(&path).unwrap(), None);
    // DICOM under the name of an image, and an image under that of DICOM.
    write_dicom(&folder.path().join("b.png"), &[50]);
    assert_eq!(decode(&folder.path().join("b.png"), None, OPTIONS).unwrap().pixels[0], 50);
    std::fs::copy(&path, folder.path().join("c.dcm")).unwrap();
    assert_eq!(decode(&folder.path().join("c.dcm"), None, OPTIONS).unwrap(), expected);
    std::fs::write(folder.path().join("d.png"), b"GIF89a").unwrap();
    let error = refused(&folder.path().join("d.png"), None);
    assert!(error.starts_with(&format!("image {}: ", folder.path().join("d.png").display())));
    let missing = folder.path().join("none.mp4");
    assert!(refused(&missing, Some(0)).contains("cannot read"));
}

#[test]
fn clips_of_a_folder_become_an_image_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    mjpeg_avi(&at("clip.avi"), &frames(&[10; 7], 1), 95).unwrap();
    write_dicom(&at("IM1"), &[5]);
    write_dicom(&at("1.2.826.3"), &[5, 6]);
    std::fs::write(at("notes.txt"), "hello").unwrap();
    image::GrayImage::new(3, 3).save(at("x.png")).unwrap();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/dicom/DICOMDIR");
    std::fs::copy(fixture, at("DICOMDIR")).unwrap();
    let ids = |choice| {
        let dataset = Dataset::from_images(folder.path(), choice).unwrap();
        let ids = dataset.records.iter().map(|r| r.image_id.to_string()).collect::<Vec<_>>();
        (ids.join(" "), dataset.notes)
    };
    let (all, notes) = ids(FrameChoice::All);
    assert_eq!(
        all,
        "1.2.826.3#0 1.2.826.3#1 IM1 clip.avi#0 clip.avi#1 clip.avi#2 clip.avi#3 clip.avi#4 \
         clip.avi#5 clip.avi#6 x.png"
    );
    assert!(matches!(&notes[..], [note] if note.contains("notes.txt")), "{notes:?}");
    let (some, notes) = ids(FrameChoice::Every(3.try_into().unwrap()));
    assert_eq!(some, "1.2.826.3#0 IM1 clip.avi#0 clip.avi#3 clip.avi#6 x.png");
    assert!(notes[1].contains("5 frames of 2 clips"), "{notes:?}");
    let one = Dataset::from_images(&at("clip.avi"), FrameChoice::All).unwrap();
    assert_eq!(one.records.len(), 7);
    assert_eq!(one.records[6].name(), PathBuf::from(format!("{}#6", at("clip.avi").display())));
    // A table of contents is not an image itself; it names some.
    let listed = Dataset::from_images(&at("DICOMDIR"), FrameChoice::All).unwrap();
    assert_eq!(listed.records.len(), 3);
    assert!(listed.records.iter().all(|record| record.path.starts_with(folder.path())));
    std::fs::write(at("cut.dcm"), [&[0; 128][..], b"DICM"].concat()).unwrap();
    let error = Dataset::from_images(&at("cut.dcm"), FrameChoice::All).unwrap_err().to_string();
    assert!(error.contains("cut.dcm: cannot be read as DICOM: "), "{error}");
}

#[test]
fn all_frames_of_a_clip_have_the_field_of_view_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    // Tissue at the left, which moves to the right within the same picture.
    let frame = |index: u32| {
        let level = |i: u32| {
            let (x, y) = (i % 128, i / 128);
            let inside = (16 + 4 * index..80 + 4 * index).contains(&x) && (16..80).contains(&y);
            if inside { 90 + ((x * 7 + y * 13) % 60) as u8 } else { 0 }
        };
        Pixels { height: 96, width: 128, channels: 1, data: (0..96 * 128).map(level).collect() }
    };
    let clip: Vec<Pixels> = (0..4).map(frame).collect();
    let head = DicomHead { patient: "p1", spacing: None };
    dicom(&folder.path().join("a.dcm"), &clip, head).unwrap();
    mjpeg_avi(&folder.path().join("b.avi"), &clip, 95).unwrap();
    h264_mp4(&folder.path().join("c.mp4"), &{
        let colour = |p: &Pixels| {
            let data = p.data.iter().flat_map(|&level| [level; 3]).collect();
            Pixels { channels: 3, data, ..*p }
        };
        clip.iter().map(colour).collect::<Vec<_>>()
    })
    .unwrap();
    for name in ["a.dcm", "b.avi", "c.mp4"] {
        let (path, reader) = (folder.path().join(name), Reader::default());
        let view = |frame| reader.decode_with_view(&path, Some(frame), OPTIONS).unwrap();
        // The last one first: the rectangle is that of frame 0 all the same.
        let (image, crop) = view(3);
        assert_eq!(image, decode(&path, Some(3), OPTIONS).unwrap());
        let [x0, y0, x1, y1] = crop.unwrap().edges();
        assert!((8.0..=16.0).contains(&x0) && (80.0..=88.0).contains(&x1), "{name}: {crop:?}");
        assert!((8.0..=16.0).contains(&y0) && (80.0..=88.0).contains(&y1), "{name}: {crop:?}");
        for frame in [0, 2, 1, 3] {
            assert_eq!(view(frame).1, crop, "{name}");
        }
    }
    let grey = image::GrayImage::from_raw(128, 96, frame(2).data).unwrap();
    grey.save(folder.path().join("d.png")).unwrap();
    let reader = Reader::default();
    let (_, crop) = reader.decode_with_view(&folder.path().join("d.png"), None, OPTIONS).unwrap();
    assert!((16.0..=24.0).contains(&crop.unwrap().edges()[0]), "{crop:?}");
    let error = reader.decode_with_view(&folder.path().join("none.mp4"), Some(0), OPTIONS);
    assert!(error.unwrap_err().to_string().contains("cannot read"));
}
