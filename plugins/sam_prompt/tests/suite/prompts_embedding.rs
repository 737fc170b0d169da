//! An image is embedded once, however many prompts follow.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use sam_prompt::{DecoderConfig, SamPromptConfig};
use sonotune_base::{Category, ImageId};
use sonotune_dataset::{ImagePrompts, InputSpec, ObjectPrompt, PointPrompt};
use sonotune_engine::{
    backbone::{Backbone, BackboneSpec, Level},
    batch::{Batch, Target},
    task::TaskConfig,
};
use tch::{Device, Kind, Tensor, nn, no_grad};

/// Counts its calls.
#[derive(Debug)]
struct Counting {
    spec: BackboneSpec,
    images: Arc<AtomicUsize>,
}

impl Backbone for Counting {
    fn spec(&self) -> &BackboneSpec {
        &self.spec
    }

    fn forward(&self, images: &Tensor, _train: bool) -> Result<Vec<Tensor>> {
        let (count, _, height, width) = images.size4()?;
        self.images.fetch_add(count as usize, Ordering::SeqCst);
        let shape = [count, 16, height / 16, width / 16];
        Ok(vec![Tensor::arange(count * 16 * 16, (Kind::Float, Device::Cpu)).sin().view(shape)])
    }
}

#[test]
fn an_image_is_embedded_once_however_many_prompts_follow() {
    let images = Arc::new(AtomicUsize::new(0));
    let spec = BackboneSpec {
        input: InputSpec { square_size: Some(64), ..InputSpec::imagenet(16) },
        levels: vec![Level { channels: 16, stride: 16 }],
    };
    let vs = nn::VarStore::new(Device::Cpu);
    let decoder = DecoderConfig { num_heads: 2, mlp_dim: 32, ..DecoderConfig::default() };
    // With refinement the decoder runs twice.
    let config = SamPromptConfig { decoder, refinement: Some(true), ..SamPromptConfig::default() };
    let categories = [Category { id: 1, name: "object".to_owned() }];
    let backbone = Box::new(Counting { spec, images: images.clone() });
    let task = config.build(&vs.root(), backbone, &categories).unwrap();
    let target = |prompts| Target {
        image_id: ImageId::from(1),
        path: "a.png".into(),
        original_size: (64, 64),
        crop: None,
        spacing: None,
        input_size: (64, 64),
        flipped: false,
        image_labels: Vec::new(),
        labels: Tensor::zeros([0], (Kind::Int64, Device::Cpu)),
        boxes: Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)),
        masks: Tensor::zeros([0, 64, 64], (Kind::Bool, Device::Cpu)),
        is_crowd: Tensor::zeros([0], (Kind::Bool, Device::Cpu)),
        objects: [].into(),
        prompts: Some(prompts),
        values: Default::default(),
        stored: Default::default(),
    };
    let point = |i: i32| ObjectPrompt {
        points: vec![PointPrompt { x: f64::from(i % 64), y: 5.0, positive: true }],
        ..ObjectPrompt::default()
    };
    let many = ImagePrompts::Objects((0..200).map(point).collect());
    let pixels = Tensor::zeros([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    let batch = Batch::new(pixels, vec![target(many), target(ImagePrompts::Everything)], 0);
    let predictions = no_grad(|| task.predict(&batch)).unwrap();
    assert_eq!(predictions[0].instances.len(), 200);
    assert_eq!(images.load(Ordering::SeqCst), 2);
}
