//! The FFmpeg of the machine, for streams that no decoder here reads.
//!
//! It runs as a process of its own, gets the path of a local file and writes frames to a pipe; nothing
//! of it is linked. What it may do is limited: local files, container formats that hold video (no
//! playlists, which name other files), frames of a bounded size, and a time without progress.

mod ppm;
mod process;

use std::{
    env,
    io::BufRead,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use self::process::Process;
use super::MAX_PIXELS;
use crate::Pixels;

/// The variable that names the program; empty means that none is to be used.
pub(super) const VARIABLE: &str = "SONOTUNE_FFMPEG";

/// A frame takes milliseconds; a file on a slow network drive may need a while to open.
const PATIENCE: Duration = Duration::from_secs(60);

/// Demultiplexers that may be used, by FFmpeg's names.
const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,avi,mpeg,mpegts,mpegvideo,m4v,h264,hevc,matroska,webm,\
                       asf,flv,ogg,ivf,dv,mxf,nut,rm,gif";

/// A program `ffmpeg`.
#[derive(Debug, Clone)]
pub struct Ffmpeg {
    program: PathBuf,
    version: String,
    patience: Duration,
}

impl Ffmpeg {
    /// The program that `SONOTUNE_FFMPEG` names, else `ffmpeg` from the `PATH`; `None` if there is none
    /// or the variable is empty. It is looked for once in a process.
    ///
    /// # Errors
    /// When the variable names something that does not run or is not FFmpeg.
    pub fn find() -> Result<Option<Self>> {
        static FOUND: OnceLock<Result<Option<Ffmpeg>, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| Self::search().map_err(|e| format!("{e:#}")));
        found.clone().map_err(anyhow::Error::msg)
    }

    fn search() -> Result<Option<Self>> {
        match env::var_os(VARIABLE) {
            Some(program) if program.is_empty() => Ok(None),
            Some(program) => Self::at(Path::new(&program))
                .map(Some)
                .with_context(|| format!("{VARIABLE} is {}", program.display())),
            None => {
                let paths = env::var_os("PATH").unwrap_or_default();
                let name = format!("ffmpeg{}", env::consts::EXE_SUFFIX);
                let found = env::split_paths(&paths).map(|folder| folder.join(&name));
                // A relative folder in the PATH would run a program from the folder of the data.
                let mut found = found.filter(|path| path.is_absolute() && path.is_file());
                found.next().map(|program| Self::at(&program)).transpose()
            }
        }
    }

    /// The program at `program`, asked for its version.
    ///
    /// # Errors
    /// When it does not run, fails, or says nothing that FFmpeg says.
    pub fn at(program: &Path) -> Result<Self> {
        let mut command = command(program);
        command.arg("-version");
        let mut process = Process::start(command, PATIENCE, |pipe| {
            let mut line = String::new();
            Ok((pipe.read_line(&mut line)? > 0).then_some(line))
        })?;
        let mut version = None;
        while let Some(line) = process.next()? {
            let words = line.strip_prefix("ffmpeg version ");
            version = version.or(words.and_then(|w| w.split(' ').next()).map(str::to_owned));
        }
        let version = version.context("it does not answer `-version` as FFmpeg does")?;
        Ok(Self { program: program.to_owned(), version, patience: PATIENCE })
    }

    /// Its path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// "FFmpeg 7.1 (/usr/bin/ffmpeg)".
    #[must_use]
    pub fn name(&self) -> String {
        format!("FFmpeg {} ({})", self.version, self.program.display())
    }

    /// The number of frames that [`Ffmpeg::visit`] gives: decodes all, since containers do not say how
    /// many frames their streams have, or are wrong.
    pub(super) fn count(&self, path: &Path) -> Result<usize> {
        let mut command = self.decoder(path)?;
        // One line with a checksum for each frame.
        command.args(["-f", "framecrc", "pipe:1"]);
        let mut process = Process::start(command, self.patience, |pipe| {
            let mut line = String::new();
            Ok((pipe.read_line(&mut line)? > 0).then_some(line))
        })?;
        let mut count = 0;
        while let Some(line) = process.next()? {
            count += usize::from(!line.starts_with('#'));
        }
        ensure!(count > 0, "it finds no frame in it");
        Ok(count)
    }

    /// Visits all frames in display order as long as `each` returns `true`. At most two are in memory.
    pub(super) fn visit(
        &self,
        path: &Path,
        each: &mut impl FnMut(usize, Pixels) -> Result<bool>,
        error: impl Fn(usize, anyhow::Error) -> anyhow::Error,
    ) -> Result<()> {
        let start = || {
            let mut command = self.decoder(path)?;
            // OpenCV's way of scaling chroma; to RGB at once, frames of odd height would be rounded another way.
            command.args(["-vf", "scale=flags=bicubic,format=bgr24", "-pix_fmt", "rgb24"]);
            command.args(["-c:v", "ppm", "-f", "image2pipe", "pipe:1"]);
            Process::start(command, self.patience, ppm::read)
        };
        let mut process = start().map_err(|e| error(0, e))?;
        let mut index = 0;
        while let Some(pixels) = process.next().map_err(|e| error(index, self.blame(e)))? {
            if !each(index, pixels)? {
                return Ok(());
            }
            index += 1;
        }
        Ok(())
    }

    pub(super) fn blame(&self, e: anyhow::Error) -> anyhow::Error {
        e.context(format!("{} cannot decode it", self.name()))
    }

    /// The options of both ways to use it, up to those of the output.
    fn decoder(&self, path: &Path) -> Result<Command> {
        let path = std::path::absolute(path).context("its path cannot be made absolute")?;
        // With the protocol a name such as `concat:a` is a name.
        let mut url = std::ffi::OsString::from("file:");
        url.push(path);
        let mut command = command(&self.program);
        command.args(["-nostdin", "-hide_banner", "-v", "error"]);
        // Damage is an error, not a guess at what the frame was.
        command.args(["-xerror", "-err_detect", "explode"]);
        command.args(["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS]);
        command.args(["-max_pixels", &MAX_PIXELS.to_string(), "-max_alloc", "2147483647"]);
        command.args(["-threads", "1", "-i"]).arg(url);
        // The first video that is not a cover picture; no frame repeated or left out for a steady rate.
        command.args(["-map", "0:V:0"]).args(self.passthrough());
        Ok(command)
    }

    /// The option was renamed in version 5.1.
    fn passthrough(&self) -> [&'static str; 2] {
        let version = self.version.trim_start_matches('n');
        let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().ok());
        let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
        // What was built from a working copy calls itself something like `N-109474-gabcdef`.
        match major {
            Some(major) if (major, minor) < (5, Some(1)) => ["-vsync", "passthrough"],
            _ => ["-fps_mode", "passthrough"],
        }
    }
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    // It would write a report into the working folder.
    command.env_remove("FFREPORT").env("AV_LOG_FORCE_NOCOLOR", "1");
    command
}

#[cfg(test)]
mod tests;
