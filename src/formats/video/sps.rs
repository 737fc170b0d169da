//! The sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1 and E.1.1): what kind of stream it is,
//! and how its colours are meant.

use anyhow::{Context, Result, ensure};

/// What a sequence parameter set says, as far as it decides how to decode and show frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sps {
    profile: u8,
    constraints: u8,
    chroma_format: u32,
    bit_depth: u32,
    /// All pictures are whole frames, none are fields of interlaced ones.
    frames_only: bool,
    /// Coded size, before cropping.
    pub(super) height: u64,
    pub(super) width: u64,
    /// Rows or columns are cropped at the top or on the left.
    pub(super) crops_start: bool,
    /// Full range, and the matrix's code if it is there; `None` if colours are not described.
    pub(super) colour: Option<(bool, Option<u8>)>,
}

/// Profiles whose sets say more about chroma and depth.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139];

impl Sps {
    /// Reads a unit of type 7, including the byte of its header.
    pub(super) fn parse(unit: &[u8]) -> Result<Self> {
        let payload = without_emulation_prevention(unit.get(1..).unwrap_or_default());
        let mut bits = Bits { bytes: &payload, at: 0 };
        read(&mut bits).context("its H.264 parameter set is damaged")
    }

    /// Whether OpenH264 decodes it: 4:2:0, 8 bits, whole frames, up to the profile High.
    pub(super) fn is_common(&self) -> bool {
        let profile = matches!(self.profile, 66 | 77 | 100)
            || self.profile == 88 && self.constraints & 0xc0 != 0;
        profile && self.chroma_format == 1 && self.bit_depth == 8 && self.frames_only
    }

    /// "H.264 of the profile High 4:4:4 Predictive (4:4:4, 8 bits)".
    pub(super) fn describe(&self) -> String {
        let profile = match self.profile {
            66 => "Baseline",
            77 => "Main",
            88 => "Extended",
            100 => "High",
            110 => "High 10",
            122 => "High 4:2:2",
            244 => "High 4:4:4 Predictive",
            44 => "CAVLC 4:4:4 Intra",
            83 | 86 => "Scalable",
            118 | 128 | 134 => "Multiview",
            other => return format!("H.264 of the unknown profile {other}"),
        };
        let chroma = ["grey", "4:2:0", "4:2:2", "4:4:4"].get(self.chroma_format as usize);
        let interlaced = if self.frames_only { "" } else { ", may be interlaced" };
        let (chroma, bits) = (chroma.unwrap_or(&"unknown chroma"), self.bit_depth);
        format!("H.264 of the profile {profile} ({chroma}, {bits} bits{interlaced})")
    }
}

fn read(bits: &mut Bits) -> Result<Sps> {
    let (profile, constraints) = (bits.u(8)? as u8, bits.u(8)? as u8);
    let _level = bits.u(8)?;
    let _id = bits.ue()?;
    let (mut chroma_format, mut bit_depth) = (1, 8);
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = bits.ue()?;
        ensure!(chroma_format <= 3, "chroma format {chroma_format}");
        if chroma_format == 3 {
            let _separate_planes = bits.u(1)?;
        }
        let (luma, chroma) = (bits.ue()?, bits.ue()?);
        ensure!(luma <= 6 && chroma <= 6, "{luma} and {chroma} bits more than 8");
        bit_depth = 8 + luma.max(chroma);
        let _lossless = bits.u(1)?;
        if bits.u(1)? == 1 {
            skip_scaling_lists(bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }
    let _max_frame_num = bits.ue()?;
    skip_order_count(bits)?;
    let _num_references = bits.ue()?;
    let _gaps = bits.u(1)?;
    let (columns, rows) = (u64::from(bits.ue()?) + 1, u64::from(bits.ue()?) + 1);
    let frames_only = bits.u(1)? == 1;
    if !frames_only {
        let _adaptive = bits.u(1)?;
    }
    let _direct_8x8 = bits.u(1)?;
    let mut crops_start = false;
    if bits.u(1)? == 1 {
        let [left, _right, top, _bottom] = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
        crops_start = left > 0 || top > 0;
    }
    let colour = if bits.u(1)? == 1 { colour(bits)? } else { None };
    let height = 16 * rows * if frames_only { 1 } else { 2 };
    let width = 16 * columns;
    Ok(Sps {
        profile,
        constraints,
        chroma_format,
        bit_depth,
        frames_only,
        height,
        width,
        crops_start,
        colour,
    })
}

fn skip_scaling_lists(bits: &mut Bits, count: usize) -> Result<()> {
    for list in 0..count {
        if bits.u(1)? == 0 {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?) & 0xff;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Ok(())
}

fn skip_order_count(bits: &mut Bits) -> Result<()> {
    match bits.ue()? {
        0 => {
            let _max_order = bits.ue()?;
        }
        1 => {
            let _always_zero = bits.u(1)?;
            let _offsets = (bits.se()?, bits.se()?);
            let count = bits.ue()?;
            ensure!(count <= 255, "{count} offsets in a cycle of frames");
            for _ in 0..count {
                let _offset = bits.se()?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The part of the VUI up to the colours.
fn colour(bits: &mut Bits) -> Result<Option<(bool, Option<u8>)>> {
    const EXTENDED_ASPECT: u32 = 255;
    if bits.u(1)? == 1 && bits.u(8)? == EXTENDED_ASPECT {
        let _aspect = bits.u(32)?;
    }
    if bits.u(1)? == 1 {
        let _overscan = bits.u(1)?;
    }
    if bits.u(1)? == 0 {
        return Ok(None);
    }
    let _format = bits.u(3)?;
    let full_range = bits.u(1)? == 1;
    let mut matrix = None;
    if bits.u(1)? == 1 {
        let _primaries_and_transfer = bits.u(16)?;
        matrix = Some(bits.u(8)? as u8);
    }
    Ok(Some((full_range, matrix)))
}

/// Encoders insert a 3 after two zeros, so that no start code appears within a unit.
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut zeros) = (Vec::with_capacity(bytes.len()), 0);
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// An unsigned number of `count` bits, up to 32.
    fn u(&mut self, count: u32) -> Result<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8).context("it ends early")?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    /// An Exp-Golomb code.
    fn ue(&mut self) -> Result<u32> {
        let mut zeros = 0;
        while self.u(1)? == 0 {
            zeros += 1;
            ensure!(zeros < 32, "a number of more than 32 bits");
        }
        Ok(((1_u64 << zeros) - 1) as u32 + self.u(zeros)?)
    }

    fn se(&mut self) -> Result<i32> {
        let code = self.ue()?;
        let half = (code.div_ceil(2)).cast_signed();
        Ok(if code % 2 == 1 { half } else { half.wrapping_neg() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits, most significant first.
    #[derive(Default)]
    struct Writer(Vec<u8>, usize);

    impl Writer {
        fn u(mut self, count: usize, value: u32) -> Self {
            for bit in (0..count).rev() {
                if self.1.is_multiple_of(8) {
                    self.0.push(0);
                }
                let last = self.0.len() - 1;
                self.0[last] |= ((value >> bit & 1) as u8) << (7 - self.1 % 8);
                self.1 += 1;
            }
            self
        }

        fn ue(self, value: u32) -> Self {
            let len = (value + 1).ilog2() as usize;
            self.u(len, 0).u(len + 1, value + 1)
        }

        /// As a unit, with a 3 after two zeros where the standard asks for it.
        fn unit(self) -> Vec<u8> {
            let (mut unit, mut zeros) = (vec![0x67], 0);
            for byte in self.0 {
                if zeros >= 2 && byte <= 3 {
                    unit.push(3);
                    zeros = 0;
                }
                zeros = if byte == 0 { zeros + 1 } else { 0 };
                unit.push(byte);
            }
            unit
        }
    }

    /// 4 × 2 macroblocks of the profile High, up to the flag of whole frames.
    fn high(chroma: u32, depth: u32) -> Writer {
        let head = Writer::default().u(8, 100).u(8, 0).u(8, 30).ue(0);
        let kind = head.ue(chroma).ue(depth - 8).ue(depth - 8).u(1, 0);
        // Scaling lists: the second of eight is there, with 16 steps of 0.
        let lists = kind.u(1, 1).u(1, 0).u(1, 1).u(16, 0xffff).u(6, 0);
        // Order counts of type 1 with one offset, one reference.
        lists.ue(0).ue(1).u(1, 0).ue(0).ue(0).ue(1).ue(0).ue(1).u(1, 0).ue(3).ue(1)
    }

    #[test]
    fn sizes_and_kinds() {
        let sps = Sps::parse(&high(1, 8).u(1, 1).u(1, 1).u(1, 0).u(1, 0).unit()).unwrap();
        assert_eq!((sps.height, sps.width, sps.colour), (32, 64, None));
        assert!(sps.is_common());
        assert_eq!(sps.describe(), "H.264 of the profile High (4:2:0, 8 bits)");
        let sps = Sps::parse(&high(1, 8).u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(1, 0).unit()).unwrap();
        assert_eq!(sps.height, 64);
        assert!(!sps.is_common() && sps.describe().contains("may be interlaced"));
        for (chroma, depth, text) in [(0, 8, "grey, 8"), (2, 8, "4:2:2, 8"), (1, 10, "4:2:0, 10")] {
            let unit = high(chroma, depth).u(1, 1).u(1, 1).u(1, 0).u(1, 0).unit();
            let sps = Sps::parse(&unit).unwrap();
            assert!(!sps.is_common() && sps.describe().contains(text), "{}", sps.describe());
        }
    }

    #[test]
    fn colours_follow_aspect_and_overscan() {
        let frame = || high(1, 8).u(1, 1).u(1, 1).u(1, 1).ue(0).ue(3).ue(0).ue(1).u(1, 1);
        let extended = || frame().u(1, 1).u(8, 255).u(32, 0x0001_0001).u(1, 1).u(1, 0);
        let sps = Sps::parse(&extended().u(1, 1).u(3, 5).u(1, 1).u(1, 0).unit()).unwrap();
        assert_eq!(sps.colour, Some((true, None)));
        let sps = Sps::parse(&extended().u(1, 1).u(3, 5).u(1, 0).u(1, 1).u(24, 0x01_01_07).unit());
        assert_eq!(sps.unwrap().colour, Some((false, Some(7))));
        let sps = Sps::parse(&frame().u(1, 0).u(1, 0).u(1, 0).unit()).unwrap();
        assert_eq!(sps.colour, None);
    }

    #[test]
    fn every_shorter_set_is_an_error() {
        let whole = high(1, 8).u(1, 1).u(1, 1).u(1, 0).u(1, 0).unit();
        for len in 0..whole.len() - 1 {
            let error = format!("{:#}", Sps::parse(&whole[..len]).unwrap_err());
            assert!(error.contains("parameter set is damaged"), "{error}");
        }
        assert!(Sps::parse(&[0x67; 3]).is_err());
        assert!(Sps::parse(&[0; 60]).is_err());
    }
}
