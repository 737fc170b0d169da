//! OpenCV's `INTER_NEAREST`, for masks.

use super::Window;
use sonotune_base::Rle;

/// Source index of each of `to` output pixels under `INTER_NEAREST`: `floor(i · from / to)`, in
/// OpenCV's arithmetic.
fn nearest_indices(from: u32, to: u32) -> Vec<usize> {
    let scale = 1.0 / (f64::from(to) / f64::from(from));
    let last = from as usize - 1;
    (0..to).map(|i| ((f64::from(i) * scale).floor() as usize).min(last)).collect()
}

/// The window of `cv2.resize(mask, (width, height), interpolation=INTER_NEAREST)` of a mask of 0
/// and 1, row-major. Only the pixels in the window are unpacked.
pub(super) fn resize_nearest(mask: &Rle, window: &Window) -> Vec<u8> {
    let (height, width) = window.resized();
    let (rows, columns) =
        (nearest_indices(mask.height, height), nearest_indices(mask.width, width));
    let (rows, columns) = (&rows[window.rows()], &columns[window.columns()]);
    let read = |indices: &[usize]| match indices {
        [first, .., last] => *first..last + 1,
        [only] => *only..only + 1,
        [] => 0..0,
    };
    let (rows_read, columns_read) = (read(rows), read(columns));
    let part = mask.to_mask_part(rows_read.clone(), columns_read.clone());
    if !part.contains(&1) {
        return vec![0; rows.len() * columns.len()];
    }
    let mut out = Vec::with_capacity(rows.len() * columns.len());
    let mut previous = None;
    for &row in rows {
        if previous == Some(row) {
            out.extend_from_within(out.len() - columns.len()..);
            continue;
        }
        previous = Some(row);
        let source = &part[(row - rows_read.start) * columns_read.len()..];
        out.extend(columns.iter().map(|&x| source[x - columns_read.start]));
    }
    out
}
