//! OpenCV's `INTER_AREA` for images that shrink: each pixel is the mean of the area that it covers, its
//! fractions of pixels included.

use super::{Planes, Window};
use sonotune_base::image_io::Image;

/// Fractions of a pixel below this are left out, as in OpenCV.
const SMALLEST: f64 = 1e-3;

/// Whether both sides shrink, or stay.
pub(super) fn shrinks(image: &Image, window: &Window) -> bool {
    let (height, width) = window.resized();
    height <= image.height && width <= image.width
}

/// The window of the shrunk image, within one level of OpenCV, whose sums are in another order for some
/// ratios; planar.
pub(super) fn resize_area(image: &Image, window: &Window) -> Planes<u8> {
    let (rows, columns) = (window.rows(), window.columns());
    let (height, width, channels) = (rows.len(), columns.len(), image.channels);
    let across = shares(image.width as usize, window.resized().1 as usize);
    let down = shares(image.height as usize, window.resized().0 as usize);
    let stride = image.width as usize * channels;
    let mut data = vec![0; channels * height * width];
    let mut line = vec![0f32; channels * width];
    for (y, row) in rows.enumerate() {
        let mut sums = vec![0f32; channels * width];
        for &(source, share) in &down[row] {
            let pixels = &image.pixels[source * stride..(source + 1) * stride];
            for (out, column) in line.chunks_exact_mut(channels).zip(&across[columns.clone()]) {
                out.fill(0.0);
                for &(x, part) in column {
                    for (value, &pixel) in out.iter_mut().zip(&pixels[x * channels..]) {
                        *value += f32::from(pixel) * part;
                    }
                }
            }
            for (sum, value) in sums.iter_mut().zip(&line) {
                *sum += value * share;
            }
        }
        for (i, sum) in sums.iter().enumerate() {
            let (x, c) = (i / channels, i % channels);
            data[(c * height + y) * width + x] = sum.round_ties_even() as u8;
        }
    }
    Planes { channels, height, width, data }
}

/// For each of `to` pixels, the pixels of `from` that it covers and their shares.
fn shares(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let scale = 1.0 / (to as f64 / from as f64);
    let of_pixel = |index: usize| {
        let start = index as f64 * scale;
        let (end, covered) = (start + scale, scale.min(from as f64 - start));
        let last = (end.floor() as usize).min(from - 1);
        let first = (start.ceil() as usize).min(last);
        let mut shares = Vec::with_capacity(last - first + 2);
        if first as f64 - start > SMALLEST {
            shares.push((first - 1, ((first as f64 - start) / covered) as f32));
        }
        shares.extend((first..last).map(|source| (source, (1.0 / covered) as f32)));
        if end - last as f64 > SMALLEST {
            let rest = (end - last as f64).min(1.0).min(covered);
            shares.push((last, (rest / covered) as f32));
        }
        shares
    };
    (0..to).map(of_pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(height: u32, width: u32) -> Image {
        let pixels = (0..height * width).map(|i| (i * 37 % 251) as u8).collect();
        Image { height, width, channels: 1, pixels, transposed: false, stored: Default::default() }
    }

    const EXPECTED: [u8; 6] = [33, 117, 202, 52, 137, 178];

    #[test]
    fn it_is_opencv_s_inter_area() {
        // cv2.resize((numpy.arange(35) * 37 % 251).astype("uint8").reshape(5, 7), (3, 2),
        //            interpolation=cv2.INTER_AREA), OpenCV 4.
        let got = resize_area(&image(5, 7), &Window::whole((2, 3)));
        assert_eq!(got.data, EXPECTED);
        let part = resize_area(&image(5, 7), &Window::new((2, 3), (1, 1), (1, 2)));
        assert_eq!(part.data, EXPECTED[4..]);
        // An image that keeps its size stays as it is.
        let same = image(4, 3);
        assert_eq!(resize_area(&same, &Window::whole((4, 3))).data, same.pixels);
    }

    #[test]
    fn shares_of_a_pixel_are_one() {
        for (from, to) in [(7, 3), (500, 256), (9, 9), (1000, 1), (257, 256)] {
            for shares in shares(from, to) {
                let sum: f32 = shares.iter().map(|share| share.1).sum();
                assert!((sum - 1.0).abs() < 2e-3, "{from} to {to}: {sum}");
            }
        }
    }
}
