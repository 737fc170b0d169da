//! From stored numbers to grey levels: modality LUT, VOI LUT, then 8 bits (PS3.4, annex N.2).

use anyhow::Result;

use super::{
    header::{Image, Photometric},
    samples::Samples,
    values::{Key, Values},
};

const MODALITY_LUT: Key = Key(0x0028, 0x3000, "ModalityLUTSequence");
const VOI_LUT: Key = Key(0x0028, 0x3010, "VOILUTSequence");
const LUT_DESCRIPTOR: Key = Key(0x0028, 0x3002, "LUTDescriptor");
const LUT_DATA: Key = Key(0x0028, 0x3006, "LUTData");
const CENTER: Key = Key(0x0028, 0x1050, "WindowCenter");
const WIDTH: Key = Key(0x0028, 0x1051, "WindowWidth");
const INTERCEPT: Key = Key(0x0028, 0x1052, "RescaleIntercept");
const SLOPE: Key = Key(0x0028, 0x1053, "RescaleSlope");
const FUNCTION: Key = Key(0x0028, 0x1056, "VOILUTFunction");

/// Depth up to which all levels are computed once.
const MAX_TABLE_BITS: u32 = 16;

/// A lookup table of the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lut {
    /// The value that the first entry belongs to.
    first: i64,
    entries: Vec<u16>,
    /// The largest value that an entry can have.
    largest: f64,
}

impl Lut {
    /// `None` if it has no descriptor or no data.
    fn read(item: Values, signed: bool) -> Result<Option<Self>> {
        let [count, first, bits, ..] = *item.integers(LUT_DESCRIPTOR)? else { return Ok(None) };
        let Some(_) = item.bytes(LUT_DATA) else { return Ok(None) };
        let (entries, _) = item.table(LUT_DATA, entry_count(count))?;
        let bits = bits.clamp(1, 16) as u32;
        let largest = f64::from((1_u32 << bits) - 1);
        Ok(Some(Self { first: first_mapped(first, signed), entries, largest }))
    }

    fn apply(&self, value: f64) -> f64 {
        let last = self.entries.len() - 1;
        let index = (value - self.first as f64).clamp(0.0, last as f64) as usize;
        f64::from(self.entries[index])
    }
}

/// 16 bits of a descriptor hold 65536 as 0, and may be called signed.
pub(super) fn entry_count(count: i64) -> usize {
    match count as u16 {
        0 => 1 << 16,
        count => usize::from(count),
    }
}

/// The first value mapped, which has the sign of the pixels.
pub(super) fn first_mapped(first: i64, signed: bool) -> i64 {
    if signed { i64::from(first as u16 as i16) } else { i64::from(first as u16) }
}

#[derive(Debug, Clone, PartialEq)]
enum Modality {
    None,
    Rescale { slope: f64, intercept: f64 },
    Table(Lut),
}

/// Values of interest.
#[derive(Debug, Clone, PartialEq)]
enum Voi {
    /// Everything that the stored bits can hold, after the modality LUT.
    All {
        low: f64,
        high: f64,
    },
    Linear {
        center: f64,
        width: f64,
    },
    Sigmoid {
        center: f64,
        width: f64,
    },
    Table(Lut),
}

/// How a stored number becomes a grey level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Display {
    modality: Modality,
    voi: Voi,
    inverted: bool,
    bits: u32,
    signed: bool,
    /// The level of each number that the stored bits can hold; empty if they are more than 16.
    levels: Vec<u8>,
}

impl Display {
    pub(super) fn read(values: Values, image: &Image) -> Result<Self> {
        let modality = modality(values, image.signed)?;
        let bits = image.bits_stored;
        let mut display = Self {
            voi: Voi::All { low: 0.0, high: 0.0 },
            modality,
            inverted: image.photometric == Photometric::Monochrome { inverted: true },
            bits,
            signed: image.signed,
            levels: Vec::new(),
        };
        display.voi = match voi(values, image.signed)? {
            Some(voi) => voi,
            None => display.everything(),
        };
        if bits <= MAX_TABLE_BITS {
            display.levels = (0..1_u32 << bits).map(|stored| display.level(stored)).collect();
        }
        Ok(display)
    }

    /// The range of values that the stored bits can hold, after the modality LUT.
    fn everything(&self) -> Voi {
        let (low, high) = if self.signed {
            (-(1_i64 << (self.bits - 1)), (1_i64 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i64 << self.bits) - 1)
        };
        let (low, high) = match &self.modality {
            Modality::None => (low as f64, high as f64),
            Modality::Rescale { slope, intercept } => {
                let ends = [low, high].map(|value| value as f64 * slope + intercept);
                (ends[0].min(ends[1]), ends[0].max(ends[1]))
            }
            Modality::Table(lut) => (0.0, lut.largest),
        };
        Voi::All { low, high }
    }

    fn level(&self, stored: u32) -> u8 {
        let shift = 32 - self.bits;
        let value = if self.signed {
            f64::from((stored << shift).cast_signed() >> shift)
        } else {
            f64::from(stored << shift >> shift)
        };
        let value = match &self.modality {
            Modality::None => value,
            Modality::Rescale { slope, intercept } => value * slope + intercept,
            Modality::Table(lut) => lut.apply(value),
        };
        let share = match &self.voi {
            Voi::All { low, high } if high > low => (value - low) / (high - low),
            Voi::All { .. } => 0.0,
            Voi::Linear { center, width } if *width > 0.0 => (value - center) / width + 0.5,
            // A width of 1 in the rule of LINEAR is a threshold.
            Voi::Linear { center, .. } => f64::from(u8::from(value > *center)),
            Voi::Sigmoid { center, width } => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
            Voi::Table(lut) => lut.apply(value) / lut.largest,
        };
        let level = (share.clamp(0.0, 1.0) * 255.0).round() as u8;
        if self.inverted { 255 - level } else { level }
    }

    /// Grey levels of stored numbers.
    pub(super) fn levels(&self, samples: &Samples) -> Vec<u8> {
        let mask = (1_u64 << self.bits) as u32;
        let mask = mask.wrapping_sub(1) as usize;
        let level = |stored: u32| match self.levels.get(stored as usize & mask) {
            Some(&level) => level,
            None => self.level(stored),
        };
        match samples {
            Samples::U8(values) => values.iter().map(|&v| level(u32::from(v))).collect(),
            Samples::U16(values) => values.iter().map(|&v| level(u32::from(v))).collect(),
            Samples::U32(values) => values.iter().map(|&v| level(v)).collect(),
        }
    }
}

fn modality(values: Values, signed: bool) -> Result<Modality> {
    if let Some(item) = values.items(MODALITY_LUT).next()
        && let Some(lut) = Lut::read(item, signed)?
    {
        return Ok(Modality::Table(lut));
    }
    Ok(match (values.number(SLOPE)?, values.number(INTERCEPT)?) {
        (Some(slope), Some(intercept)) => Modality::Rescale { slope, intercept },
        _ => Modality::None,
    })
}

/// A VOI LUT if there is one, else a window; the first of several. Windows that the standard forbids
/// (narrower than 1, or 0 for the exact functions) are ignored.
fn voi(values: Values, signed: bool) -> Result<Option<Voi>> {
    if let Some(item) = values.items(VOI_LUT).next()
        && let Some(lut) = Lut::read(item, signed)?
    {
        return Ok(Some(Voi::Table(lut)));
    }
    let (Some(center), Some(width)) = (values.number(CENTER)?, values.number(WIDTH)?) else {
        return Ok(None);
    };
    let function = values.text(FUNCTION).map(|text| text.to_uppercase());
    Ok(match function.as_deref() {
        Some("SIGMOID") => (width > 0.0).then_some(Voi::Sigmoid { center, width }),
        Some("LINEAR_EXACT") => (width > 0.0).then_some(Voi::Linear { center, width }),
        // LINEAR (PS3.3, C.11.2.1.2.1) maps whole numbers: half a step less on either side.
        _ => (width >= 1.0).then_some(Voi::Linear { center: center - 0.5, width: width - 1.0 }),
    })
}
