//! Parses the `segmentation` of an annotation: polygons, or run lengths in one of two forms.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{Rle, Segmentation};
use crate::json::{Integer, Number, Unsigned};

/// `null` and `[]` mean an object without a mask.
impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SegmentationVisitor)
    }
}

struct SegmentationVisitor;

impl<'de> Visitor<'de> for SegmentationVisitor {
    type Value = Segmentation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a segmentation: a list of polygons, or { size, counts }")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Segmentation, E> {
        Ok(Segmentation::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Segmentation, A::Error> {
        let mut polygons = Vec::new();
        while let Some(Polygon(polygon)) = list.next_element()? {
            polygons.push(polygon);
        }
        polygons.shrink_to_fit();
        Ok(if polygons.is_empty() { Segmentation::None } else { Segmentation::Polygons(polygons) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Segmentation, A::Error> {
        #[derive(Deserialize)]
        struct Stored {
            size: [Unsigned; 2],
            counts: Counts,
        }
        let stored = Stored::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let [height, width] = stored.size;
        let side = |Unsigned(n)| {
            let wrong =
                |_| de::Error::invalid_value(Unexpected::Unsigned(n), &"a number of pixels");
            u32::try_from(n).map_err(wrong)
        };
        let (height, width) = (side(height)?, side(width)?);
        Ok(match stored.counts {
            Counts::Text(counts) => Segmentation::Compressed { height, width, counts },
            Counts::Runs(counts) => Segmentation::Runs(Rle { height, width, counts }),
        })
    }
}

/// One polygon, with excess capacity trimmed: a file holds hundreds of thousands.
struct Polygon(Vec<f64>);

impl<'de> Deserialize<'de> for Polygon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PolygonVisitor;
        impl<'de> Visitor<'de> for PolygonVisitor {
            type Value = Polygon;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a polygon [x0, y0, x1, y1, …] inside the list of polygons")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Polygon, A::Error> {
                let mut polygon = Vec::new();
                while let Some(Number(coordinate)) = list.next_element()? {
                    polygon.push(coordinate);
                }
                polygon.shrink_to_fit();
                Ok(Polygon(polygon))
            }
        }
        deserializer.deserialize_any(PolygonVisitor)
    }
}

enum Counts {
    Text(Box<str>),
    Runs(Vec<u32>),
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountsVisitor;
        impl<'de> Visitor<'de> for CountsVisitor {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("RLE counts: a string, or a list of run lengths")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Counts, E> {
                Ok(Counts::Text(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Counts, A::Error> {
                let mut runs = Vec::new();
                while let Some(Integer(run)) = list.next_element()? {
                    runs.push(u32::try_from(run).map_err(|_| {
                        de::Error::invalid_value(Unexpected::Signed(run), &"a run length")
                    })?);
                }
                runs.shrink_to_fit();
                Ok(Counts::Runs(runs))
            }
        }
        deserializer.deserialize_any(CountsVisitor)
    }
}
