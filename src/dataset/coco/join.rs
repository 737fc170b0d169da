//! From the lists of a file to joined entries: places for messages, references, numbers.

use std::{borrow::Borrow, collections::HashMap, fmt::Display, hash::Hash};

use anyhow::{Context, Result, anyhow, ensure};
use sonotune_base::{ImageId, Segmentation, names::quoted};

use super::{Bbox, Image, Integer, Number, Plain, Reader};

/// `annotations[3] (id 17)`.
#[must_use]
pub fn entry(list: &str, index: usize, id: Option<&ImageId>) -> String {
    match id {
        Some(ImageId::Text(text)) => format!("{list}[{index}] (id {})", quoted(&[text])),
        Some(id) => format!("{list}[{index}] (id {id})"),
        None => format!("{list}[{index}]"),
    }
}

/// An id as JSON has it.
#[must_use]
pub fn spelled(id: &ImageId) -> String {
    serde_json::to_string(id).unwrap_or_else(|_| id.to_string())
}

/// What `index` has for the id under an entry's `key`, which is `image_id` or `category_id`; `of`
/// says for messages whose ids they are, e.g. ` of the ground truth`.
///
/// # Errors
/// When there is no id, or the index does not have it.
pub fn find<I: Borrow<ImageId> + Eq + Hash, V: Copy>(
    key: &str,
    id: Option<&ImageId>,
    index: &HashMap<I, V>,
    of: &str,
) -> Result<V> {
    let id = id.with_context(|| format!("`{key}` is missing"))?;
    index.get(id).copied().ok_or_else(|| {
        let whose = if key == "image_id" { "image" } else { "category" };
        let mut hint = respelled(id, index);
        if !hint.is_empty() {
            hint.push_str(": spell both alike, as a number or as text");
        }
        anyhow!("{key} {} is not the id of any {whose}{of}{hint}", spelled(id))
    })
}

/// What `index` has for the `image_id` of an annotation of the same file, in either spelling: older versions of
/// VIA write ids as texts in one list and as numbers in another.
///
/// # Errors
/// When there is no id, or the index does not have it.
pub fn find_image<I: Borrow<ImageId> + Eq + Hash, V: Copy>(
    id: Option<&ImageId>,
    index: &HashMap<I, V>,
) -> Result<V> {
    match id.and_then(|id| in_either_spelling(id, index)) {
        Some(value) => Ok(value),
        None => find("image_id", id, index, ""),
    }
}

/// What `index` has for an id: if not as it is spelled, as 5 for `"5"` or as `"5"` for 5.
pub fn in_either_spelling<I: Borrow<ImageId> + Eq + Hash, V: Copy>(
    id: &ImageId,
    index: &HashMap<I, V>,
) -> Option<V> {
    let other = || id.respelled().and_then(|other| index.get(&other));
    index.get(id).or_else(other).copied()
}

/// `, but 5 is`, if `index` has the id spelled the other way, else nothing.
fn respelled<I: Borrow<ImageId> + Eq + Hash, V>(id: &ImageId, index: &HashMap<I, V>) -> String {
    let other = id.respelled().filter(|other| index.contains_key(other));
    other.map(|other| format!(", but {} is", spelled(&other))).unwrap_or_default()
}

/// What is wrong with an annotation that has the id of `annotations[first]`.
pub(crate) fn same_id(first: usize) -> String {
    format!(
        "has the same id as annotations[{first}]: if both are wanted, `sonotune data filter FILE \
         --out NEW` numbers them anew"
    )
}

/// The error of a category that the file does not have.
pub fn unknown_category<T: Display + Ord>(
    id: T,
    known: impl IntoIterator<Item = T>,
) -> anyhow::Error {
    let mut known: Vec<T> = known.into_iter().collect();
    known.sort_unstable();
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    anyhow!("category_id {id} is not the id of any category; they are [{}]", known.join(", "))
}

impl<C: serde::de::DeserializeOwned> Image<Plain<C>> {
    /// `(height, width)`, unless the file lacks one of them.
    ///
    /// # Errors
    /// When one is not a number of pixels.
    pub fn size(&self) -> Result<Option<(u32, u32)>> {
        let side = |key, value: Option<Integer>| value.map(|n| pixels(key, n.0)).transpose();
        Ok(side("height", self.height)?.zip(side("width", self.width)?))
    }
}

impl<R: Reader> Image<R> {
    /// Its id; never its position, which the `image_id` of an annotation may count from 0 or from 1.
    ///
    /// # Errors
    /// When it has none.
    pub fn required_id(&self) -> Result<ImageId> {
        self.id.clone().context(
            "`id` is missing: give each image an `id`, and use it as `image_id` in its annotations",
        )
    }

    /// `file_name`.
    ///
    /// # Errors
    /// When it is missing or empty.
    pub fn required_name(&self) -> Result<&str> {
        let name = self.file_name.as_ref().map(|name| name.0.as_str());
        name.filter(|name| !name.is_empty()).context("`file_name` is missing")
    }
}

/// Height or width of an image.
///
/// # Errors
/// When `n` is 0, negative, or too large.
pub fn pixels<N: Display + Copy + TryInto<u32>>(key: &str, n: N) -> Result<u32> {
    let pixels = n.try_into().ok().filter(|&pixels| pixels > 0);
    pixels.with_context(|| format!("`{key}` is {n}: expected a number of pixels"))
}

/// Box (XYWH) and area of an object: those of the file, else those of its mask.
///
/// # Errors
/// When there is neither box nor mask, or a number is out of range.
pub fn measures(
    bbox: Option<Bbox>,
    area: Option<Number>,
    mask: &Segmentation,
) -> Result<([f64; 4], f64)> {
    let bbox = match bbox {
        Some(Bbox(bbox)) => bbox,
        None => mask.bbox()?.context("has neither `bbox` nor `segmentation`")?,
    };
    check_bbox(bbox)?;
    let area = match area {
        Some(Number(area)) => area,
        None => mask.area()?.unwrap_or(bbox[2] * bbox[3]),
    };
    ensure!(area.is_finite() && area >= 0.0, "area {area} is not a number of pixels");
    Ok((bbox, area))
}

/// Checks that a box (XYWH) is one.
///
/// # Errors
/// When a number is not finite, or width or height is negative.
pub fn check_bbox(bbox: [f64; 4]) -> Result<()> {
    ensure!(
        bbox.iter().all(|side| side.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0,
        "bbox {bbox:?} is not [x, y, width, height] with a width and height of at least 0"
    );
    Ok(())
}
