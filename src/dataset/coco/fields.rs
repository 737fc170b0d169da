//! Values of single keys, in every spelling that tools write.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Unexpected, Visitor},
};

/// An integer, also where a table that passed through floating point wrote `640.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer(pub i64);

/// An [`Integer`] of at least 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned(pub u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole { expected: "an integer of up to 64 bits", signed: true };
        deserializer.deserialize_any(whole).map(|n| Self(n as i64))
    }
}

impl<'de> Deserialize<'de> for Unsigned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole { expected: "an integer of at least 0", signed: false };
        deserializer.deserialize_any(whole).map(|n| Self(n as u64))
    }
}

/// Reads what an `i64` (signed) or a `u64` can hold.
struct Whole {
    expected: &'static str,
    signed: bool,
}

impl Visitor<'_> for Whole {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<i128, E> {
        if n >= 0 || self.signed {
            return Ok(n.into());
        }
        Err(E::invalid_type(Unexpected::Signed(n), &self))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<i128, E> {
        if !self.signed || i64::try_from(n).is_ok() {
            return Ok(n.into());
        }
        Err(E::invalid_value(Unexpected::Unsigned(n), &self))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<i128, E> {
        // 2⁵³: beyond it, floating point no longer tells neighbours apart.
        if x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0 && (x >= 0.0 || self.signed) {
            return Ok(x as i128);
        }
        Err(E::invalid_value(Unexpected::Float(x), &self))
    }
}

/// `iscrowd`: 0 or 1, as number or truth value.
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
                match n {
                    0 | 1 => Ok(Flag(n == 1)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(n), &self)),
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
            let Some(side) = list.next_element()? else { break };
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
