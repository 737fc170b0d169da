//! Which part of the picture stays: the regions that hold ultrasound.

use anyhow::Result;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use serde::Serialize;
use sonotune_base::Error;

/// Regions of these spatial formats hold what the probe measured: 2D, M-mode, spectral, waveform (PS3.3,
/// C.8.5.5.1.1). The others, "none" and "graphics", are where machines put text.
const MEASURED: std::ops::RangeInclusive<u16> = 1..=4;

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// A rectangle from `x,y,width,height`.
    ///
    /// # Errors
    /// A config error if the text is anything else, or the rectangle is empty.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let numbers: Option<Vec<u32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[x, y, width, height]) if width > 0 && height > 0 => {
                Ok(Self { x, y, width, height })
            }
            _ => Err(Error::config(format!(
                "region {text:?}: expected x,y,width,height in pixels from the upper left corner, such as \
                 120,80,640,480"
            ))),
        }
    }

    /// The part within a picture of `(height, width)`; `None` if there is none.
    #[must_use]
    pub fn within(self, (height, width): (u32, u32)) -> Option<Self> {
        let width = self.width.min(width.saturating_sub(self.x));
        let height = self.height.min(height.saturating_sub(self.y));
        (width > 0 && height > 0).then_some(Self { width, height, ..self })
    }
}

impl std::fmt::Display for Rect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{},{}", self.x, self.y, self.width, self.height)
    }
}

/// The measured regions of SequenceOfUltrasoundRegions, as far as they are within a picture of `(height, width)`.
/// Empty if the file has none.
#[must_use]
pub(crate) fn measured(object: &InMemDicomObject, size: (u32, u32)) -> Vec<Rect> {
    let items =
        object.get(tags::SEQUENCE_OF_ULTRASOUND_REGIONS).and_then(|element| element.items());
    items.unwrap_or_default().iter().filter_map(|item| region(item)?.within(size)).collect()
}

fn region(item: &InMemDicomObject) -> Option<Rect> {
    let number = |tag: Tag| item.get(tag)?.to_int::<i64>().ok();
    let format = number(tags::REGION_SPATIAL_FORMAT)?;
    if !MEASURED.contains(&u16::try_from(format).ok()?) {
        return None;
    }
    let corner = |tag| u32::try_from(number(tag)?).ok();
    let (x, y) = (corner(tags::REGION_LOCATION_MIN_X0)?, corner(tags::REGION_LOCATION_MIN_Y0)?);
    // The last row and column belong to the region.
    let width = corner(tags::REGION_LOCATION_MAX_X1)?.checked_sub(x)?.checked_add(1)?;
    let height = corner(tags::REGION_LOCATION_MAX_Y1)?.checked_sub(y)?.checked_add(1)?;
    Some(Rect { x, y, width, height })
}

#[cfg(test)]
mod tests {
    use dicom_core::{PrimitiveValue, VR, value::DataSetSequence};
    use dicom_object::mem::InMemElement;

    use super::*;

    fn item(format: u16, corners: [u32; 4]) -> InMemDicomObject {
        let places = [
            tags::REGION_LOCATION_MIN_X0,
            tags::REGION_LOCATION_MIN_Y0,
            tags::REGION_LOCATION_MAX_X1,
            tags::REGION_LOCATION_MAX_Y1,
        ];
        let elements = places
            .iter()
            .zip(corners)
            .map(|(tag, n)| InMemElement::new(*tag, VR::UL, PrimitiveValue::from(n)));
        let format =
            InMemElement::new(tags::REGION_SPATIAL_FORMAT, VR::US, PrimitiveValue::from(format));
        InMemDicomObject::from_element_iter(elements.chain([format]))
    }

    #[test]
    fn measured_regions_are_clipped_and_the_rest_is_left_out() {
        let items = vec![
            item(1, [10, 20, 29, 59]),
            item(5, [0, 0, 99, 9]),
            item(0, [0, 0, 99, 9]),
            item(3, [90, 70, 200, 200]),
            item(1, [50, 50, 40, 60]),
            item(1, [100, 0, 120, 10]),
            item(1, [0, 0, u32::MAX, u32::MAX]),
        ];
        let sequence = InMemElement::new(
            tags::SEQUENCE_OF_ULTRASOUND_REGIONS,
            VR::SQ,
            DataSetSequence::from(items),
        );
        let object = InMemDicomObject::from_element_iter([sequence]);
        let rect = |x, y, width, height| Rect { x, y, width, height };
        assert_eq!(measured(&object, (80, 100)), [rect(10, 20, 20, 40), rect(90, 70, 10, 10)]);
        assert_eq!(measured(&InMemDicomObject::new_empty(), (80, 100)), []);
    }

    #[test]
    fn a_region_of_the_command_line() {
        assert_eq!(Rect::parse("1, 2,3,4").unwrap().to_string(), "1,2,3,4");
        for text in ["", "1,2,3", "1,2,0,4", "a,b,c,d", "1,2,3,4,5", "-1,2,3,4"] {
            let error = Rect::parse(text).unwrap_err().to_string();
            assert!(error.contains("expected x,y,width,height"), "{error}");
        }
    }
}
