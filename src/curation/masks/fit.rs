//! Fits a mask to an image of a different size.

use crate::{Pixels, spec::Resize};

/// `mask` at the image's `(height, width)`, fitted by `rule`.
///
/// # Errors
/// Returns the mask unchanged when the rule cannot make it fit.
pub fn fit(mask: Pixels, (height, width): (u32, u32), rule: Resize) -> Result<Pixels, Pixels> {
    if (mask.height, mask.width) == (height, width) {
        return Ok(mask);
    }
    match rule {
        Resize::Refuse => Err(mask),
        Resize::Nearest => Ok(nearest(&mask, height, width)),
        Resize::Overlay => Ok(overlay(&mask, height, width)),
        Resize::Clockwise if (mask.width, mask.height) == (height, width) => Ok(clockwise(&mask)),
        Resize::Clockwise => Err(mask),
    }
}

/// OpenCV's `INTER_NEAREST`: pixel `x` is read at `floor(x · scale)`.
fn nearest(mask: &Pixels, height: u32, width: u32) -> Pixels {
    let index = |to: u32, from: u32| -> Vec<usize> {
        let scale = f64::from(from) / f64::from(to);
        (0..to).map(|at| ((f64::from(at) * scale) as u32).min(from - 1) as usize).collect()
    };
    let (rows, columns) = (index(height, mask.height), index(width, mask.width));
    let (stride, channels) = (mask.width as usize * mask.channels, mask.channels);
    let mut data = Vec::with_capacity(height as usize * width as usize * channels);
    for y in rows {
        for &x in &columns {
            let at = y * stride + x * channels;
            data.extend_from_slice(&mask.data[at..at + channels]);
        }
    }
    Pixels { height, width, channels, data }
}

fn clockwise(mask: &Pixels) -> Pixels {
    let (height, width, channels) = (mask.height as usize, mask.width as usize, mask.channels);
    let mut data = Vec::with_capacity(mask.data.len());
    for x in 0..width {
        for y in (0..height).rev() {
            let at = (y * width + x) * channels;
            data.extend_from_slice(&mask.data[at..at + channels]);
        }
    }
    Pixels { height: mask.width, width: mask.height, channels, data }
}

fn overlay(mask: &Pixels, height: u32, width: u32) -> Pixels {
    let channels = mask.channels;
    let mut data = vec![0; height as usize * width as usize * channels];
    let rows = mask.data.chunks_exact(mask.width as usize * channels);
    for (row, out) in rows.zip(data.chunks_exact_mut(width as usize * channels)) {
        let common = row.len().min(out.len());
        out[..common].copy_from_slice(&row[..common]);
    }
    Pixels { height, width, channels, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(height: u32, width: u32, data: &[u8]) -> Pixels {
        Pixels { height, width, channels: 1, data: data.to_vec() }
    }

    #[test]
    fn a_quarter_turn_goes_clockwise() {
        let turned = fit(mask(2, 3, &[1, 2, 3, 4, 5, 6]), (3, 2), Resize::Clockwise).unwrap();
        assert_eq!(turned, mask(3, 2, &[4, 1, 5, 2, 6, 3]));
    }

    #[test]
    fn nearest_reads_where_opencv_does() {
        let larger = fit(mask(1, 3, &[1, 2, 3]), (2, 5), Resize::Nearest).unwrap();
        assert_eq!(larger.data, [1, 1, 2, 2, 3, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn what_does_not_fit_comes_back() {
        assert!(fit(mask(1, 2, &[1, 2]), (3, 3), Resize::Refuse).is_err());
        assert!(fit(mask(1, 2, &[1, 2]), (3, 3), Resize::Clockwise).is_err());
        let overlaid = fit(mask(1, 2, &[1, 2]), (2, 1), Resize::Overlay).unwrap();
        assert_eq!(overlaid.data, [1, 0]);
    }
}
