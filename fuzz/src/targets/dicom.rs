//! DICOM files and the directories of discs.

use sonotune_base::ErrorKind;
use sonotune_formats::dicom::{Dicom, directory, is_dicom};

use super::{accepted, scratch};

const NAME: &str = "hostile";

/// Frames that are looked at.
const FEW: usize = 3;

pub fn dicom(bytes: &[u8]) {
    let path = scratch::file("hostile.dcm", bytes);
    let _ = is_dicom(bytes);
    if let Some(entries) = accepted(directory::read(&path), ErrorKind::Data, NAME) {
        let folder = path.parent().expect("the folder of temporary files");
        assert!(entries.iter().all(|entry| entry.path.starts_with(folder)));
    }
    let Some(dicom) = accepted(Dicom::open(&path), ErrorKind::Data, NAME) else { return };
    let (height, width) = dicom.size();
    for region in &dicom.info().regions {
        let [x, y, w, h] = region.rect;
        assert!(w > 0 && h > 0 && x + w <= width && y + h <= height);
    }
    // The last index is one too many.
    let last = dicom.num_frames();
    for index in (0..last.min(FEW)).chain([last - 1, last]) {
        let Some(pixels) = accepted(dicom.frame(index), ErrorKind::Data, NAME) else { continue };
        assert_eq!((pixels.height, pixels.width), (height, width));
        assert_eq!(pixels.data.len(), height as usize * width as usize * pixels.channels);
    }
}
