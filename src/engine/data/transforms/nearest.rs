//! OpenCV's `INTER_NEAREST`, for masks.

/// Source index of each of `to` output pixels under `INTER_NEAREST`: `floor(i · from / to)`, in
/// OpenCV's arithmetic.
fn nearest_indices(from: usize, to: usize) -> Vec<usize> {
    let scale = 1.0 / (to as f64 / from as f64);
    (0..to).map(|i| ((i as f64 * scale).floor() as usize).min(from - 1)).collect()
}

/// `cv2.resize(mask, (width, height), interpolation=INTER_NEAREST)`; `mask` is `[H, W]`, row-major,
/// of size `from`.
pub(super) fn resize_nearest(mask: &[u8], from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let columns = nearest_indices(from.1 as usize, to.1 as usize);
    let mut out = Vec::with_capacity(to.0 as usize * columns.len());
    for row in nearest_indices(from.0 as usize, to.0 as usize) {
        let source = &mask[row * from.1 as usize..(row + 1) * from.1 as usize];
        out.extend(columns.iter().map(|&x| source[x]));
    }
    out
}
