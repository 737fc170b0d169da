//! DICOM images and cines as a source.

use sonotune_formats::write::{DicomHead, dicom};

use super::*;

const FRAMES: &str = "
[frames.videos]
files = \"cines/*\"
key = 'cines/(\\w+)'
[[frames.masks]]
files = \"masks/*.png\"
key = 'masks/(\\w+)_'
number = '_(\\d+)\\.png$'
decode = { values = { 255 = 1 } }
";

/// Frames of 4×4 with one bright pixel each.
fn write(source: &Source, name: &str, count: usize) {
    let frame = |index: usize| {
        let mut data = vec![20; 16];
        data[index] = 200;
        Pixels { height: 4, width: 4, channels: 1, data }
    };
    let frames: Vec<Pixels> = (0..count).map(frame).collect();
    source.write(name, b"");
    let head = DicomHead { patient: "p7", spacing: Some([0.5, 0.25]) };
    dicom(&source.path(name), &frames, head).unwrap();
}

#[test]
fn images_and_cines_are_read_with_their_patient_study_and_series() {
    let source = Source(tempfile::tempdir().unwrap());
    write(&source, "images/a.dcm", 1);
    source.picture("masks/a.png", 255);
    let spec = [HEAD, IMAGES, MASKS].concat().replace("images/*.png", "images/*.dcm");
    let spec = spec.replacen("\\.png$'", "\\.dcm$'", 1);
    let file = source.converted(&spec);
    assert_eq!((file.images.len(), file.annotations.len()), (1, 1));
    let image = &file.images[0];
    assert_eq!(image.provenance.patient.as_deref(), Some("p7"));
    assert_eq!((image.provenance.frame, image.spacing), (None, Some([0.5, 0.25])));
    for key in ["study", "series"] {
        assert!(image.extra.get(key).unwrap().get().contains("1.2.826.0.1.3680043.10."));
    }
    let written = source.0.path().join("out/images").join(&image.file_name);
    let pixels = image::open(written).unwrap().into_luma8();
    assert_eq!((pixels.get_pixel(0, 0)[0], pixels.get_pixel(1, 0)[0]), (200, 20));

    // A mask is for one frame.
    write(&source, "images/a.dcm", 3);
    let error = source.refused(&spec);
    assert!(error.contains("has 3 frames") && error.contains("[frames]"), "{error}");
    source.remove("masks/a.png");
    let alone =
        spec.replace("[rasters.images]", "[rasters]\nunpaired = \"keep_images\"\n[rasters.images]");
    source.picture("masks/b.png", 255);
    source.picture("images/b.png", 9);
    let both = alone.replace("images/*.dcm", "images/*").replacen("\\.dcm$'", "\\.\\w+$'", 1);
    let file = source.converted(&both);
    let frames: Vec<_> = file.images.iter().map(|image| image.provenance.frame).collect();
    assert_eq!(frames, [Some(0), Some(1), Some(2), None]);
}

#[test]
fn a_cine_with_masks_by_frame_is_read_as_a_video_is() {
    let source = Source(tempfile::tempdir().unwrap());
    write(&source, "cines/c1", 3);
    source.picture("masks/c1_1.png", 255);
    let spec = format!("{HEAD}{FRAMES}");
    let spec =
        spec.replace("[frames.videos]", "[frames]\nunpaired = \"keep_images\"\n[frames.videos]");
    let file = source.converted(&spec);
    assert_eq!((file.images.len(), file.annotations.len()), (3, 1));
    let image = &file.images[1];
    assert_eq!((image.provenance.frame, image.spacing), (Some(1), Some([0.5, 0.25])));
    assert_eq!(file.annotations[0].image_id, file.images[1].id);
    assert_eq!(file.images[2].provenance.patient.as_deref(), Some("p7"));
    source.picture("masks/c1_2.png", 255);
    let frames = |keys: &str| -> Vec<Option<u32>> {
        let some = spec.replace("[frames]\n", &format!("[frames]\n{keys}\n"));
        source.converted(&some).images.iter().map(|image| image.provenance.frame).collect()
    };
    assert_eq!(frames("every_frame = 2"), [Some(0), Some(2)]);
    assert_eq!(frames("num_frames = 1"), [Some(1)]);
    let both = spec.replace("[frames]\n", "[frames]\nevery_frame = 2\nnum_frames = 1\n");
    let error = format!("{:#}", source.convert(&both).unwrap_err());
    assert!(error.contains("exclude each other"), "{error}");
    source.picture("masks/c1_3.png", 255);
    let error = source.refused(&spec);
    assert!(error.contains("frame 3") && error.contains("has 3"), "{error}");
}
