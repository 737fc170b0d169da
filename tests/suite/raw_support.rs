//! Small raw datasets, and contents of folders.

use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{GrayImage, Luma};

pub(crate) const SIDE: usize = 64;

/// Grey levels of 1 to 200, others for each seed: [`SIDE`]².
pub(crate) fn speckle(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 200) as u8 + 1
    };
    (0..SIDE * SIDE).map(next).collect()
}

/// Sets the pixels of a disc, centre (y, x).
pub(crate) fn disc(pixels: &mut [u8], (y, x): (usize, usize), radius: usize, value: u8) {
    let far = |a: usize, b: usize| a.abs_diff(b).pow(2);
    for (at, pixel) in pixels.iter_mut().enumerate() {
        if far(at / SIDE, y) + far(at % SIDE, x) <= radius.pow(2) {
            *pixel = value;
        }
    }
}

/// A mask of one disc, whose position and size depend on the seed.
pub(crate) fn mask(seed: u32) -> Vec<u8> {
    let mut pixels = vec![0; SIDE * SIDE];
    let seed = seed as usize;
    disc(&mut pixels, (20 + seed * 7 % 25, 18 + seed * 5 % 29), 8 + seed % 6, 255);
    pixels
}

/// An image with a bright disc where its mask has one.
pub(crate) fn picture(seed: u32) -> Vec<u8> {
    let lit = |(level, mask): (u8, u8)| if mask > 0 { 150 + level / 2 } else { level / 2 };
    speckle(seed).into_iter().zip(mask(seed)).map(lit).collect()
}

pub(crate) fn png(pixels: &[u8]) -> Vec<u8> {
    let at = |x: u32, y: u32| Luma([pixels[y as usize * SIDE + x as usize]]);
    let mut bytes = Cursor::new(Vec::new());
    GrayImage::from_fn(SIDE as u32, SIDE as u32, at)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// `count` images `img/<i>.png` with masks `seg/<i>.png`, as [`PAIRS`] describes them.
pub(crate) fn pairs(count: u32) -> Vec<(String, Vec<u8>)> {
    let pair =
        |i| [(format!("img/{i}.png"), png(&picture(i))), (format!("seg/{i}.png"), png(&mask(i)))];
    (0..count).flat_map(pair).collect()
}

pub(crate) fn write_pairs(folder: &Path, count: u32) {
    for name in ["img", "seg"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for (name, bytes) in pairs(count) {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

pub(crate) const PAIRS: &str = include_str!("../fixtures/curation/pairs.toml");

/// Everything below `folder`: files with their content, folders and links by their kind.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            let content = if kind.is_dir() {
                open.push(path.clone());
                b"a folder".to_vec()
            } else if kind.is_symlink() {
                b"a link".to_vec()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert(path.strip_prefix(folder).unwrap().to_owned(), content);
        }
    }
    found
}

/// Asserts that two folders are equal; names the files that differ instead of printing them.
#[track_caller]
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (snapshot(one), snapshot(other));
    let names = |of: &BTreeMap<PathBuf, Vec<u8>>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{} differs", name.display());
    }
}
