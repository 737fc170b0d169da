//! An image waiting for its place in a batch, in its smallest form.

use anyhow::Result;

use super::{
    Normalization, Normalize, Planes, PreprocessConfig, Resample, Resized, Window,
    antialias::planar, bilinear_f32, normalize::copy_into, normalize_into, resize_window,
    window::crop,
};
use crate::InputSpec;
use sonotune_base::image_io::Image;

/// An image whose size in the batch is settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted(Form);

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Resized(Resized),
    /// Resized only when it is written: as floats it would take four times the memory, written and read.
    Deferred {
        image: Image,
        window: Window,
    },
}

impl Fitted {
    /// Fits `image`, which is to be resized to the window's full size by the given method and cut to the
    /// window.
    ///
    /// # Errors
    /// Same errors as [`resize`](super::resize).
    pub fn new(image: Image, window: Window, resample: Resample) -> Result<Self> {
        if resample != Resample::ReferenceFloat {
            return resize_window(image, &window, resample).map(Form::Resized).map(Self);
        }
        let image = image.into_grey_if_equal();
        Ok(Self(if (image.height, image.width) == window.resized() {
            let Image { height, width, channels, pixels, .. } = crop(image, &window);
            let planes = planar(pixels, channels, height as usize, width as usize);
            Form::Resized(Resized::U8(planes))
        } else {
            Form::Deferred { image, window }
        }))
    }

    /// `(height, width)` once written.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match &self.0 {
            Form::Resized(resized) => resized.size(),
            Form::Deferred { window, .. } => (window.rows().len(), window.columns().len()),
        }
    }

    /// How it is normalised: with the backbone's statistics or its own range.
    #[must_use]
    pub fn normalization(&self, spec: &InputSpec, config: &PreprocessConfig) -> Normalization {
        match config.normalize {
            Normalize::MeanStd => Normalization::new(spec, config.pad_order),
            Normalize::MinMax => Normalization::min_max(self.range(), config.pad_order),
        }
    }

    /// The smallest and the largest value.
    fn range(&self) -> (f32, f32) {
        match &self.0 {
            Form::Resized(Resized::U8(planes)) => range(planes.data.iter().map(|&v| f32::from(v))),
            Form::Resized(Resized::F32(planes)) => range(planes.data.iter().copied()),
            // Resized once more: keeping the floats would take four times the memory.
            Form::Deferred { image, window } => {
                range(bilinear_f32::resize_f32(image, window).data.iter().copied())
            }
        }
    }

    /// Its pixels, if they are whole levels.
    #[must_use]
    pub fn bytes(&self) -> Option<&Planes<u8>> {
        match &self.0 {
            Form::Resized(Resized::U8(planes)) => Some(planes),
            _ => None,
        }
    }

    /// Writes [`bytes`](Self::bytes) into `[3, height, width]`, mirrored if so drawn, with zeros beyond
    /// them: what [`write_into`](Self::write_into) writes before normalisation. Does nothing if there are
    /// none.
    pub fn write_bytes_into(&self, flip: bool, padded: (usize, usize), out: &mut [u8]) {
        if let Some(planes) = self.bytes() {
            copy_into(planes, flip, padded, out);
        }
    }

    /// Writes the same as [`resize_window`] followed by [`normalize_into`], bit for bit.
    pub fn write_into(
        &self,
        normalization: &Normalization,
        flip: bool,
        padded: (usize, usize),
        out: &mut [f32],
    ) {
        match &self.0 {
            Form::Resized(resized) => normalize_into(resized, normalization, flip, padded, out),
            Form::Deferred { image, window } => {
                bilinear_f32::resize_normalized(image, window, normalization, flip, padded, out);
            }
        }
    }
}

fn range(values: impl Iterator<Item = f32>) -> (f32, f32) {
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transforms::{PadOrder, Planes, resize};
    use sonotune_base::seed::Rng;

    const METHODS: [Resample; 4] =
        [Resample::Reference, Resample::ReferenceFloat, Resample::Antialias, Resample::Area];

    #[test]
    fn writes_what_resizing_cutting_and_normalising_write() {
        let spec = InputSpec::imagenet(1);
        let normalization = Normalization::new(&spec, PadOrder::PadThenNormalize);
        let padded = (24, 40);
        let windows = [
            Window::whole((23, 37)),
            Window::whole((11, 9)),
            Window::whole((17, 13)),
            Window::whole((1, 40)),
            Window::new((17, 13), (5, 2), (7, 11)),
            Window::new((46, 74), (9, 33), (24, 40)),
            Window::new((46, 74), (22, 34), (24, 40)),
            Window::new((9, 50), (0, 1), (9, 40)),
            Window::new((90, 2), (89, 1), (1, 1)),
        ];
        for (window, channels) in windows.into_iter().flat_map(|w| [(w, 1), (w, 3)]) {
            for resample in METHODS {
                for flip in [false, true] {
                    let image = noise(17, 13, channels);
                    let mut expected = vec![f32::NAN; 3 * padded.0 * padded.1];
                    let resized = resize(image.clone(), window.resized(), resample).unwrap();
                    let cut = cut(resized, &window);
                    normalize_into(&cut, &normalization, flip, padded, &mut expected);
                    let mut got = vec![f32::NAN; expected.len()];
                    let fitted = Fitted::new(image, window, resample).unwrap();
                    assert_eq!(fitted.size(), (window.rows().len(), window.columns().len()));
                    fitted.write_into(&normalization, flip, padded, &mut got);
                    assert_eq!(got, expected, "{window:?} {channels} {resample:?} {flip}");
                    assert_bytes_are_those_pixels(&fitted, flip, padded, &normalization, &expected);
                }
            }
        }
    }

    #[test]
    fn an_image_s_own_range_becomes_0_to_1_and_its_border_0() {
        let config = PreprocessConfig { normalize: Normalize::MinMax, ..Default::default() };
        let spec = InputSpec::imagenet(1);
        for resample in METHODS {
            // 50 and 51 to 150 and 151: of all channels together, and only of the part that is kept.
            let mut image = noise(9, 12, 3);
            image.pixels.iter_mut().for_each(|v| *v = 50 + *v % 101);
            let window = Window::new((18, 24), (2, 3), (10, 12));
            let fitted = Fitted::new(image.clone(), window, resample).unwrap();
            let normalization = fitted.normalization(&spec, &config);
            let mut got = vec![f32::NAN; 3 * 12 * 16];
            fitted.write_into(&normalization, true, (12, 16), &mut got);
            assert_eq!(range(got.iter().copied()), (0.0, 1.0), "{resample:?}");
            let inside = |i: usize| i / 16 % 12 < 10 && i % 16 < 12;
            assert!((0..got.len()).all(|i| inside(i) || got[i] == 0.0));

            let plain = Normalization::min_max((0.0, 1.0), PadOrder::NormalizeThenPad);
            let mut values = vec![f32::NAN; got.len()];
            fitted.write_into(&plain, true, (12, 16), &mut values);
            let (low, high) = range((0..got.len()).filter(|&i| inside(i)).map(|i| values[i]));
            for i in (0..got.len()).filter(|&i| inside(i)) {
                assert_eq!(got[i], (values[i] - low) / (high - low), "{resample:?} at {i}");
            }
        }
        let mut flat = noise(4, 4, 1);
        flat.pixels.fill(77);
        let fitted = Fitted::new(flat, Window::whole((4, 4)), Resample::Reference).unwrap();
        let mut got = vec![f32::NAN; 48];
        fitted.write_into(&fitted.normalization(&spec, &config), false, (4, 4), &mut got);
        assert!(got.iter().all(|&v| v == 0.0), "an image of one value has no range");
    }

    /// Where there are bytes, normalising them gives the same bits, black borders included.
    fn assert_bytes_are_those_pixels(
        fitted: &Fitted,
        flip: bool,
        padded: (usize, usize),
        normalization: &Normalization,
        expected: &[f32],
    ) {
        assert_eq!(fitted.bytes().is_some(), matches!(fitted.0, Form::Resized(Resized::U8(_))));
        if fitted.bytes().is_none() {
            return;
        }
        let mut bytes = vec![7; expected.len()];
        fitted.write_bytes_into(flip, padded, &mut bytes);
        for (i, (&byte, value)) in bytes.iter().zip(expected).enumerate() {
            let c = i / (padded.0 * padded.1);
            let got = (f32::from(byte) - normalization.mean()[c]) / normalization.std()[c];
            assert_eq!(got, *value, "at {i}");
        }
    }

    #[test]
    fn a_window_of_any_image_is_what_cutting_the_whole_gives() {
        for case in 0..300 {
            let mut rng = Rng::at(8, &[case]);
            let mut side = |most: u64| 1 + rng.below(most) as u32;
            let (from, to) = ((side(60), side(60)), (side(120), side(120)));
            let window =
                Window::new(to, (side(to.0.into()), side(to.1.into())), (side(70), side(70)));
            let image = noise(from.0, from.1, if case % 3 == 0 { 1 } else { 3 });
            for resample in METHODS {
                let whole = resize(image.clone(), to, resample).unwrap();
                let got = resize_window(image.clone(), &window, resample).unwrap();
                assert_eq!(got, cut(whole, &window), "{from:?} {window:?} {resample:?}");
            }
        }
    }

    fn cut(resized: Resized, window: &Window) -> Resized {
        fn planes<T: Copy>(planes: &Planes<T>, window: &Window) -> Planes<T> {
            let (height, width) = (window.rows().len(), window.columns().len());
            let mut data = Vec::new();
            for c in 0..planes.channels {
                for y in window.rows() {
                    let row = (c * planes.height + y) * planes.width;
                    data.extend(window.columns().map(|x| planes.data[row + x]));
                }
            }
            Planes { channels: planes.channels, height, width, data }
        }
        match resized {
            Resized::U8(whole) => Resized::U8(planes(&whole, window)),
            Resized::F32(whole) => Resized::F32(planes(&whole, window)),
        }
    }

    fn noise(height: u32, width: u32, channels: usize) -> Image {
        let mut rng = Rng::at(7, &[]);
        let count = height as usize * width as usize * channels;
        let pixels = (0..count).map(|_| rng.below(256) as u8).collect();
        Image { height, width, channels, pixels, transposed: false, stored: Default::default() }
    }
}
