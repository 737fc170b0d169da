//! How much of a clip is in memory at a time, counted by the allocator.

// Clippy treats only functions marked #[test] as tests.
#![allow(clippy::unwrap_used)]

use std::{alloc::System, fs, path::Path};

use cap::Cap;
use sonotune_formats::video::Video;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const FRAMES: usize = 1000;
const SIDE: usize = 64;

fn chunk(id: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let len = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&id[..], &len, content].concat()
}

/// Uncompressed, of 24 bits.
fn write_avi(path: &Path) {
    let mut format = [40, SIDE as u32, SIDE as u32].map(u32::to_le_bytes).concat();
    format.extend([1, 0, 24, 0]);
    format.extend([0; 24]);
    let stream = [b"strl".to_vec(), chunk(b"strh", b"vidsDIB "), chunk(b"strf", &format)].concat();
    let header = [b"hdrl".to_vec(), chunk(b"LIST", &stream)].concat();
    let mut movi = b"movi".to_vec();
    for i in 0..FRAMES {
        movi.extend(chunk(b"00db", &vec![(i % 251) as u8; SIDE * SIDE * 3]));
    }
    let riff = [b"AVI ".to_vec(), chunk(b"LIST", &header), chunk(b"LIST", &movi)].concat();
    fs::write(path, chunk(b"RIFF", &riff)).unwrap();
}

/// Frames of one pixel each, on a canvas of the same size.
fn write_gif(path: &Path) {
    let side = (SIDE as u16).to_le_bytes();
    let mut bytes =
        [&b"GIF89a"[..], &side, &side, &[0x80, 0, 0], &[9, 9, 9, 200, 200, 200]].concat();
    for i in 0..FRAMES {
        let place = [(i % SIDE) as u8, 0, (i / SIDE) as u8, 0];
        bytes.extend([&b","[..], &place, &[1, 0, 1, 0, 0], &[2, 2, 0x4c, 1, 0]].concat());
    }
    bytes.push(b';');
    fs::write(path, bytes).unwrap();
}

/// The most that is allocated while a frame is looked at, in frames.
fn frames_in_memory(path: &Path) -> usize {
    let video = Video::open_with(path, || Ok(None)).unwrap();
    assert_eq!(video.num_frames(), FRAMES);
    let before = ALLOCATOR.allocated();
    let (mut most, mut seen) = (0, 0);
    video
        .frames(|_, pixels| {
            assert_eq!(pixels.data.len(), SIDE * SIDE * 3);
            most = most.max(ALLOCATOR.allocated().saturating_sub(before));
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, FRAMES);
    most / (SIDE * SIDE * 3)
}

#[test]
fn a_cine_of_a_thousand_frames_takes_the_memory_of_a_few() {
    let folder = tempfile::tempdir().unwrap();
    let avi = folder.path().join("cine.avi");
    write_avi(&avi);
    let held = frames_in_memory(&avi);
    assert!((1..=3).contains(&held), "{held}");
    // A canvas with its copies, of four bytes per pixel, and the tables of the decoder.
    let gif = folder.path().join("cine.gif");
    write_gif(&gif);
    let held = frames_in_memory(&gif);
    assert!((1..=16).contains(&held), "{held}");
}
