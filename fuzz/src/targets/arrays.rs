//! The files of raw datasets: arrays, volumes, videos, archives.

use std::path::Path;

use sonotune_archive::{Inner, Limits, unpack};
use sonotune_base::{ErrorKind, stop::StopFlag};
use sonotune_formats::{
    Intensity,
    hdf5::Hdf5,
    npy::Array,
    npy_dict,
    video::Video,
    volume::{View, Volume},
};

use super::{accepted, scratch};

const NAME: &str = "hostile";

/// Planes, frames and files that are looked at.
const FEW: usize = 4;

/// NIfTI, MetaImage and NRRD.
pub fn volumes(bytes: &[u8]) {
    // The ending tells formats apart where the content does not.
    for name in ["hostile.nii", "hostile.mha"] {
        let path = scratch::file(name, bytes);
        let Some(volume) = accepted(Volume::open(&path), ErrorKind::Data, NAME) else { continue };
        for view in [View::Axial, View::Sagittal, View::Coronal] {
            for index in 0..(volume.num_planes(view) + 1).min(FEW) {
                // The last index is one too many.
                let _ = volume.plane(view, index, None);
                let _ = volume.pixels(view, index, Some(0), Intensity::Range);
                let _ = volume.labels(view, index, Some(volume.num_channels() - 1));
            }
        }
        let _ = volume.range();
    }
}

/// NumPy arrays, plain and pickled in a dict.
pub fn arrays(bytes: &[u8]) {
    let path = scratch::file("hostile.npy", bytes);
    let arrays = npy_dict::read_arrays(&path, &["structures"]);
    if let Some(arrays) = accepted(arrays, ErrorKind::Data, NAME) {
        arrays.values().take(FEW).for_each(use_array);
    }
    if let Some(array) = accepted(Array::open(&path), ErrorKind::Data, NAME) {
        use_array(&array);
    }
}

fn use_array(array: &Array) {
    for index in 0..(array.num_planes() + 1).min(FEW) {
        let _ = array.plane(index);
        let _ = array.pixels(index, 255.0, Intensity::Window([0.0, 1.0]));
        let _ = array.labels(index);
    }
    let _ = array.range();
}

pub fn hdf5(bytes: &[u8]) {
    let path = scratch::file("hostile.h5", bytes);
    let Some(file) = accepted(Hdf5::open(&path), ErrorKind::Data, NAME) else { return };
    for name in ["image", "images", "mask", "group/image", "split", "frame"] {
        let _ = accepted(file.strings(name), ErrorKind::Data, NAME);
        let _ = accepted(file.integers(name), ErrorKind::Data, NAME);
        let Some(stack) = accepted(file.stack(name), ErrorKind::Data, NAME) else { continue };
        for index in 0..(stack.num_planes() + 1).min(FEW) {
            let _ = accepted(stack.plane(index), ErrorKind::Data, NAME);
            let _ = stack.pixels(index, Intensity::Clip);
            let _ = stack.labels(index);
        }
    }
}

/// Without the machine's FFmpeg, which is a process of its own.
pub fn video(bytes: &[u8]) {
    let path = scratch::file("hostile.avi", bytes);
    let opened = Video::open_with(&path, || Ok(None));
    let Some(video) = accepted(opened, ErrorKind::Data, NAME) else { return };
    for index in 0..(video.num_frames() + 1).min(FEW) {
        let _ = accepted(video.frame(index), ErrorKind::Data, NAME);
    }
    let mut frames = 0;
    let _ = video.frames(|_, pixels| {
        assert_eq!(
            pixels.data.len(),
            pixels.height as usize * pixels.width as usize * pixels.channels
        );
        frames += 1;
        anyhow::ensure!(frames < FEW, "enough");
        Ok(())
    });
}

/// zip, tar, tar.gz, 7z and rar, with archives in them.
pub fn archives(bytes: &[u8]) {
    let path = scratch::file("hostile.zip", bytes);
    let outside = scratch::path("");
    let into = scratch::empty_folder("unpacked");
    let limits = Limits { max_bytes: 8 << 20, max_files: 100, max_ratio: 2000, max_depth: 3 };
    let inner = [Inner { files: "**/*.zip".into(), into: Default::default() }];
    let tree = unpack(&path, &inner, &into, &limits, &|_| {}, &StopFlag::default());
    let Some(tree) = accepted(tree, ErrorKind::Data, NAME) else { return };
    let mut bytes = 0;
    for name in tree.paths() {
        let path = tree.path(name);
        let real = path.canonicalize().expect("a file of the tree");
        let root = into.canonicalize().expect("the folder it lies in");
        assert!(real.starts_with(&root), "{name} lies outside, at {}", real.display());
        bytes += tree.read(name).expect("a file of the tree").len() as u64;
    }
    assert!(bytes <= limits.max_bytes);
    nothing_outside(&outside);
}

/// That the folder holds what the targets put there and nothing else.
fn nothing_outside(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("the folder of temporary files").flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        assert!(name.starts_with(NAME) || name == "unpacked" || name == "written.json", "{name}");
    }
}
