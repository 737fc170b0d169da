//! Clips as FFmpeg writes them, compared frame by frame, by number, with what OpenCV shows.

use std::{fs, path::PathBuf};

use sonotune_base::image_io::{DecodeOptions, decode_bytes};

use super::*;
use crate::fixture;

fn clip(name: &str) -> PathBuf {
    fixture(&format!("clips/{name}"))
}

/// OpenCV's frames, one below the other, in RGB.
fn expected(name: &str) -> Pixels {
    let bytes = fs::read(clip(&format!("{name}.png"))).unwrap();
    let image =
        decode_bytes(&bytes, DecodeOptions { exif: false, max_pixels: MAX_PIXELS }).unwrap();
    let (height, width, channels) = (image.height, image.width, image.channels);
    assert_eq!(channels, 3, "{name}");
    Pixels { height, width, channels, data: image.pixels }
}

/// Asserts the number of frames, and that no value differs by more than `most`.
fn assert_as_opencv(video: &Video, name: &str, most: u8) {
    let expected = expected(name);
    let (mut rows, mut largest) = (0, 0);
    let mut compare = |rows: u32, pixels: &Pixels| {
        assert_eq!(pixels.width, expected.width, "{name}");
        let repeats = 3 / pixels.channels;
        let ours = pixels.data.iter().flat_map(|&v| std::iter::repeat_n(v, repeats));
        let theirs = &expected.data[rows as usize * expected.width as usize * 3..];
        for (a, b) in ours.zip(theirs) {
            largest = largest.max(a.abs_diff(*b));
        }
    };
    let mut height = 0;
    video
        .frames(|_, pixels| {
            compare(rows, &pixels);
            height = pixels.height;
            rows += height;
            Ok(())
        })
        .unwrap();
    assert_eq!(rows, expected.height, "{name}: frames of {height} rows");
    assert_eq!(video.num_frames(), (rows / height) as usize, "{name}");
    let middle = video.num_frames() / 2;
    compare(middle as u32 * height, &video.frame(middle).unwrap());
    assert!(largest <= most, "{name}: {largest}");
}

fn own(name: &str) -> Video {
    Video::open_with(&clip(name), || Ok(None)).unwrap()
}

/// The range and the matrix of the stream come before those of the container. Rounding is swscale's, so
/// every level matches.
#[cfg(feature = "h264")]
#[test]
fn parity_with_opencv_range_and_matrix() {
    for name in [
        "untagged.mp4",
        "full_range.mp4",
        "bt709.mp4",
        "bt709_full.mp4",
        "container_colour.mp4",
        "two_colours.mp4",
    ] {
        assert_as_opencv(&own(name), name, 0);
    }
}

/// B-frames, with and without edits.
const ORDERED: [&str; 6] =
    ["ordered.mov", "trimmed.mov", "paused.mov", "repeated.mov", "past_the_end.mov", "h264.avi"];

/// OpenH264 is a few levels off in B-frames (`Contents::decode_better_with`); the next frame differs by 20.
#[cfg(feature = "h264")]
#[test]
fn parity_with_opencv_order_and_edit_lists() {
    for name in ORDERED {
        assert_as_opencv(&own(name), name, 4);
    }
}

#[cfg(feature = "h264")]
#[test]
fn parity_with_opencv_turned() {
    assert_as_opencv(&own("turned.mp4"), "turned.mp4", 0);
}

/// An odd size: the stream, of 4:2:0, has a row more than the container states.
#[cfg(feature = "h264")]
#[test]
fn the_container_cuts_an_odd_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.mp4");
    let mut bytes = fs::read(clip("untagged.mp4")).unwrap();
    let entry = bytes.windows(4).position(|w| w == b"avc1").and_then(|brand| {
        // The first one is a brand of the file, the second the sample entry.
        Some(brand + 4 + bytes[brand + 4..].windows(4).position(|w| w == b"avc1")?)
    });
    let height = entry.unwrap() - 4 + 34;
    assert_eq!(bytes[height..height + 2], [0, 32]);
    for (stated, rows) in [(31, 31), (17, 17), (16, 32), (40, 32)] {
        bytes[height + 1] = stated;
        fs::write(&path, &bytes).unwrap();
        let cut = Video::open_with(&path, || Ok(None)).unwrap().frame(0).unwrap();
        let whole = own("untagged.mp4").frame(0).unwrap();
        assert_eq!((cut.height, cut.width), (rows, 48));
        assert_eq!(cut.data, whole.data[..cut.data.len()]);
    }
}

#[test]
fn parity_with_opencv_gif() {
    for name in ["animated.gif", "disposal.gif", "partial.gif"] {
        assert_as_opencv(&own(name), name, 0);
    }
}

/// Decoders of JPEG differ in the last bit of the inverse DCT.
#[test]
fn parity_with_opencv_jpeg_in_quicktime() {
    assert_as_opencv(&own("jpeg.mov"), "jpeg.mov", 3);
}

/// What FFmpeg decodes: the name in the message, and the largest difference.
const FOREIGN: &[(&str, &str, u8)] = &[
    ("high_444.mp4", "H.264 of the profile High 4:4:4 Predictive (4:4:4, 8 bits)", 0),
    ("high_10.mp4", "H.264 of the profile High 10 (4:2:0, 10 bits)", 255),
    ("interlaced.mp4", "H.264 of the profile High (4:2:0, 8 bits, may be interlaced)", 255),
    ("mpeg_1.mpg", "MPEG-1 in an MPEG program stream", 0),
    ("mpeg_2.mpg", "MPEG-2 (profile Main) in an MPEG program stream", 0),
    ("mpeg_4.avi", "MPEG-4 Part 2 (FMP4)", 0),
    ("xvid.avi", "MPEG-4 Part 2 (XVID)", 0),
    ("h264.mkv", "V_MPEG4/ISO/AVC in Matroska or WebM", 0),
    ("vp9.webm", "V_VP9 in Matroska or WebM", 0),
    ("fragmented.mp4", "H.264 in a fragmented MP4", 0),
    ("limited_mjpeg.avi", "Motion JPEG of limited range", 2),
];

#[test]
fn without_ffmpeg_the_message_names_the_stream_and_what_to_do() {
    for (name, stream, _) in FOREIGN {
        let error = Video::open_with(&clip(name), || Ok(None)).unwrap_err().to_string();
        assert!(error.contains(&format!("in {stream}, which")), "{error}");
        assert!(error.contains("SONOTUNE_FFMPEG") && error.contains("`ffmpeg -i "), "{error}");
    }
}

/// The FFmpeg of `SONOTUNE_FFMPEG` or the `PATH`, or `None` with the reason printed.
fn ffmpeg() -> Option<Ffmpeg> {
    let found = Ffmpeg::find().unwrap();
    if found.is_none() {
        eprintln!("skipped: there is no ffmpeg (set SONOTUNE_FFMPEG)");
    }
    found
}

#[test]
fn parity_with_opencv_through_ffmpeg() {
    let Some(ffmpeg) = ffmpeg() else { return };
    for &(name, _, most) in FOREIGN {
        let video = Video::open_with(&clip(name), || Ok(Some(ffmpeg.clone()))).unwrap();
        assert!(video.ffmpeg().is_some(), "{name}");
        assert_as_opencv(&video, name, most);
    }
}

/// H.264: exact also where OpenH264 is not, and with the numbers that the edit lists give.
#[test]
fn parity_with_opencv_h264_through_ffmpeg() {
    let Some(ffmpeg) = ffmpeg() else { return };
    for name in ORDERED.into_iter().chain(["full_range.mp4", "turned.mp4"]) {
        let video = Video::open_with(&clip(name), || Ok(Some(ffmpeg.clone()))).unwrap();
        assert!(video.ffmpeg().is_some(), "{name}");
        assert_as_opencv(&video, name, 0);
    }
}

/// The message's command is run as it is, and its result has the same frames.
#[test]
fn the_remedy_converts_without_loss() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let folder = tempfile::tempdir().unwrap();
    for &(name, _, most) in FOREIGN {
        let path = folder.path().join(name);
        fs::copy(clip(name), &path).unwrap();
        let error = Video::open_with(&path, || Ok(None)).unwrap_err().to_string();
        let command = error.rsplit_once("`ffmpeg ").unwrap().1.strip_suffix('`').unwrap();
        let words: Vec<_> = command.split(' ').collect();
        let output = std::process::Command::new(ffmpeg.program()).args(&words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let converted = Video::open_with(words.last().unwrap().as_ref(), || Ok(None)).unwrap();
        assert_as_opencv(&converted, name, most);
    }
}

/// A file with a hole: the frame's number and what the decoder says, never a guess at its pixels.
#[cfg(feature = "h264")]
#[test]
fn damage_in_the_middle_is_an_error_with_the_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mov");
    let Source::Own(contents) = own("ordered.mov").source else { panic!("it is read here") };
    let mut bytes = fs::read(clip("ordered.mov")).unwrap();
    // The second key frame, which the last nine frames need.
    let Sample { start, len } = contents.samples[6];
    bytes[start as usize + 8..start as usize + len as usize].fill(0x55);
    fs::write(&path, &bytes).unwrap();
    let video = Video::open_with(&path, || Ok(None)).unwrap();
    let mut seen = 0;
    let error = video
        .frames(|_, _| {
            seen += 1;
            Ok(())
        })
        .unwrap_err()
        .to_string();
    assert!(seen < 15, "{seen}");
    assert!(error.contains(&format!("damaged.mov: frame {seen}: ")), "{error}");
}
