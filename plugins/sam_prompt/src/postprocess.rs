//! Converts low-resolution logits to masks of the original image.

use sonotune_engine::prelude::*;

/// What is enlarged: the binary mask, or the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(crate = "sonotune_engine::serde", rename_all = "snake_case")]
#[schemars(crate = "sonotune_engine::schemars")]
pub enum Postprocess {
    /// As SAM: logits are enlarged, cropped, resized to the original size, and only then cut at 0.
    #[default]
    Logits,
    /// As UltraSam's code: logits are cut at 0 first; all pixels of the enlarged mask that are not exactly
    /// 0 count. Masks are 5-8 % larger.
    AsPublished,
    /// As SAM 2: logits are resized to the original size in one step, and cut at 0. For images that fill the
    /// input (`preprocess.size_rule = "stretch"`); padded ones are treated as by `logits`.
    Direct,
}

/// The three frames between a mask of the decoder and its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Size of the network's input, with padding.
    pub padded: Size,
    /// Size of the image in it, which is its top left part.
    pub input: Size,
    /// Size of the image file.
    pub original: Size,
}

impl Frame {
    pub(crate) fn of(target: &Target, padded: Size) -> Self {
        Self { padded, input: target.input_size, original: target.original_size }
    }

    /// Input pixels per original pixel, along x and y.
    pub(crate) fn scale(&self) -> (f64, f64) {
        (self.input.1 as f64 / self.original.1 as f64, self.input.0 as f64 / self.original.0 as f64)
    }
}

impl Postprocess {
    /// `[N, 1, 4h, 4w]` logits to `[N, H, W]` bool, original pixels.
    pub fn masks(self, logits: &Tensor, frame: Frame) -> Tensor {
        let low = match self {
            Self::Logits | Self::Direct => at_least_float(logits),
            Self::AsPublished => logits.gt(0.0).to_kind(wide_kind(logits)),
        };
        // At its own size a pixel interpolates to itself.
        let resize = |x: &Tensor, (h, w): Size| match x.size()[2..] == [h, w] {
            true => x.shallow_clone(),
            false => x.upsample_bilinear2d([h, w], false, None, None),
        };
        if self == Self::Direct && frame.input == frame.padded {
            return resize(&low, frame.original).squeeze_dim(1).gt(0.0);
        }
        let padded = resize(&low, frame.padded);
        let input = padded.narrow(2, 0, frame.input.0).narrow(3, 0, frame.input.1);
        resize(&input, frame.original).squeeze_dim(1).gt(0.0)
    }
}

/// `[N, H, W]` bool to run lengths.
pub(crate) fn run_lengths(masks: &Tensor) -> Result<Vec<Rle>> {
    let (n, h, w) = masks.size3()?;
    let bytes = Vec::<u8>::try_from(masks.to_kind(Kind::Uint8).flatten(0, -1))?;
    let size = (u32::try_from(h)?, u32::try_from(w)?);
    let pixels = (h * w).max(1) as usize;
    debug_assert_eq!(bytes.len(), n as usize * pixels);
    bytes.chunks_exact(pixels).map(|mask| Rle::from_mask(mask, size)).collect()
}

/// Tight box of a mask, XYXY with the far edges outside; zeros if the mask is empty.
pub(crate) fn tight_box(mask: &Rle) -> [f64; 4] {
    let [x, y, width, height] = mask.bbox();
    [x, y, x + width, y + height]
}
