//! A mask as its file stores it, and which of its numbers a rule compares.

use sonotune_base::image_io::{Samples, Values};
use sonotune_formats::Plane;

use super::{Decoder, UnknownValue};
use crate::{Pixels, problem::ProblemKind, spec::Compare};

/// A mask before decoding.
#[derive(Debug, Clone)]
pub struct StoredMask {
    pub height: u32,
    pub width: u32,
    colors: Colors,
    /// Indices of its palette.
    index: Option<Vec<u32>>,
    alpha: Option<Vec<u32>>,
    /// Whether lossy compression may have changed its values.
    is_lossy: bool,
}

#[derive(Debug, Clone)]
enum Colors {
    /// Grey values or colours of 8 bits.
    Bytes(Pixels),
    /// Grey values of more.
    Numbers(Vec<u32>),
}

/// Category ids, and the values that the rule does not list.
type Decoded = (Pixels, Vec<UnknownValue>);
/// What is wrong with a mask as a whole; the rest of a sentence that starts with the file.
pub type Refusal = (ProblemKind, String);

impl From<Pixels> for StoredMask {
    fn from(pixels: Pixels) -> Self {
        Self {
            height: pixels.height,
            width: pixels.width,
            colors: Colors::Bytes(pixels),
            index: None,
            alpha: None,
            is_lossy: false,
        }
    }
}

impl StoredMask {
    /// A plane of a volume or an array.
    ///
    /// # Errors
    /// Same errors as [`Plane::to_numbers`].
    pub fn of_plane(plane: &Plane) -> anyhow::Result<Self> {
        if let Ok(pixels) = plane.to_labels() {
            return Ok(pixels.into());
        }
        // The error of a plane with several channels is that of labels.
        if plane.channels != 1 {
            plane.to_labels()?;
        }
        let numbers = plane.to_numbers()?;
        let (height, width) = (u32::try_from(plane.height)?, u32::try_from(plane.width)?);
        let colors = Colors::Numbers(numbers);
        Ok(Self { height, width, colors, index: None, alpha: None, is_lossy: false })
    }

    /// An image file.
    ///
    /// # Errors
    /// In words, if its numbers cannot be labels.
    pub fn of_samples(samples: Samples) -> Result<Self, String> {
        let Samples { height, width, channels, values, alpha, index, is_lossy, .. } = samples;
        let bytes = |data| Colors::Bytes(Pixels { height, width, channels, data });
        let colors = match values {
            Values::U8(data) => bytes(data),
            values => {
                let numbers = whole(&values)?;
                match eight_bits(&numbers) {
                    Some(data) => bytes(data),
                    None if channels == 1 => Colors::Numbers(numbers),
                    None => {
                        return Err(
                            "has colours of 16 bits per channel; save it with 8 bits".into()
                        );
                    }
                }
            }
        };
        let plane = |values: Option<Values>| values.map(|values| whole(&values)).transpose();
        Ok(Self { height, width, colors, index: plane(index)?, alpha: plane(alpha)?, is_lossy })
    }

    /// Category ids by what `compare` names; without it, by colours, or by the palette's indices if
    /// only they fit the rule.
    ///
    /// # Errors
    /// If the mask can be read in several ways, or lossy compression blurred it.
    pub fn decode(&self, decoder: &Decoder, compare: Option<Compare>) -> Result<Decoded, Refusal> {
        let ambiguous = |words: String| (ProblemKind::AmbiguousMask, words);
        let lacks = |what: &str, name: &str| {
            (
                ProblemKind::Unreadable,
                format!("has no {what}, but `compare = \"{name}\"` asks for it"),
            )
        };
        match compare {
            Some(Compare::Color) => self.by_color(decoder),
            Some(Compare::Index) => {
                let index = self.index.as_ref().ok_or_else(|| lacks("palette", "index"))?;
                Ok(self.by_numbers(decoder, index))
            }
            Some(Compare::Alpha) => {
                let alpha = self.alpha.as_ref().ok_or_else(|| lacks("alpha channel", "alpha"))?;
                Ok(self.by_numbers(decoder, alpha))
            }
            None if self.differs_in_alpha_only() => Err(ambiguous(
                "has one colour everywhere, and only its alpha channel (transparency) differs; \
                 `compare = \"alpha\"` reads the alpha channel, `compare = \"color\"` the colour"
                    .to_owned(),
            )),
            None => match &self.index {
                Some(index) if !decoder.is_of_colors() => self.by_color_or_index(decoder, index),
                _ => self.by_color(decoder),
            },
        }
    }

    fn by_color_or_index(&self, decoder: &Decoder, index: &[u32]) -> Result<Decoded, Refusal> {
        let by_color = self.by_color(decoder)?;
        let by_index = self.by_numbers(decoder, index);
        let fits = |decoded: &Decoded| decoded.1.is_empty();
        let is_marked = |decoded: &Decoded| decoded.0.data.iter().any(|&id| id != 0);
        match (fits(&by_color), fits(&by_index)) {
            (false, true) => Ok(by_index),
            (true, false) | (false, false) => Ok(by_color),
            (true, true) if by_color.0 == by_index.0 || !is_marked(&by_index) => Ok(by_color),
            (true, true) if !is_marked(&by_color) => Ok(by_index),
            (true, true) => Err((
                ProblemKind::AmbiguousMask,
                "has a palette, and its indices give other objects than its colours; \
                 `compare = \"index\"` reads the indices, `compare = \"color\"` the colours"
                    .to_owned(),
            )),
        }
    }

    fn by_color(&self, decoder: &Decoder) -> Result<Decoded, Refusal> {
        match &self.colors {
            Colors::Bytes(pixels) => {
                if self.is_lossy
                    && let Some(words) = decoder.blurred(pixels)
                {
                    return Err((ProblemKind::LossyMask, words));
                }
                Ok(decoder.decode(pixels))
            }
            Colors::Numbers(numbers) => {
                if let Some(least) = decoder.threshold().filter(|least| (2..256).contains(least))
                    && numbers.iter().any(|&v| (v >= least) != (v >> 8 >= least))
                {
                    let most = numbers.iter().max().copied().unwrap_or_default();
                    return Err((
                        ProblemKind::AmbiguousMask,
                        format!(
                            "has values up to {most}, more than 8 bits, but `at_least = {least}` is a \
                             threshold of 8 bits; write one of 256 or more, or \"nonzero\""
                        ),
                    ));
                }
                Ok(self.by_numbers(decoder, numbers))
            }
        }
    }

    fn by_numbers(&self, decoder: &Decoder, numbers: &[u32]) -> Decoded {
        let (data, unknown) = decoder.decode_numbers(numbers);
        (Pixels { height: self.height, width: self.width, channels: 1, data }, unknown)
    }

    /// What explains unknown values, as the end of a sentence.
    #[must_use]
    pub fn note(&self) -> &'static str {
        match (&self.index, self.is_lossy) {
            (_, true) => {
                " (lossy compression, such as JPEG, changes values: save masks as PNG, or write \
                 `decode = { at_least = 128 }`)"
            }
            (Some(_), _) => " (the file has a palette, whose indices do not fit either)",
            (None, false) => "",
        }
    }

    fn differs_in_alpha_only(&self) -> bool {
        let is_constant = match &self.colors {
            Colors::Bytes(pixels) => {
                let mut all = pixels.data.chunks_exact(pixels.channels);
                let first = all.next();
                all.all(|pixel| Some(pixel) == first)
            }
            Colors::Numbers(numbers) => numbers.windows(2).all(|pair| pair[0] == pair[1]),
        };
        let varies = |alpha: &Vec<u32>| alpha.windows(2).any(|pair| pair[0] != pair[1]);
        is_constant && self.alpha.as_ref().is_some_and(varies)
    }
}

/// The values as whole numbers.
fn whole(values: &Values) -> Result<Vec<u32>, String> {
    let exact = |value: f64| {
        if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) {
            Ok(value as u32)
        } else {
            Err(format!("holds {value}; the values of a mask are whole numbers from 0"))
        }
    };
    values.iter().map(exact).collect()
}

/// Values of 8 bits in a larger number, as they are, written twice or shifted to the upper half.
fn eight_bits(numbers: &[u32]) -> Option<Vec<u8>> {
    let all = |fits: &dyn Fn(u32) -> bool| numbers.iter().all(|&value| fits(value));
    let divisor = if all(&|value| value < 256) {
        1
    } else if all(&|value| value.is_multiple_of(257) && value < 65536) {
        257
    } else if all(&|value| value.is_multiple_of(256) && value < 65536) {
        256
    } else {
        return None;
    };
    Some(numbers.iter().map(|&value| (value / divisor) as u8).collect())
}
