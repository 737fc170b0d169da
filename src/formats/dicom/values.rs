//! Values of elements, as text and numbers.

use anyhow::{Context, Result, bail, ensure};
use dicom_core::PrimitiveValue;
use dicom_object::{InMemDicomObject, Tag};

/// A data set or an item of a sequence, as `dicom-object` parsed it.
#[derive(Clone, Copy)]
pub(super) struct Values<'a>(pub(super) &'a InMemDicomObject);

/// A tag with the keyword that messages name it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(pub(super) u16, pub(super) u16, pub(super) &'static str);

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:04X},{:04X})", self.2, self.0, self.1)
    }
}

impl<'a> Values<'a> {
    fn element(self, key: Key) -> Option<&'a dicom_object::mem::InMemElement> {
        self.0.get(Tag(key.0, key.1))
    }

    /// The first of a text's values without its padding; `None` if it is absent or empty.
    pub(super) fn text(self, key: Key) -> Option<String> {
        // Korean is announced by an escape sequence that its decoder leaves.
        let text = self.element(key)?.to_str().ok()?.replace("\u{1b}$)C", "");
        let text = text.split('\\').next()?.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// All of a text's values without their padding.
    pub(super) fn texts(self, key: Key) -> Vec<String> {
        let text = self.element(key).and_then(|element| element.to_str().ok()).unwrap_or_default();
        let values = text.split('\\').map(|value| value.trim_matches([' ', '\0']).to_owned());
        values.collect()
    }

    /// Whole numbers; empty if the element is absent or empty.
    pub(super) fn integers(self, key: Key) -> Result<Vec<i64>> {
        let Some(element) = self.element(key) else { return Ok(Vec::new()) };
        match element.to_multi_int::<i64>() {
            Ok(numbers) => Ok(numbers),
            // Padding alone counts as empty.
            Err(_) if self.text(key).is_none() => Ok(Vec::new()),
            Err(_) => bail!("{key} is {}, not a whole number", shown(element)),
        }
    }

    /// One whole number from 0.
    pub(super) fn natural(self, key: Key) -> Result<Option<u32>> {
        let Some(&first) = self.integers(key)?.first() else { return Ok(None) };
        match u32::try_from(first) {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{key} is {first}, not a whole number from 0 to {}", u32::MAX),
        }
    }

    /// One whole number from 0 that must be there.
    pub(super) fn required(self, key: Key) -> Result<u32> {
        self.natural(key)?
            .with_context(|| format!("it has no {key}, without which it has no image"))
    }

    /// Finite numbers; empty if the element is absent or empty.
    pub(super) fn numbers(self, key: Key) -> Result<Vec<f64>> {
        let Some(element) = self.element(key) else { return Ok(Vec::new()) };
        let numbers = element.to_multi_float64().ok();
        let finite = |numbers: &Vec<f64>| numbers.iter().all(|n| n.is_finite());
        match numbers.filter(finite) {
            Some(numbers) => Ok(numbers),
            // Padding alone counts as empty.
            None if self.text(key).is_none() => Ok(Vec::new()),
            None => bail!("{key} is {}, not finite numbers", shown(element)),
        }
    }

    pub(super) fn number(self, key: Key) -> Result<Option<f64>> {
        Ok(self.numbers(key)?.first().copied())
    }

    /// Bytes as they are stored.
    pub(super) fn bytes(self, key: Key) -> Option<Vec<u8>> {
        self.element(key)?.to_bytes().ok().map(std::borrow::Cow::into_owned)
    }

    /// The items of a sequence; none if it is absent.
    pub(super) fn items(self, key: Key) -> impl Iterator<Item = Values<'a>> {
        self.element(key).and_then(|element| element.items()).unwrap_or_default().iter().map(Values)
    }

    /// `count` entries of a lookup table, and the bits that each is stored in: 8 or 16.
    pub(super) fn table(self, key: Key, count: usize) -> Result<(Vec<u16>, u32)> {
        let element = self.element(key).with_context(|| format!("it has no {key}"))?;
        let words: Vec<u16> = match element.value().primitive() {
            Some(PrimitiveValue::U16(words)) => words.to_vec(),
            Some(PrimitiveValue::I16(words)) => words.iter().map(|&word| word as u16).collect(),
            Some(PrimitiveValue::U8(bytes)) => {
                let word = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
                bytes.chunks_exact(2).map(word).collect()
            }
            _ => bail!("{key} does not hold a table of numbers"),
        };
        if words.len() >= count {
            return Ok((words[..count].to_vec(), 16));
        }
        ensure!(
            words.len() * 2 >= count,
            "{key} has {} bytes, too few for the {count} entries that its descriptor claims",
            words.len() * 2
        );
        // Two entries of 8 bits in each word.
        let entries = words.iter().flat_map(|word| word.to_le_bytes()).map(u16::from);
        Ok((entries.take(count).collect(), 8))
    }
}

fn shown(element: &dicom_object::mem::InMemElement) -> String {
    let text = element.to_str().map(std::borrow::Cow::into_owned).unwrap_or_default();
    format!("{:?}", text.chars().take(40).collect::<String>())
}
