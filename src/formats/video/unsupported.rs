//! Streams that no decoder here reads: the machine's FFmpeg does, or a message says what to do.

use std::{fmt, path::Path};

use anyhow::{Context, Result, bail};
use sonotune_base::words::shell_word;

use super::{
    Source,
    ffmpeg::{Ffmpeg, VARIABLE},
};

/// What the stream is in, for "its video is in …".
#[derive(Debug)]
pub(super) struct Unsupported(pub(super) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its video is in {}, which is not read without FFmpeg", self.0)
    }
}

impl std::error::Error for Unsupported {}

impl Unsupported {
    pub(super) fn decode_with(
        self,
        path: &Path,
        find: impl FnOnce() -> Result<Option<Ffmpeg>>,
    ) -> Result<Source> {
        let Some(ffmpeg) = find().with_context(|| self.to_string())? else {
            bail!("{self}. {}", remedy(path));
        };
        match ffmpeg.count(path) {
            Ok(count) => Ok(Source::Ffmpeg(ffmpeg, count)),
            Err(e) => Err(ffmpeg.blame(e).context(self)),
        }
    }
}

/// What a user can do: install FFmpeg, or convert the file without loss.
fn remedy(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let out = path.with_file_name(format!("{stem}_rgb.avi"));
    format!(
        "Install FFmpeg where the PATH finds it, or set {VARIABLE} to the program; or convert the file, \
         without loss and with the same frames, and let the dataset's glob match the result: `ffmpeg -i \
         {} -map 0:V:0 -fps_mode passthrough -c:v rawvideo -pix_fmt bgr24 {}`",
        shell_word(&path.to_string_lossy()),
        shell_word(&out.to_string_lossy())
    )
}
