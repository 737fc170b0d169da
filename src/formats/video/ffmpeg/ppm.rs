//! Frames from a pipe: Netpbm's P6, each with its size before its pixels.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, ensure};

use crate::{Pixels, video::check_size};

/// The longest header has two sizes of ten digits.
const MAX_LINE: u64 = 32;

/// The next frame; `None` at the end. The size is checked before its pixels are allocated.
pub(super) fn read(pipe: &mut impl BufRead) -> Result<Option<Pixels>> {
    let Some(kind) = line(pipe)? else { return Ok(None) };
    ensure!(kind == "P6", "it wrote a frame of the kind {kind:?}, not P6");
    let sizes = line(pipe)?.context("the frame has no size")?;
    let parsed = sizes.split_once(' ').and_then(|(w, h)| Some((h.parse().ok()?, w.parse().ok()?)));
    let (height, width): (u32, u32) =
        parsed.with_context(|| format!("the frame has the size {sizes:?}"))?;
    check_size(height.into(), width.into())?;
    let levels = line(pipe)?.context("the frame has no number of levels")?;
    ensure!(levels == "255", "the frame has {levels} levels, not 255");
    let mut data = vec![0; height as usize * width as usize * 3];
    pipe.read_exact(&mut data).context("it stopped within a frame")?;
    Ok(Some(Pixels { height, width, channels: 3, data }))
}

/// A line without its end; `None` at the end of the pipe.
fn line(pipe: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    pipe.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    ensure!(line.pop() == Some(b'\n'), "it wrote something other than frames");
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_each_other() {
        let mut pipe = &b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyz"[..];
        let first = read(&mut pipe).unwrap().unwrap();
        assert_eq!((first.height, first.width, &first.data[..]), (1, 2, &b"abcdef"[..]));
        assert_eq!(read(&mut pipe).unwrap().unwrap().data, b"xyz");
        assert_eq!(read(&mut pipe).unwrap(), None);
    }

    #[test]
    fn anything_else_is_an_error() {
        for (bytes, expected) in [
            (&b"P5\n2 1\n255\nab"[..], "kind"),
            (b"P6\n2 1\n255\nabc", "within a frame"),
            (b"P6\n2\n255\nabc", "size"),
            (b"P6\n100000 100000\n255\n", "100000"),
            (b"P6\n0 1\n255\n", "0"),
            (b"P6\n1 1\n65535\nabcdef", "65535 levels"),
            (b"P6\n1 1\n", "levels"),
            (&[b'P'; 500], "other than frames"),
        ] {
            let error = format!("{:#}", read(&mut &bytes[..]).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
