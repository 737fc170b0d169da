//! Regions of an ultrasound image (PS3.3, C.8.5.5) and the spacing of its pixels.

use anyhow::Result;

use super::values::{Key, Values};

const REGIONS: Key = Key(0x0018, 0x6011, "SequenceOfUltrasoundRegions");
const SPATIAL_FORMAT: Key = Key(0x0018, 0x6012, "RegionSpatialFormat");
const DATA_TYPE: Key = Key(0x0018, 0x6014, "RegionDataType");
const MIN_X: Key = Key(0x0018, 0x6018, "RegionLocationMinX0");
const MIN_Y: Key = Key(0x0018, 0x601A, "RegionLocationMinY0");
const MAX_X: Key = Key(0x0018, 0x601C, "RegionLocationMaxX1");
const MAX_Y: Key = Key(0x0018, 0x601E, "RegionLocationMaxY1");
const UNITS_X: Key = Key(0x0018, 0x6024, "PhysicalUnitsXDirection");
const UNITS_Y: Key = Key(0x0018, 0x6026, "PhysicalUnitsYDirection");
const DELTA_X: Key = Key(0x0018, 0x602C, "PhysicalDeltaX");
const DELTA_Y: Key = Key(0x0018, 0x602E, "PhysicalDeltaY");
const PIXEL_SPACING: Key = Key(0x0028, 0x0030, "PixelSpacing");
const SCANNED_SPACING: Key = Key(0x0018, 0x2010, "NominalScannedPixelSpacing");
const SHARED_GROUPS: Key = Key(0x5200, 0x9229, "SharedFunctionalGroupsSequence");
const PIXEL_MEASURES: Key = Key(0x0028, 0x9110, "PixelMeasuresSequence");

/// RegionSpatialFormat of an image of tissue.
const FORMAT_2D: u16 = 1;
/// The unit of a length, among PhysicalUnitsXDirection's.
const CENTIMETRES: u32 = 3;
/// Share by which spacings may differ and still count as equal: headers hold rounded numbers.
const TOLERANCE: f64 = 1e-3;
/// Regions beyond which the rest is ignored: a screen shows a few.
const MAX_REGIONS: usize = 1000;

/// A part of the screen with its own coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// (x, y, width, height) in pixels; both corners of the file's rectangle are within it.
    pub rect: [u32; 4],
    /// 1 is 2D (tissue or flow), 2 M-mode, 3 spectral, 4 a waveform, 5 graphics.
    pub spatial_format: u16,
    /// 1 is tissue, 2 colour flow, 3 and 4 spectral, 0xA an ECG; PS3.3 lists more.
    pub data_type: u16,
    /// (row, column) in millimetres; `None` unless it is a 2D region whose axes are in centimetres.
    pub spacing: Option<[f64; 2]>,
}

/// The regions within an image of (height, width); those without a rectangle are left out, rectangles
/// that exceed the image are clipped.
pub(super) fn read(values: Values, (height, width): (u32, u32)) -> Result<Vec<Region>> {
    let mut regions = Vec::new();
    for item in values.items(REGIONS).take(MAX_REGIONS) {
        let corner = |key| item.natural(key);
        let corners = (corner(MIN_X)?, corner(MIN_Y)?, corner(MAX_X)?, corner(MAX_Y)?);
        let (Some(x0), Some(y0), Some(x1), Some(y1)) = corners else { continue };
        let (x1, y1) = (x1.min(width.saturating_sub(1)), y1.min(height.saturating_sub(1)));
        if x0 > x1 || y0 > y1 {
            continue;
        }
        let code = |key| Ok::<_, anyhow::Error>(item.natural(key)?.unwrap_or(0) as u16);
        let spatial_format = code(SPATIAL_FORMAT)?;
        regions.push(Region {
            rect: [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
            spatial_format,
            data_type: code(DATA_TYPE)?,
            spacing: if spatial_format == FORMAT_2D { physical(item)? } else { None },
        });
    }
    Ok(regions)
}

/// Millimetres per pixel along (row, column) of a region in centimetres.
fn physical(item: Values) -> Result<Option<[f64; 2]>> {
    let centimetres = |key| Ok::<_, anyhow::Error>(item.natural(key)? == Some(CENTIMETRES));
    if !(centimetres(UNITS_X)? && centimetres(UNITS_Y)?) {
        return Ok(None);
    }
    // Negative deltas point up or to the left.
    let millimetres = |key| Ok::<_, anyhow::Error>(item.number(key)?.map(|cm| cm.abs() * 10.0));
    Ok(valid(millimetres(DELTA_Y)?, millimetres(DELTA_X)?))
}

fn valid(row: Option<f64>, column: Option<f64>) -> Option<[f64; 2]> {
    let positive = |n: Option<f64>| n.filter(|&n| n > 0.0 && n.is_finite());
    Some([positive(row)?, positive(column)?])
}

/// Millimetres per pixel along (row, column): of the 2D regions if they agree, else of the whole image.
/// `None` if regions disagree: no number would be right everywhere.
pub(super) fn spacing(values: Values, regions: &[Region]) -> Result<Option<[f64; 2]>> {
    let mut known = regions.iter().filter_map(|region| region.spacing);
    if let Some(first) = known.next() {
        let equal = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.max(b);
        let agree = known.all(|other| equal(first[0], other[0]) && equal(first[1], other[1]));
        return Ok(agree.then_some(first));
    }
    let shared = values.items(SHARED_GROUPS).next();
    let measures = shared.and_then(|groups| groups.items(PIXEL_MEASURES).next());
    let places = [Some((values, PIXEL_SPACING)), Some((values, SCANNED_SPACING))];
    for (values, key) in places.into_iter().chain([measures.map(|m| (m, PIXEL_SPACING))]).flatten()
    {
        if let [row, column, ..] = *values.numbers(key)?
            && let Some(spacing) = valid(Some(row), Some(column))
        {
            return Ok(Some(spacing));
        }
    }
    Ok(None)
}
