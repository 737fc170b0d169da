//! An open DICOM file or clip.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result};
use sonotune_base::{Error, ErrorKind, error, panics::catching};
use sonotune_formats::{Pixels, dicom::Dicom, video::Video};

use super::{Kind, player::Player};
use crate::field_of_view;

/// An open file whose frames are read one by one.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    file: Frames,
    size: OnceLock<(u32, u32)>,
}

#[derive(Debug)]
enum Frames {
    Dicom(Box<Dicom>),
    /// Each frame is decoded on its own.
    Independent(Video),
    /// Frames are decoded in their order.
    InOrder(Arc<Video>, Mutex<Option<Player>>),
}

impl Opened {
    /// Opens the file at `path`, which is of `kind`; `None` if that is an image.
    pub(super) fn open(path: &Path, kind: Kind) -> Result<Option<Self>> {
        let open = || -> Result<Option<Frames>> {
            Ok(Some(match kind {
                Kind::Image => return Ok(None),
                Kind::Dicom => Frames::Dicom(Box::new(Dicom::open(path)?)),
                Kind::Clip => {
                    let video = Video::open(path)?;
                    if video.is_random_access() {
                        Frames::Independent(video)
                    } else {
                        Frames::InOrder(Arc::new(video), Mutex::default())
                    }
                }
            }))
        };
        let file = catching(|| gave_up(path), open).map_err(|error| of_image(error, path, kind))?;
        Ok(file.map(|file| Self { path: path.to_owned(), file, size: OnceLock::new() }))
    }

    pub(super) fn num_frames(&self) -> usize {
        match &self.file {
            Frames::Dicom(dicom) => dicom.num_frames(),
            Frames::Independent(video) => video.num_frames(),
            Frames::InOrder(video, _) => video.num_frames(),
        }
    }

    /// `(height, width)` of every frame: that of the header, or of the first frame.
    pub(super) fn size(&self) -> Result<(u32, u32)> {
        if let Frames::Dicom(dicom) = &self.file {
            return Ok(dicom.size());
        }
        if let Some(size) = self.size.get() {
            return Ok(*size);
        }
        let Pixels { height, width, .. } = self.frame(0)?;
        Ok(*self.size.get_or_init(|| (height, width)))
    }

    /// `[row, column]` in millimetres a pixel, if the file says.
    pub(super) fn spacing(&self) -> Option<[f64; 2]> {
        match &self.file {
            Frames::Dicom(dicom) => dicom.info().spacing,
            Frames::Independent(_) | Frames::InOrder(..) => None,
        }
    }

    /// The index of the frame that is meant by `frame`.
    ///
    /// # Errors
    /// Kind data if there is no such frame, or several and none is named.
    pub(super) fn index(&self, frame: Option<u32>) -> Result<usize> {
        let count = self.num_frames();
        let fault = match frame.map(|frame| frame as usize) {
            Some(index) if index < count => return Ok(index),
            Some(index) => format!("there is no frame {index}; it has {count}, counted from 0"),
            None if count == 1 => return Ok(0),
            None => several(count),
        };
        Err(Error::data(format!("image {}: {fault}", self.path.display())).into())
    }

    /// The rectangle `[x, y, width, height]` of the ultrasound, the same for every frame: that of DICOM's regions,
    /// or what is seen in the first frame. `None`: all of it.
    pub(super) fn field_of_view(&self) -> Result<Option<[u32; 4]>> {
        if let Frames::Dicom(dicom) = &self.file
            && let Some(rect) = field_of_view::of_regions(&dicom.info().regions)
        {
            return Ok(Some(rect));
        }
        let first = self.frame(0)?;
        Ok(field_of_view::find(&first.data, (first.height, first.width), first.channels))
    }

    pub(super) fn frame(&self, index: usize) -> Result<Pixels> {
        let decode = || match &self.file {
            Frames::Dicom(dicom) => dicom.frame(index),
            Frames::Independent(video) => video.frame(index),
            Frames::InOrder(video, player) => {
                let mut player = player.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(pixels) = player.as_mut().and_then(|player| player.frame(index)) {
                    return pixels;
                }
                let first = player.insert(Player::start(video.clone())?).frame(index);
                first
                    .with_context(|| format!("{}: frame {index} is missing", self.path.display()))?
            }
        };
        let kind = match &self.file {
            Frames::Dicom(_) => Kind::Dicom,
            Frames::Independent(_) | Frames::InOrder(..) => Kind::Clip,
        };
        catching(|| gave_up(&self.path), decode).map_err(|error| of_image(error, &self.path, kind))
    }
}

/// That a file has several frames where one image is needed, and what to do.
pub(crate) fn several(count: usize) -> String {
    format!(
        "a file of {count} frames where one image is needed: name one of them (key `frame`, counted from 0), or \
         save the frames as images with `sonotune data convert`"
    )
}

fn gave_up(path: &Path) -> String {
    format!("{}: corrupt: the decoder gave up", path.display())
}

/// The error of a decoder, which begins with the path, as one of an image; one of the machine stays as it is.
fn of_image(cause: anyhow::Error, path: &Path, kind_of_file: Kind) -> anyhow::Error {
    let message = format!("{cause:#}");
    if !message.starts_with(&gave_up(path)) && error::kind(&cause) != Some(ErrorKind::Data) {
        return cause;
    }
    let why = message.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&message);
    let whose = if kind_of_file == Kind::Dicom { "cannot be read as DICOM: " } else { "" };
    Error::data(format!("image {}: {whose}{why}", path.display())).into()
}
