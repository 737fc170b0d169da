//! Palettes (PS3.3, C.7.6.3.1.5 and C.7.9.2).

use anyhow::{Result, bail, ensure};

use super::{
    colour::to_8bit,
    lut::{entry_count, first_mapped},
    samples::Samples,
    values::{Key, Values},
};

const DESCRIPTORS: [Key; 3] = [
    Key(0x0028, 0x1101, "RedPaletteColorLookupTableDescriptor"),
    Key(0x0028, 0x1102, "GreenPaletteColorLookupTableDescriptor"),
    Key(0x0028, 0x1103, "BluePaletteColorLookupTableDescriptor"),
];
const TABLES: [Key; 3] = [
    Key(0x0028, 0x1201, "RedPaletteColorLookupTableData"),
    Key(0x0028, 0x1202, "GreenPaletteColorLookupTableData"),
    Key(0x0028, 0x1203, "BluePaletteColorLookupTableData"),
];
const SEGMENTED: [Key; 3] = [
    Key(0x0028, 0x1221, "SegmentedRedPaletteColorLookupTableData"),
    Key(0x0028, 0x1222, "SegmentedGreenPaletteColorLookupTableData"),
    Key(0x0028, 0x1223, "SegmentedBluePaletteColorLookupTableData"),
];

/// The 8-bit colours of a palette.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Palette {
    /// The number that the first colour belongs to; numbers beyond either end take the nearest colour.
    first: i64,
    colours: Vec<[u8; 3]>,
    bits: u32,
    signed: bool,
}

impl Palette {
    /// # Errors
    /// Without descriptors or tables, and tables shorter than their descriptor claims.
    pub(super) fn read(values: Values, bits: u32, signed: bool) -> Result<Self> {
        let (mut tables, mut first, mut depth, mut count) = (Vec::new(), 0, 0, usize::MAX);
        for channel in 0..3 {
            let descriptor = values.integers(DESCRIPTORS[channel])?;
            let [entries, mapped, table_bits, ..] = *descriptor else {
                bail!(
                    "its PhotometricInterpretation (0028,0004) is PALETTE COLOR, but it has no {}",
                    DESCRIPTORS[channel]
                );
            };
            let entries = entry_count(entries);
            let (table, stored) = if values.bytes(TABLES[channel]).is_some() {
                values.table(TABLES[channel], entries)?
            } else {
                (segmented(values, SEGMENTED[channel], entries, table_bits)?, 16)
            };
            if channel == 0 {
                first = first_mapped(mapped, signed);
            }
            depth = depth.max((table_bits.clamp(1, 16) as u32).min(stored));
            count = count.min(table.len());
            tables.push(table);
        }
        // Some devices write 8 bits per entry and claim 16: the image would be black.
        if tables.iter().flatten().all(|&entry| entry < 256) {
            depth = depth.min(8);
        }
        let colour =
            |i: usize| [0, 1, 2].map(|channel| to_8bit(u32::from(tables[channel][i]), depth));
        Ok(Self { first, colours: (0..count).map(colour).collect(), bits, signed })
    }

    /// RGB of stored numbers.
    pub(super) fn rgb(&self, samples: &Samples) -> Vec<u8> {
        let last = self.colours.len() as i64 - 1;
        let shift = 32 - self.bits;
        let colour = |stored: u32| {
            let value = if self.signed {
                i64::from((stored << shift).cast_signed() >> shift)
            } else {
                i64::from(stored << shift >> shift)
            };
            self.colours[(value - self.first).clamp(0, last) as usize]
        };
        match samples {
            Samples::U8(values) => values.iter().flat_map(|&v| colour(u32::from(v))).collect(),
            Samples::U16(values) => values.iter().flat_map(|&v| colour(u32::from(v))).collect(),
            Samples::U32(values) => values.iter().flat_map(|&v| colour(v)).collect(),
        }
    }
}

/// Expands a table of segments: discrete values, lines between two values, and repetitions.
fn segmented(values: Values, key: Key, count: usize, bits: i64) -> Result<Vec<u16>> {
    let Some(bytes) = values.bytes(key) else {
        bail!("it has no palette: neither {} nor {key}", TABLES[0]);
    };
    let words = if bits == 8 { bytes.len() } else { bytes.len() / 2 };
    let (words, _) = values.table(key, words)?;
    let mut table = Vec::new();
    let mut at = 0;
    while table.len() < count && at < words.len() {
        expand((&words, bits != 8), &mut at, &mut table, count)?;
    }
    ensure!(
        table.len() >= count,
        "{key} expands to {} entries, too few for the {count} that its descriptor claims",
        table.len()
    );
    Ok(table)
}

/// Expands the segment at `at`, up to `count` entries in all.
fn expand(
    (words, wide): (&[u16], bool),
    at: &mut usize,
    table: &mut Vec<u16>,
    count: usize,
) -> Result<()> {
    let ends = "a segmented palette ends within a segment";
    let &[kind, len] = words.get(*at..*at + 2).unwrap_or_default() else { bail!("{ends}") };
    let len = usize::from(len);
    *at += 2;
    match kind {
        0 => {
            let Some(entries) = words.get(*at..*at + len) else { bail!("{ends}") };
            table.extend(entries);
            *at += len;
        }
        1 => {
            let (Some(&end), Some(&start)) = (words.get(*at), table.last()) else {
                bail!("{ends}")
            };
            let (start, end) = (f64::from(start), f64::from(end));
            let step = |i: usize| (start + (end - start) * i as f64 / len as f64).round() as u16;
            table.extend((1..=len).map(step));
            *at += 1;
        }
        // Repeats `len` earlier segments, from an offset in bytes on.
        2 if wide => {
            let Some(&[low, high]) = words.get(*at..*at + 2) else { bail!("{ends}") };
            *at += 2;
            let mut from = (usize::from(low) | usize::from(high) << 16) / 2;
            for _ in 0..len {
                let again = words.get(from).is_some_and(|&kind| kind < 2);
                ensure!(again, "a segmented palette repeats what is not a segment, at word {from}");
                expand((words, wide), &mut from, table, count)?;
                if table.len() >= count {
                    break;
                }
            }
        }
        other => bail!(
            "a segmented palette of {} bits has a segment of kind {other}, which is not read",
            if wide { 16 } else { 8 }
        ),
    }
    Ok(())
}
