//! Four levels from a plain ViT's last map (Li et al. 2022, "Exploring Plain Vision Transformer
//! Backbones for Object Detection", section 3).

use sonotune_engine::{
    nn::{LayerNorm2d, conv_default},
    prelude::*,
};

use crate::layers::Conv;

/// ViTDet's simple feature pyramid: the map at four times, twice, once and half its resolution, each
/// computed by its own path. Variables `neck.<scale>.…`, finest first.
#[derive(Debug)]
pub(crate) struct SimpleFeaturePyramid {
    paths: [Path; 4],
    out_channels: i64,
}

/// Kernel and stride of two: every pixel becomes four.
#[derive(Debug)]
struct Upscale {
    /// `[in, out, 2, 2]`.
    weight: Tensor,
    bias: Tensor,
}

impl Upscale {
    fn new(vs: &nn::Path<'_>, channels: (i64, i64)) -> Self {
        let init = conv_default(channels.1 * 4);
        Self {
            weight: vs.var("weight", &[channels.0, channels.1, 2, 2], init),
            bias: vs.var("bias", &[channels.1], init),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        x.conv_transpose2d(&self.weight, Some(&self.bias), [2, 2], [0, 0], [0, 0], 1, [1, 1])
    }
}

#[derive(Debug)]
enum Resample {
    Fourfold(Upscale, LayerNorm2d, Upscale),
    Twofold(Upscale),
    Same,
    Half,
}

impl Resample {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Fourfold(first, norm, second) => {
                second.forward(&norm.forward(&first.forward(x)).gelu("none"))
            }
            Self::Twofold(up) => up.forward(x),
            Self::Same => x.shallow_clone(),
            Self::Half => x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false),
        }
    }
}

#[derive(Debug)]
struct Path {
    resample: Resample,
    project: (Conv, LayerNorm2d),
    smooth: (Conv, LayerNorm2d),
}

impl SimpleFeaturePyramid {
    pub(crate) fn new(vs: &nn::Path<'_>, channels: i64, out_channels: i64) -> Result<Self> {
        if channels % 4 != 0 || channels == 0 {
            return Err(Error::config(format!(
                "task.neck = \"simple_feature_pyramid\": the backbone's last level has {channels} \
                 channels, expected a multiple of 4"
            ))
            .into());
        }
        let half = channels / 2;
        let (first, second) = (&(vs / 0), &(vs / 1));
        let paths = [
            (
                Resample::Fourfold(
                    Upscale::new(&(first / "up1"), (channels, half)),
                    LayerNorm2d::new(&(first / "norm"), half),
                    Upscale::new(&(first / "up2"), (half, half / 2)),
                ),
                half / 2,
            ),
            (Resample::Twofold(Upscale::new(&(second / "up1"), (channels, half))), half),
            (Resample::Same, channels),
            (Resample::Half, channels),
        ];
        let mut scale = 0;
        let paths = paths.map(|(resample, channels)| {
            let vs = vs / scale;
            scale += 1;
            let conv = |name: &str, channels: i64, side: i64| {
                let init = conv_default(channels * side * side);
                let vs = &vs / name;
                let conv = Conv::new(&(&vs / "conv"), (channels, out_channels), side, false, init);
                (conv, LayerNorm2d::new(&(&vs / "norm"), out_channels))
            };
            let (project, smooth) = (conv("project", channels, 1), conv("smooth", out_channels, 3));
            Path { resample, project, smooth }
        });
        Ok(Self { paths, out_channels })
    }

    /// Channels of its levels, fine to coarse.
    pub(crate) fn channels(&self) -> Vec<i64> {
        vec![self.out_channels; self.paths.len()]
    }

    /// `[B, C, H, W]` to four levels, fine to coarse.
    pub(crate) fn forward(&self, map: &Tensor) -> Vec<Tensor> {
        let level = |path: &Path| {
            let x = path.resample.forward(map);
            let x = path.project.1.forward(&path.project.0.forward(&x));
            path.smooth.1.forward(&path.smooth.0.forward(&x))
        };
        self.paths.iter().map(level).collect()
    }
}
