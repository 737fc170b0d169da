//! Converts a mask's grey values or colours to category ids.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sonotune_base::Error;

use crate::{Pixels, spec::Decode};

/// A compiled [`Decode`] rule.
#[derive(Debug, Clone)]
pub enum Decoder {
    /// Category by grey value, with a table for those of 8 bits.
    Grey(Rule, Box<[Meaning; 256]>),
    /// Category by RGB colour.
    Colors(Vec<([u8; 3], u8)>),
}

/// Category by grey value, for values of any depth.
#[derive(Debug, Clone)]
pub enum Rule {
    /// This value and above are the category.
    AtLeast(u32, u8),
    /// Only this value is the category.
    Equal(u32, u8),
    /// Categories by value, and whether others are background.
    Values(BTreeMap<u32, u8>, bool),
}

impl Rule {
    fn meaning(&self, value: u32) -> Meaning {
        let binary = |is: bool, id: u8| Meaning::Category(if is { id } else { 0 });
        match self {
            Self::AtLeast(least, id) => binary(value >= *least, *id),
            Self::Equal(equal, id) => binary(value == *equal, *id),
            Self::Values(map, else_background) => match map.get(&value) {
                Some(&id) => Meaning::Category(id),
                None if value == 0 || *else_background => Meaning::Category(0),
                None => Meaning::Unknown,
            },
        }
    }
}

/// What a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A category, or 0 for background.
    Category(u8),
    /// Not in the rule.
    Unknown,
}

/// A value that is not in the rule, and how many pixels have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownValue {
    /// A grey value, or a colour as `r,g,b`.
    pub value: String,
    /// Number of pixels in this mask.
    pub pixels: u64,
}

impl Decoder {
    /// Compiles `decode`; rules that only separate foreground from background yield `foreground`.
    ///
    /// # Errors
    /// Of kind config, when a key is not a grey value or colour.
    pub fn new(decode: &Decode, foreground: u8) -> Result<Self> {
        let rule = match decode {
            Decode::Nonzero => Rule::AtLeast(1, foreground),
            Decode::AtLeast(least) => Rule::AtLeast(*least, foreground),
            Decode::Equal(equal) => Rule::Equal(*equal, foreground),
            Decode::Values(map) => Rule::Values(grey_values(map)?, false),
            Decode::ValuesElseBackground(map) => Rule::Values(grey_values(map)?, true),
            Decode::Colors(map) => return Ok(Self::Colors(colors(map, |c| c)?)),
            Decode::ColorsBgr(map) => {
                return Ok(Self::Colors(colors(map, |[b, g, r]| [r, g, b])?));
            }
        };
        let mut table = [Meaning::Unknown; 256];
        for (value, entry) in (0..).zip(&mut table) {
            *entry = rule.meaning(value);
        }
        Ok(Self::Grey(rule, Box::new(table)))
    }

    /// Whether it compares colours.
    #[must_use]
    pub fn is_of_colors(&self) -> bool {
        matches!(self, Self::Colors(_))
    }

    /// The smallest value of the foreground, if that is all it says.
    #[must_use]
    pub fn threshold(&self) -> Option<u32> {
        match self {
            Self::Grey(Rule::AtLeast(least, _), _) => Some(*least),
            _ => None,
        }
    }

    /// Category ids of grey values of any depth, and the unknown values (decoded as background).
    #[must_use]
    pub fn decode_numbers(&self, numbers: &[u32]) -> (Vec<u8>, Vec<UnknownValue>) {
        let meaning = |value: u32| match self {
            Self::Grey(rule, _) => rule.meaning(value),
            Self::Colors(_) if value == 0 => Meaning::Category(0),
            Self::Colors(_) => Meaning::Unknown,
        };
        let mut unknown = BTreeMap::<u32, u64>::new();
        let data = numbers.iter().map(|&value| match meaning(value) {
            Meaning::Category(id) => id,
            Meaning::Unknown => {
                *unknown.entry(value).or_default() += 1;
                0
            }
        });
        let data = data.collect();
        let unknown = unknown
            .into_iter()
            .map(|(value, pixels)| UnknownValue { value: value.to_string(), pixels });
        (data, unknown.collect())
    }

    /// Why a mask whose values lossy compression changed does not show the foreground, in words.
    #[must_use]
    pub fn blurred(&self, mask: &Pixels) -> Option<String> {
        /// How far compression usually moves a value.
        const REACH: u32 = 16;
        let Self::Grey(rule, _) = self else { return None };
        let near = |value: u32, kept: u32| value != kept && value.abs_diff(kept) <= REACH;
        let is_blurred = |value: u32| match rule {
            Rule::AtLeast(1, _) => (1..=2 * REACH).contains(&value),
            Rule::AtLeast(..) => false,
            Rule::Equal(equal, _) => near(value, *equal),
            Rule::Values(map, else_background) => {
                *else_background && !map.contains_key(&value) && map.keys().any(|&k| near(value, k))
            }
        };
        let grey = grey(mask);
        let pixels = grey.iter().filter(|&&value| is_blurred(u32::from(value))).count();
        (pixels > 0).then(|| {
            format!(
                "went through lossy compression (such as JPEG), which changed the values of {pixels} pixels \
                 near those that `decode` compares; write `decode = {{ at_least = 128 }}`, or save the mask \
                 as PNG"
            )
        })
    }

    /// Category ids of `mask` (`[H, W, 1]`), and the unknown values (decoded as background).
    #[must_use]
    pub fn decode(&self, mask: &Pixels) -> (Pixels, Vec<UnknownValue>) {
        let (data, unknown) = match self {
            Self::Grey(_, table) => decode_grey(table, mask),
            Self::Colors(list) => decode_colors(list, mask),
        };
        let unknown =
            unknown.into_iter().map(|(value, pixels)| UnknownValue { value, pixels }).collect();
        (Pixels { height: mask.height, width: mask.width, channels: 1, data }, unknown)
    }
}

fn grey_values(map: &BTreeMap<String, u8>) -> Result<BTreeMap<u32, u8>> {
    let parse = |(key, &id): (&String, &u8)| match key.trim().parse::<u32>() {
        Ok(value) => Ok((value, id)),
        Err(_) => {
            bail!(Error::config(format!(
                "decode: `{key}` is not a grey value, a whole number from 0"
            )))
        }
    };
    map.iter().map(parse).collect()
}

fn colors(
    map: &BTreeMap<String, u8>,
    order: impl Fn([u8; 3]) -> [u8; 3],
) -> Result<Vec<([u8; 3], u8)>> {
    let parse = |(key, &id): (&String, &u8)| {
        let parts: Option<Vec<u8>> = key.split(',').map(|part| part.trim().parse().ok()).collect();
        match parts.as_deref() {
            Some(&[a, b, c]) => Ok((order([a, b, c]), id)),
            _ => bail!(Error::config(format!(
                "decode: `{key}` is not a colour; write it as \"255,128,0\""
            ))),
        }
    };
    map.iter().map(parse).collect()
}

type Unknown = BTreeMap<String, u64>;

fn decode_grey(table: &[Meaning; 256], mask: &Pixels) -> (Vec<u8>, Unknown) {
    let mut ids = [0_u8; 256];
    let mut has_unknown = false;
    for (id, meaning) in ids.iter_mut().zip(table) {
        match meaning {
            Meaning::Category(category) => *id = *category,
            Meaning::Unknown => has_unknown = true,
        }
    }
    let grey = grey(mask);
    let data = grey.iter().map(|&value| ids[usize::from(value)]).collect();
    let mut unknown = Unknown::new();
    if has_unknown {
        let mut counts = [0_u64; 256];
        grey.iter().for_each(|&value| counts[usize::from(value)] += 1);
        for ((value, count), meaning) in counts.into_iter().enumerate().zip(table) {
            if count > 0 && *meaning == Meaning::Unknown {
                unknown.insert(value.to_string(), count);
            }
        }
    }
    (data, unknown)
}

fn decode_colors(list: &[([u8; 3], u8)], mask: &Pixels) -> (Vec<u8>, Unknown) {
    let mut unknown = BTreeMap::<[u8; 3], u64>::new();
    // Neighbouring pixels mostly share their colour.
    let black = list.iter().find(|(known, _)| *known == [0; 3]).map_or(0, |&(_, id)| id);
    let mut last = ([0; 3], black);
    let mut look_up = |color: [u8; 3]| {
        if color == last.0 {
            return last.1;
        }
        let id = match list.iter().find(|(known, _)| *known == color) {
            Some(&(_, id)) => id,
            None if color == [0; 3] => black,
            None => {
                *unknown.entry(color).or_default() += 1;
                return 0;
            }
        };
        last = (color, id);
        id
    };
    let data = match mask.channels {
        1 => mask.data.iter().map(|&value| look_up([value; 3])).collect(),
        _ => mask.data.chunks_exact(3).map(|p| look_up([p[0], p[1], p[2]])).collect(),
    };
    let shown = |([r, g, b], count): ([u8; 3], u64)| (format!("{r},{g},{b}"), count);
    (data, unknown.into_iter().map(shown).collect())
}

/// Grey as the reference computes it: OpenCV's weights for RGB on pixels in BGR order, in OpenCV's
/// 15-bit fixed-point arithmetic.
fn grey(mask: &Pixels) -> std::borrow::Cow<'_, [u8]> {
    if mask.channels == 1 {
        return (&mask.data).into();
    }
    let weigh = |p: &[u8]| {
        let (r, g, b) = (u32::from(p[0]), u32::from(p[1]), u32::from(p[2]));
        // 0.299, 0.587 and 0.114 of 2^15.
        ((9798 * b + 19235 * g + 3735 * r + (1 << 14)) >> 15) as u8
    };
    mask.data.chunks_exact(3).map(weigh).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(colors: &[[u8; 3]]) -> Pixels {
        Pixels { height: 1, width: colors.len() as u32, channels: 3, data: colors.concat() }
    }

    /// The reference's own figures: red 29, green 150, blue 76, dark red 15.
    /// "Red" has blue's weight here, as seen by a BGR decoder.
    #[test]
    fn grey_weights_are_the_references() {
        let mask = rgb(&[[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 0, 0], [7, 7, 7]]);
        assert_eq!(grey(&mask).as_ref(), [29, 150, 76, 15, 7]);
    }

    #[test]
    fn thresholds_and_values() {
        let mask = Pixels { height: 1, width: 5, channels: 1, data: vec![0, 1, 150, 254, 255] };
        let ids = |decode: Decode| Decoder::new(&decode, 2).unwrap().decode(&mask);
        assert_eq!(ids(Decode::AtLeast(150)).0.data, [0, 0, 2, 2, 2]);
        assert_eq!(ids(Decode::Equal(255)).0.data, [0, 0, 0, 0, 2]);
        assert_eq!(ids(Decode::Nonzero).0.data, [0, 2, 2, 2, 2]);
        let map = BTreeMap::from([("1".to_owned(), 1), ("255".to_owned(), 3)]);
        assert_eq!(ids(Decode::ValuesElseBackground(map.clone())).0.data, [0, 1, 0, 0, 3]);
        let (pixels, unknown) = ids(Decode::Values(map));
        assert_eq!(pixels.data, [0, 1, 0, 0, 3]);
        let unknown: Vec<_> = unknown.iter().map(|u| (u.value.as_str(), u.pixels)).collect();
        assert_eq!(unknown, [("150", 1), ("254", 1)]);
    }

    #[test]
    fn colours_are_exact_and_unknown_ones_counted() {
        let map = BTreeMap::from([("255,255,0".to_owned(), 2), ("10,10,10".to_owned(), 0)]);
        let mask = rgb(&[[255, 255, 0], [0, 255, 255], [10, 10, 10], [0, 0, 0], [0, 255, 255]]);
        let (pixels, unknown) =
            Decoder::new(&Decode::Colors(map.clone()), 0).unwrap().decode(&mask);
        assert_eq!(pixels.data, [2, 0, 0, 0, 0]);
        assert_eq!(unknown, [UnknownValue { value: "0,255,255".to_owned(), pixels: 2 }]);
        let (pixels, _) = Decoder::new(&Decode::ColorsBgr(map), 0).unwrap().decode(&mask);
        assert_eq!(pixels.data, [0, 2, 0, 0, 2]);
    }

    #[test]
    fn keys_that_are_no_values_are_refused() {
        let map = BTreeMap::from([("-1".to_owned(), 1)]);
        let error = Decoder::new(&Decode::Values(map), 0).unwrap_err().to_string();
        assert!(error.contains("`-1` is not a grey value"), "{error}");
    }
}
