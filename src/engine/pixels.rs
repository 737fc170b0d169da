//! The form in which a batch's images travel to the device.

use anyhow::Result;
use sonotune_shim as shim;
use tch::{Device, Kind, Tensor, no_grad};

use sonotune_dataset::transforms::Normalization;

/// The form of a batch's images until it is on its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pixels {
    /// f32, normalised by the threads of the loader: the least work where the CPU computes.
    #[default]
    Normalised,
    /// u8, a quarter of the bytes, normalised by the device; f32 for images that are resampled in
    /// floats. In pinned memory, a GPU copies them without making anything wait.
    Bytes { pinned: bool },
}

/// The form that suits a device.
impl From<Device> for Pixels {
    fn from(device: Device) -> Self {
        if device == Device::Cpu { Self::Normalised } else { Self::Bytes { pinned: true } }
    }
}

impl Pixels {
    /// The tensor where a GPU can copy it from, if it must.
    pub(crate) fn pinned(self, tensor: &Tensor) -> Result<Tensor> {
        match self {
            Self::Bytes { pinned: true } => Ok(shim::pin(tensor)?),
            _ => Ok(tensor.shallow_clone()),
        }
    }
}

/// What turns `[B, 3, H, W]` u8 images into the f32 that the network takes.
#[derive(Debug)]
pub(crate) struct RawPixels {
    /// `[2, 1, 3, 1, 1]` f32: mean and standard deviation of each channel; `[2, B, 3, 1, 1]` if images
    /// have their own.
    statistics: Tensor,
    /// `[2, B, 1, 1, 1]` i64: rows and columns of each image without its border, which becomes 0;
    /// `None`: the border is black, and normalised like the pixels.
    inner: Option<Tensor>,
}

impl RawPixels {
    /// For images of the sizes `inner`, `(height, width)`, each normalised in its way.
    pub(crate) fn new(
        normalizations: &[Normalization],
        inner: &[(usize, usize)],
        pixels: Pixels,
    ) -> Result<Self> {
        let is_common = normalizations.windows(2).all(|pair| pair[0] == pair[1]);
        let each = if is_common { &normalizations[..1.min(inner.len())] } else { normalizations };
        let means = each.iter().flat_map(Normalization::mean);
        let statistics: Vec<f32> = means.chain(each.iter().flat_map(Normalization::std)).collect();
        let statistics = Tensor::from_slice(&statistics).f_view([2, -1, 3, 1, 1])?;
        let has_black_border = normalizations.iter().any(Normalization::has_black_border);
        let inner = (!has_black_border).then(|| {
            let rows = inner.iter().map(|size| size.0 as i64);
            let columns = inner.iter().map(|size| size.1 as i64);
            let all: Vec<i64> = rows.chain(columns).collect();
            Tensor::from_slice(&all).view([2, inner.len() as i64, 1, 1, 1])
        });
        let inner = inner.map(|inner| pixels.pinned(&inner)).transpose()?;
        Ok(Self { statistics: pixels.pinned(&statistics)?, inner })
    }

    pub(crate) fn tensors(&mut self) -> impl Iterator<Item = &mut Tensor> {
        std::iter::once(&mut self.statistics).chain(&mut self.inner)
    }

    /// For the first `count` images.
    pub(crate) fn first(self, count: usize) -> Self {
        let count = count as i64;
        let statistics = match self.statistics.size()[1] {
            1 => self.statistics,
            _ => self.statistics.narrow(1, 0, count),
        };
        Self { statistics, inner: self.inner.map(|inner| inner.narrow(1, 0, count)) }
    }

    /// All images, normalised as [`normalize_into`](sonotune_dataset::transforms::normalize_into) does,
    /// bit for bit.
    pub(crate) fn all_normalised(&self, images: &Tensor) -> Tensor {
        self.normalise(images, &self.statistics, self.inner.as_ref())
    }

    /// `[1, 3, H, W]`, the image at `index`, normalised.
    pub(crate) fn normalised(&self, image: &Tensor, index: usize) -> Tensor {
        let inner = self.inner.as_ref().map(|inner| inner.narrow(1, index as i64, 1));
        let statistics = match self.statistics.size()[1] {
            1 => self.statistics.shallow_clone(),
            _ => self.statistics.narrow(1, index as i64, 1),
        };
        self.normalise(image, &statistics, inner.as_ref())
    }

    fn normalise(&self, images: &Tensor, statistics: &Tensor, inner: Option<&Tensor>) -> Tensor {
        no_grad(|| {
            let mut images = images.to_kind(Kind::Float);
            images -= statistics.get(0);
            images /= statistics.get(1);
            if let Some(inner) = inner {
                let (height, width) = (images.size()[2], images.size()[3]);
                let options = (Kind::Int64, images.device());
                let below = Tensor::arange(height, options).view([-1, 1]).ge_tensor(&inner.get(0));
                let beside = Tensor::arange(width, options).ge_tensor(&inner.get(1));
                let _ = images.masked_fill_(&below.logical_or(&beside), 0.0);
            }
            images
        })
    }
}

impl Clone for RawPixels {
    fn clone(&self) -> Self {
        let inner = self.inner.as_ref().map(Tensor::shallow_clone);
        Self { statistics: self.statistics.shallow_clone(), inner }
    }
}
