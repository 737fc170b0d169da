//! Values of single keys, in every spelling that tools write.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Unexpected, Visitor},
};
use sonotune_base::json::Number;

/// `iscrowd`: 0 or 1, as number, text or truth value.
#[derive(Debug, Clone, Copy)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0 or 1")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Flag, E> {
                self.visit_f64(n as f64)
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Flag, E> {
                match x {
                    0.0 | 1.0 => Ok(Flag(x == 1.0)),
                    _ => Err(E::invalid_value(Unexpected::Float(x), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Flag, E> {
                match text {
                    "0" | "1" => Ok(Flag(text == "1")),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// XYWH.
#[derive(Debug, Clone, Copy)]
pub struct Bbox(pub [f64; 4]);

impl<'de> Deserialize<'de> for Bbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(BboxVisitor)?
            .map(Bbox)
            .ok_or_else(|| de::Error::invalid_length(0, &BboxVisitor))
    }
}

/// `pixel_spacing`: millimetres between the centres of neighbouring rows, and of neighbouring columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelSpacing(pub [f64; 2]);

impl PixelSpacing {
    /// The key of an image entry.
    pub const KEY: &'static str = "pixel_spacing";

    /// `[row, column]`, if both are finite and positive.
    #[must_use]
    pub fn new(spacing: [f64; 2]) -> Option<Self> {
        spacing.iter().all(|side| side.is_finite() && *side > 0.0).then_some(Self(spacing))
    }
}

impl<'de> Deserialize<'de> for PixelSpacing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpacingVisitor)
    }
}

struct SpacingVisitor;

impl<'de> Visitor<'de> for SpacingVisitor {
    type Value = PixelSpacing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "[row, column], two positive numbers of millimetres a pixel; leave the key out if they are unknown",
        )
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PixelSpacing, A::Error> {
        let (mut sides, mut length) = ([f64::NAN; 2], 0);
        while let Some(Number(side)) = list.next_element()? {
            if let Some(slot) = sides.get_mut(length) {
                *slot = side;
            }
            length += 1;
        }
        if length != 2 {
            return Err(de::Error::invalid_length(length, &self));
        }
        PixelSpacing::new(sides).ok_or_else(|| {
            let wrong = sides
                .into_iter()
                .find(|side| side.is_nan() || *side <= 0.0)
                .unwrap_or(f64::INFINITY);
            de::Error::invalid_value(Unexpected::Float(wrong), &self)
        })
    }
}

/// A box of a result file: `[]` and `null` are none, as in pycocotools.
pub(super) fn bbox_or_nothing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<[f64; 4]>, D::Error> {
    deserializer.deserialize_any(BboxVisitor)
}

/// Four numbers, or none for an empty list.
struct BboxVisitor;

impl<'de> Visitor<'de> for BboxVisitor {
    type Value = Option<[f64; 4]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bbox of four numbers, [x, y, width, height]")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut bbox = [0.0; 4];
        let mut length = 0;
        while length < 4 {
            let Some(Number(side)) = list.next_element()? else { break };
            bbox[length] = side;
            length += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        match length {
            0 => Ok(None),
            4 => Ok(Some(bbox)),
            _ => Err(de::Error::invalid_length(length, &self)),
        }
    }
}
