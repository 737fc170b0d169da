//! Writes AVI with Motion JPEG, and MP4 with H.264.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

use crate::{
    Pixels,
    avi_writer::{AviFormat, AviWriter},
};

/// Writes an AVI with Motion JPEG at 25 frames per second; all frames have the same size.
///
/// # Errors
/// Without frames, when sizes differ, or when writing fails.
pub fn mjpeg_avi(path: &Path, frames: &[Pixels], quality: u8) -> Result<()> {
    let (height, width) = size(frames)?;
    let format = AviFormat { height, width, frames_per_second: 25, quality };
    let mut writer = AviWriter::new(fs::File::create(path)?, format)?;
    frames.iter().try_for_each(|frame| writer.add(frame))?;
    writer.finish()?;
    Ok(())
}

/// Writes an MP4 with H.264 (no B-frames) at 25 frames per second; sizes are even, frames RGB.
///
/// # Errors
/// Without frames, when sizes differ or are odd, or when encoding or writing fails.
#[cfg(feature = "h264")]
pub fn h264_mp4(path: &Path, frames: &[Pixels]) -> Result<()> {
    use openh264::{
        OpenH264API,
        encoder::{BitRate, Encoder, EncoderConfig, RateControlMode},
        formats::{RgbSliceU8, YUVBuffer},
        nal_units,
    };

    let (height, width) = size(frames)?;
    ensure!(height % 2 == 0 && width % 2 == 0, "H.264 needs even sizes, not {height}×{width}");
    ensure!(frames.iter().all(|frame| frame.channels == 3), "H.264 needs RGB");
    let settings = EncoderConfig::new()
        .bitrate(BitRate::from_bps(50_000_000))
        .rate_control_mode(RateControlMode::Off)
        .skip_frames(false);
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), settings)?;
    let (mut samples, mut sets): (Vec<Vec<u8>>, [Vec<u8>; 2]) = (Vec::new(), Default::default());
    for frame in frames {
        let rgb = RgbSliceU8::new(&frame.data, (width as usize, height as usize));
        let stream = encoder.encode(&YUVBuffer::from_rgb8_source(rgb))?.to_vec();
        let mut sample = Vec::new();
        for unit in nal_units(&stream) {
            let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
            let unit = &unit[zeros + 1..];
            match unit[0] & 31 {
                7 => sets[0] = unit.to_vec(),
                8 => sets[1] = unit.to_vec(),
                _ => {
                    sample.extend((unit.len() as u32).to_be_bytes());
                    sample.extend(unit);
                }
            }
        }
        ensure!(!sample.is_empty(), "the encoder dropped a frame");
        samples.push(sample);
    }
    Ok(fs::write(path, mp4(height as u16, width as u16, &samples, &sets))?)
}

#[cfg(feature = "h264")]
fn mp4(height: u16, width: u16, samples: &[Vec<u8>], sets: &[Vec<u8>; 2]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>();
    let ftyp = mp4_box(b"ftyp", b"isom\0\0\x02\0isomiso2avc1mp41");
    let data = samples.concat();
    let count = samples.len() as u32;

    let mut avcc = vec![1, sets[0][1], sets[0][2], sets[0][3], 0xff, 0xe1];
    avcc.extend((sets[0].len() as u16).to_be_bytes());
    avcc.extend(&sets[0]);
    avcc.push(1);
    avcc.extend((sets[1].len() as u16).to_be_bytes());
    avcc.extend(&sets[1]);
    let mut entry = [&[0_u8; 6][..], &[0, 1], &[0; 16]].concat();
    entry.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    entry.extend(words(&[0x0048_0000, 0x0048_0000, 0, 0x0001_0000]));
    entry.truncate(entry.len() - 2);
    entry.extend([0; 32]);
    entry.extend([0, 24, 0xff, 0xff]);
    entry.extend(mp4_box(b"avcC", &avcc));
    let stsd = [words(&[0, 1]), mp4_box(b"avc1", &entry)].concat();

    let sizes: Vec<u32> = samples.iter().map(|sample| sample.len() as u32).collect();
    let place = (ftyp.len() + 8) as u32;
    let stbl = [
        mp4_box(b"stsd", &stsd),
        mp4_box(b"stts", &words(&[0, 1, count, 1])),
        mp4_box(b"stsc", &words(&[0, 1, 1, count, 1])),
        mp4_box(b"stsz", &[words(&[0, 0, count]), words(&sizes)].concat()),
        mp4_box(b"stco", &words(&[0, 1, place])),
        mp4_box(b"stss", &words(&[0, 1, 1])),
    ]
    .concat();
    let unity = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];
    let dinf = mp4_box(b"dref", &[words(&[0, 1]), mp4_box(b"url ", &words(&[1]))].concat());
    let minf =
        [mp4_box(b"vmhd", &words(&[1, 0, 0])), mp4_box(b"dinf", &dinf), mp4_box(b"stbl", &stbl)]
            .concat();
    let hdlr = [words(&[0, 0]), b"vide".to_vec(), vec![0; 13]].concat();
    let mdia = [
        mp4_box(b"mdhd", &words(&[0, 0, 0, 25, count, 0x55c4_0000])),
        mp4_box(b"hdlr", &hdlr),
        mp4_box(b"minf", &minf),
    ]
    .concat();
    let sides = [u32::from(width) << 16, u32::from(height) << 16];
    let tkhd = [words(&[3, 0, 0, 1, 0, count, 0, 0, 0, 0]), words(&unity), words(&sides)].concat();
    let trak = [mp4_box(b"tkhd", &tkhd), mp4_box(b"mdia", &mdia)].concat();
    let mvhd = [
        words(&[0, 0, 0, 25, count, 0x0001_0000, 0x0100_0000, 0, 0]),
        words(&unity),
        words(&[0, 0, 0, 0, 0, 0, 2]),
    ]
    .concat();
    let moov = [mp4_box(b"mvhd", &mvhd), mp4_box(b"trak", &trak)].concat();
    [ftyp, mp4_box(b"mdat", &data), mp4_box(b"moov", &moov)].concat()
}

#[cfg(feature = "h264")]
fn mp4_box(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    [&(data.len() as u32 + 8).to_be_bytes()[..], kind, data].concat()
}

fn size(frames: &[Pixels]) -> Result<(u32, u32)> {
    let sizes: Vec<_> = frames.iter().map(|frame| (frame.height, frame.width)).collect();
    ensure!(!sizes.is_empty(), "a video has at least one frame");
    ensure!(sizes.iter().all(|&size| size == sizes[0]), "frames differ in size: {sizes:?}");
    Ok(sizes[0])
}
