//! Containers and streams that are recognised and not read here: what a message calls them.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use anyhow::Result;

use super::Unsupported;

/// Where a stream's first header is, in files seen.
const LOOK_AT: u64 = 1 << 18;
const TRANSPORT_PACKET: usize = 188;

/// The name of what the file holds, from its first bytes; `None` if it is not known as a video.
pub(super) fn recognise(file: &mut File) -> Result<Option<Unsupported>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(LOOK_AT).read_to_end(&mut bytes)?;
    let is_transport =
        bytes.len() > TRANSPORT_PACKET * 2 && (0..3).all(|i| bytes[i * TRANSPORT_PACKET] == 0x47);
    let container = match bytes.as_slice() {
        [0, 0, 1, 0xba, ..] => "an MPEG program stream",
        [0, 0, 1, 0xb3, ..] => "an MPEG stream without a container",
        _ if is_transport => "an MPEG transport stream",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "Matroska or WebM",
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, ..] => "ASF (Windows Media)",
        [b'F', b'L', b'V', 1, ..] => "Flash Video",
        [b'O', b'g', b'g', b'S', ..] => "Ogg",
        [b'.', b'R', b'M', b'F', ..] => "RealMedia",
        _ => return Ok(None),
    };
    let codec = mpeg(&bytes).or_else(|| matroska_codec(&bytes));
    let codec = codec.unwrap_or_else(|| "an unknown format".to_owned());
    Ok(Some(Unsupported(format!("{codec} in {container}"))))
}

/// MPEG-1 and MPEG-2 begin with a sequence header; MPEG-2 extends it, and names its profile there.
fn mpeg(bytes: &[u8]) -> Option<String> {
    let find = |code: u8, from: usize| {
        let rest = bytes.get(from..)?;
        Some(from + rest.windows(4).position(|w| w == [0, 0, 1, code])?)
    };
    let sequence = find(0xb3, 0)?;
    let Some(extension) = find(0xb5, sequence).and_then(|at| bytes.get(at + 4..at + 6)) else {
        return Some("MPEG-1".to_owned());
    };
    // Four bits name the extension, then one and three the profile.
    let profile = match (extension[0] >> 4, extension[0] & 7) {
        (1, 1) => "High",
        (1, 2) => "Spatially Scalable",
        (1, 3) => "SNR Scalable",
        (1, 4) => "Main",
        (1, 5) => "Simple",
        _ => return Some("MPEG-2".to_owned()),
    };
    Some(format!("MPEG-2 (profile {profile})"))
}

/// Matroska names codecs in plain text: `V_MPEG4/ISO/AVC`, `V_VP9`.
fn matroska_codec(bytes: &[u8]) -> Option<String> {
    let start = bytes.windows(2).position(|w| w == b"V_")?;
    let is_name = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'/');
    let name: Vec<u8> = bytes[start..].iter().take(40).take_while(is_name).copied().collect();
    (name.len() > 3).then(|| String::from_utf8_lossy(&name).into_owned())
}
