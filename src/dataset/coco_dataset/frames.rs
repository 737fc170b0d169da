//! Which frame of its file an image entry means.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, anyhow};
use rayon::prelude::*;
use serde_json::value::RawValue;
use sonotune_base::{json::Integer, words::counted};

use crate::pixels::{has_image_ending, num_frames, several};

/// Number of frames of each clip and DICOM file among `paths`, as far as they can be read. Files that are called
/// images are not opened: a split may have a hundred thousand.
pub(super) fn counts<'a>(paths: impl Iterator<Item = &'a Path>) -> BTreeMap<&'a Path, u32> {
    let mut files: Vec<&Path> = paths.filter(|path| !has_image_ending(path)).collect();
    files.sort_unstable();
    files.dedup();
    // One that is missing or damaged is reported as such elsewhere.
    let count = |path: &&'a Path| Some((*path, num_frames(path).ok().flatten()?));
    files.par_iter().filter_map(count).collect()
}

/// The frame of an entry whose key `frame` is `raw` and whose file has `count` frames; `None` if it has one.
///
/// # Errors
/// If it is no frame of the file, or missing.
pub(super) fn frame(raw: Option<&RawValue>, count: u32) -> Result<Option<u32>> {
    let raw = raw.filter(|raw| raw.get() != "null");
    let Some(raw) = raw else {
        return if count == 1 { Ok(None) } else { Err(anyhow!("is {}", several(count as usize))) };
    };
    let index = serde_json::from_str(raw.get()).ok().and_then(|Integer(n)| u32::try_from(n).ok());
    match index {
        Some(index) if index < count => Ok((count > 1).then_some(index)),
        _ => Err(anyhow!(
            "`frame` is {}, expected one of its {}, counted from 0",
            raw.get(),
            counted(count as usize, "frame")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_of_the_file() {
        let read = |raw: &str, count| {
            let raw = RawValue::from_string(raw.to_owned()).unwrap();
            frame(Some(&raw), count).map_err(|e| e.to_string())
        };
        assert_eq!(read("3", 4), Ok(Some(3)));
        assert_eq!(read("\"3\"", 4), Ok(Some(3)));
        assert_eq!((read("0", 1), read("null", 1)), (Ok(None), Ok(None)));
        assert_eq!(frame(None, 1).unwrap(), None);
        for (raw, count) in [("4", 4), ("-1", 4), ("1.5", 4), ("\"ed\"", 4), ("1", 1)] {
            let error = read(raw, count).unwrap_err();
            assert!(error.contains(&format!("`frame` is {raw}")), "{error}");
        }
        for error in [read("null", 4).unwrap_err(), frame(None, 4).unwrap_err().to_string()] {
            assert!(error.contains("4 frames") && error.contains("`frame`"), "{error}");
        }
    }
}
