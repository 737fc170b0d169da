use std::fs;

use super::*;
use crate::{Intensity, fixture, npy::Array, write};

/// Largest and mean difference in levels from OpenCV's decoder.
fn differences(name: &str) -> (u8, f64) {
    let video = Video::open_with(&fixture(&format!("video/{name}")), || Ok(None)).unwrap();
    let stem = name.split('.').next().unwrap();
    let expected = Array::open(&fixture(&format!("video/{stem}.npy"))).unwrap();
    assert_eq!(video.num_frames(), expected.num_planes(), "{name}");
    let (mut largest, mut sum, mut count) = (0, 0, 0);
    let mut compare = |index: usize, pixels: &Pixels| {
        let expected = expected.pixels(index, 1.0, Intensity::Wrap).unwrap();
        assert_eq!((pixels.height, pixels.width), (expected.height, expected.width));
        let repeats = 3 / pixels.channels;
        let ours = pixels.data.iter().flat_map(|&v| std::iter::repeat_n(v, repeats));
        for (a, b) in ours.zip(expected.data) {
            largest = largest.max(a.abs_diff(b));
            sum += u64::from(a.abs_diff(b));
            count += 1;
        }
    };
    let mut seen = 0;
    video
        .frames(|index, pixels| {
            assert_eq!(index, seen);
            seen += 1;
            compare(index, &pixels);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, video.num_frames());
    let last = video.num_frames() - 1;
    compare(last, &video.frame(last).unwrap());
    (largest, sum as f64 / f64::from(count))
}

/// JPEG decoders differ in the last bit of the inverse DCT and in chroma upsampling (OpenCV's
/// FFmpeg repeats it, ours interpolates): a few levels where colours change.
#[test]
fn parity_with_opencv_motion_jpeg() {
    let (largest, mean) = differences("mjpeg.avi");
    assert!(largest <= 8 && mean < 2.0, "{largest} {mean}");
    let (largest, mean) = differences("grey.avi");
    assert!(largest <= 1 && mean < 0.1, "{largest} {mean}");
}

#[test]
fn parity_with_opencv_uncompressed() {
    assert_eq!(differences("raw.avi"), (0, 0.0));
}

/// Frames displayed in a different order than stored (B-frames). The standard fixes the decoded YUV,
/// and the conversion to RGB rounds as FFmpeg does: every level must match.
#[cfg(feature = "h264")]
#[test]
fn parity_with_opencv_h264() {
    assert_eq!(differences("h264.mp4"), (0, 0.0));
}

fn open_error(path: &Path) -> String {
    Video::open_with(path, || Ok(None)).unwrap_err().to_string()
}

fn frames(channels: usize) -> Vec<Pixels> {
    let frame = |i: u32| Pixels {
        height: 16,
        width: 24,
        channels,
        data: (0..16 * 24 * channels as u32).map(|n| (n / 4 % 200 + 10 * i) as u8).collect(),
    };
    (0..4).map(frame).collect()
}

fn assert_near(video: &Video, expected: &[Pixels], mean: f64) {
    assert_eq!(video.num_frames(), expected.len());
    video
        .frames(|i, pixels| {
            assert_eq!(pixels.data.len(), expected[i].data.len());
            let pairs = pixels.data.iter().zip(&expected[i].data);
            let sum: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            let found = f64::from(sum) / pixels.data.len() as f64;
            assert!(found < mean, "frame {i}: {found}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    write::mjpeg_avi(&path, &frames(1), 95).unwrap();
    assert_near(&Video::open(&path).unwrap(), &frames(1), 3.0);
    write::mjpeg_avi(&path, &frames(3), 95).unwrap();
    let video = Video::open(&path).unwrap();
    assert_near(&video, &frames(3), 30.0);
    assert!(video.frame(4).unwrap_err().to_string().contains("no frame 4"));
    assert!(write::mjpeg_avi(&path, &[], 95).is_err());
    #[cfg(feature = "h264")]
    {
        let path = folder.path().join("a.mp4");
        // Grey, so that halved chroma loses nothing.
        let grey = |p: Pixels| Pixels {
            channels: 3,
            data: p.data.iter().flat_map(|&v| [v; 3]).collect(),
            ..p
        };
        let grey: Vec<_> = frames(1).into_iter().map(grey).collect();
        write::h264_mp4(&path, &grey).unwrap();
        assert_near(&Video::open(&path).unwrap(), &grey, 8.0);
    }
}

/// Encoders of Motion JPEG leave the tables out.
#[test]
fn frames_without_huffman_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    write::mjpeg_avi(&path, &frames(3), 90).unwrap();
    let video = Video::open(&path).unwrap();
    let mut file = File::open(&path).unwrap();
    let Source::Own(contents) = &video.source else { panic!("it is read here") };
    let whole = read_sample(&mut file, contents.samples[1]).unwrap();
    let (mut bare, mut at) = (whole[..2].to_vec(), 2);
    while whole[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
        if whole[at + 1] != 0xc4 {
            bare.extend(&whole[at..end]);
        }
        at = end;
    }
    bare.extend(&whole[at..]);
    assert!(bare.len() + 400 < whole.len());
    assert_eq!(mjpeg::decode(&bare).unwrap(), mjpeg::decode(&whole).unwrap());
}

fn read_all(path: &Path) -> Result<()> {
    Video::open_with(path, || Ok(None))?.frames(|_, _| Ok(()))
}

#[test]
fn truncated_videos_are_errors_and_damaged_ones_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = vec!["video/mjpeg.avi", "video/raw.avi", "clips/partial.gif"];
    if cfg!(feature = "h264") {
        names.extend(["video/h264.mp4", "clips/trimmed.mov", "clips/full_range.mp4"]);
    }
    for name in names {
        let bytes = fs::read(fixture(name)).unwrap();
        let path = folder.path().join("a");
        for len in (0..bytes.len() - 64).step_by(bytes.len() / 150 + 1) {
            fs::write(&path, &bytes[..len]).unwrap();
            assert!(read_all(&path).is_err(), "{name} of {len} bytes");
        }
        let mut rng = sonotune_base::seed::Rng::at(11, &[]);
        for _ in 0..150 {
            let mut bad = bytes.clone();
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = rng.below(256) as u8;
            fs::write(&path, bad).unwrap();
            drop(read_all(&path));
        }
    }
}

/// What the fuzz target begins with.
#[test]
fn hostile_videos_are_errors_with_their_name_or_few_frames() {
    let folder = fixture("../hostile/video");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let video = match Video::open_with(&path, || Ok(None)) {
            Ok(video) => video,
            Err(e) => {
                assert!(e.to_string().contains(&name), "{e}");
                assert!(!name.contains("good"), "{e}");
                continue;
            }
        };
        for index in 0..video.num_frames().min(2) {
            if let Err(e) = video.frame(index) {
                assert!(e.to_string().contains(&name), "{e}");
            }
        }
    }
}

#[test]
fn what_is_no_video_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.avi");
    fs::write(&path, b"this is not a video at all").unwrap();
    assert!(open_error(&path).contains("not a video that is known"));
    fs::write(&path, b"RIFF\x04\0\0\0AVI ").unwrap();
    assert!(open_error(&path).contains("no video stream"));
    fs::write(&path, b"\0\0\0\x10ftypisom\0\0\0\0").unwrap();
    assert!(open_error(&path).contains("no index"));
}
