//! The whole encoder: patches, four stages, neck.

use anyhow::Result;
use tch::{Tensor, nn};

use super::{
    config::{Sizes, TinyVitConfig},
    conv::{PatchEmbed, PatchMerging},
    stage::{Blocks, Pass, Stage},
};
use sonotune_dataset::InputSpec;
use sonotune_engine::backbone::{
    Backbone, BackboneSpec, Level,
    conv_norm::Statistics,
    freeze::{Place, publish},
    sam_neck::Neck,
};

/// TinyViT without its classifier.
#[derive(Debug)]
pub(super) struct TinyVit {
    patch_embed: PatchEmbed,
    stages: Vec<Stage>,
    neck: Option<Neck>,
    out_indices: Vec<usize>,
    activation_checkpointing: bool,
    norm_eval: bool,
    spec: BackboneSpec,
}

impl TinyVit {
    pub(super) fn new(vs: &nn::Path, config: &TinyVitConfig) -> Result<Self> {
        let sizes = config.sizes()?;
        let own = nn::VarStore::new(vs.device());
        let (outer, vs) = (vs, &own.root());
        let patch_embed =
            PatchEmbed::new(&(vs / "patch_embed"), sizes.patch_size, sizes.embed_dims[0]);
        let layers = vs / "layers";
        let mut parts: Vec<(Blocks, Option<PatchMerging>)> = (0..4)
            .map(|stage| {
                let vs = &layers / stage;
                let blocks = Blocks::new(&vs, &sizes, stage);
                (blocks, merging(&vs, &sizes, stage))
            })
            .collect();
        let neck = (sizes.out_channels > 0)
            .then(|| Neck::new(&(vs / "neck"), sizes.embed_dims[3], sizes.out_channels));
        config.freeze.apply(&own, 4, place)?;
        // Last, so that the random start of everything else is the same as in a model without them.
        for (stage, (blocks, _)) in parts.iter_mut().enumerate() {
            blocks.add(&(&layers / stage), config);
        }
        let variables = publish(&own, outer);
        let stages = parts
            .into_iter()
            .enumerate()
            .map(|(stage, (blocks, merging))| Stage::new(blocks, merging, &variables, stage))
            .collect();
        Ok(Self {
            patch_embed,
            stages,
            neck,
            activation_checkpointing: config.activation_checkpointing,
            norm_eval: config.norm_eval,
            spec: spec(&sizes),
            out_indices: sizes.out_indices,
        })
    }
}

fn merging(vs: &nn::Path, sizes: &Sizes, stage: usize) -> Option<PatchMerging> {
    let stride = *sizes.merging.get(stage)?;
    let channels = (sizes.embed_dims[stage], sizes.embed_dims[stage + 1]);
    Some(PatchMerging::new(&(vs / "downsample"), channels, stride))
}

fn spec(sizes: &Sizes) -> BackboneSpec {
    let strides = sizes.strides();
    let level = |stage: usize, channels| Level { channels, stride: strides[stage] };
    let stages = sizes.out_indices.iter();
    BackboneSpec {
        input: InputSpec::imagenet(strides[3]),
        levels: match sizes.out_channels {
            0 => stages.map(|&stage| level(stage, sizes.embed_dims[stage])).collect(),
            channels => vec![level(3, channels)],
        },
    }
}

fn place(name: &str) -> Place {
    Place::of(name, "layers.", &["neck."])
}

impl Backbone for TinyVit {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>> {
        let (_, _, height, width) = images.size4()?;
        self.spec.require_size("tiny_vit", height, width)?;
        let statistics =
            if train && !self.norm_eval { Statistics::OfBatch } else { Statistics::Stored };
        let pass = Pass { statistics, checkpointed: train && self.activation_checkpointing };
        // Channels last: tokens and maps are then the same memory.
        let images = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        let mut x = self.patch_embed.forward(&images, statistics);
        let mut levels = Vec::with_capacity(self.out_indices.len());
        let last = self.out_indices.last().copied().unwrap_or(3);
        for (index, stage) in self.stages.iter().enumerate().take(last + 1) {
            x = stage.forward(x, pass)?;
            if self.out_indices.contains(&index) {
                levels.push(x.shallow_clone());
            }
            if index < last {
                x = stage.merge(&x, pass);
            }
        }
        Ok(match &self.neck {
            Some(neck) => vec![neck.forward(&x)],
            None => levels,
        })
    }
}
