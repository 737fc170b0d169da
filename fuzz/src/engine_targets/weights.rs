//! Files of weights: listed, described, and every tensor of them read.

use std::path::Path;

use sonotune_base::ErrorKind;
use sonotune_weights as weights;
use sonotune_weights::{Inspection, WeightsFile};

use super::super::targets::{accepted, scratch};

const NAME: &str = "hostile";

/// A `.pth` or `.pkl` file; and the bytes as the pickle of one whose storages are in order.
pub fn torch_pth(bytes: &[u8]) {
    use_weights(&scratch::file("hostile.pth", bytes));
    if bytes.starts_with(&[0x80]) {
        use_weights(&scratch::file("hostile_zip.pth", &zipped(bytes)));
    }
}

pub fn safetensors(bytes: &[u8]) {
    use_weights(&scratch::file("hostile.safetensors", bytes));
    // The length before the header is what mutations get wrong first.
    let mut framed = (bytes.len() as u64).to_le_bytes().to_vec();
    framed.extend(bytes);
    framed.extend([0x3f; 64]);
    let path = scratch::file("hostile_framed.safetensors", &framed);
    use_weights(&path);
    let _ = sonotune_engine::checkpoint::read_progress(&path);
    let _ = weights::Overlay::open(&path);
}

fn use_weights(path: &Path) {
    let Some(file) = accepted(weights::open(path), ErrorKind::Weights, NAME) else { return };
    let inspection = Inspection::of(&file);
    assert!(!inspection.words(false).is_empty() && !inspection.words(true).is_empty());
    let _ = weights::keymap::recognise(&file, None);
    read_all(&file);
}

fn read_all(file: &WeightsFile) {
    for entry in file.entries() {
        let tensor = accepted(file.read(&entry.name), ErrorKind::Weights, NAME);
        if let Some(tensor) = tensor {
            assert_eq!(tensor.size(), entry.shape);
            assert_eq!(tensor.numel() as u64, entry.numel());
        }
    }
}

/// A zip as torch.save writes it: the pickle, and the storages 0 to 3 of 64 bytes each.
fn zipped(pickle: &[u8]) -> Vec<u8> {
    let storage = [0x3f; 64];
    let names = ["a/data.pkl", "a/data/0", "a/data/1", "a/data/2", "a/data/3"];
    let (mut zip, mut directory) = (Vec::new(), Vec::new());
    for (i, name) in names.iter().enumerate() {
        let content = if i == 0 { pickle } else { &storage[..] };
        let (len, place) = (content.len() as u32, zip.len() as u32);
        // From the version that is needed to the length of the extra field.
        let mut shared = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        shared.extend(crc32fast::hash(content).to_le_bytes());
        shared.extend([len.to_le_bytes(), len.to_le_bytes()].concat());
        shared.extend((name.len() as u16).to_le_bytes());
        shared.extend([0, 0]);
        zip.extend(b"PK\x03\x04");
        zip.extend(&shared);
        zip.extend(name.as_bytes());
        zip.extend(content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&shared);
        directory.extend([0; 10]);
        directory.extend(place.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, place) = ((names.len() as u16).to_le_bytes(), zip.len() as u32);
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([count, count].concat());
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(place.to_le_bytes());
    zip.extend([0, 0]);
    zip
}
