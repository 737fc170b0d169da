//! Network input against the reference's tensors: the same images, sizes and annotations.

use std::path::Path;

use serde_json::{self, Value, json};
use sonotune_base::image_io::Image;
use sonotune_dataset::{
    Dataset, DatasetConfig, InputSpec, Split, TargetNeeds,
    transforms::{
        AugmentConfig, Normalization, PadOrder, PadTo, PreprocessConfig, Resample, Resized,
        SizeRule, normalize_into, resize,
    },
};
use sonotune_engine::{
    batch::Batch,
    loader::{LoadPlan, LoaderConfig, prepare_batch},
};
use tch::{Kind, Tensor};

use sonotune_testing::shared;
use sonotune_testing_models::reference::{Tensors, read, read_json};

fn spec() -> InputSpec {
    InputSpec::imagenet(16)
}

fn plan(preprocess: PreprocessConfig, needs: TargetNeeds) -> LoadPlan {
    let loader = LoaderConfig { batch_size: 1, ..LoaderConfig::default() };
    LoadPlan {
        preprocess,
        augment: AugmentConfig::default(),
        loader,
        spec: spec(),
        needs,
        seed: 0,
        embeddings: None,
        pixels: Default::default(),
        preparation: None,
        reader: Default::default(),
        share: Default::default(),
    }
}

/// A reference folder's tensors and the size of its images.
fn reference(folder: &Path) -> (Tensors, Value, u32) {
    let io = read_json(&folder.join("io.json"));
    let size = io["config"]["backbone"]["img_size"].as_u64().map_or(128, |s| s as u32);
    (read(&folder.join("io.safetensors")), io, size)
}

fn real_images(root: &Path) -> Dataset {
    let table = json!({ "type": "coco", "root": root, "images": "images",
        "test": "annotations.json" });
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table).unwrap();
    config.open(Split::Test).unwrap()
}

fn one(data: &Dataset, file: &str, plan: &LoadPlan) -> Batch {
    let record = data.records.iter().find(|r| r.path.ends_with(file)).unwrap();
    prepare_batch(std::slice::from_ref(record), plan).unwrap()
}

/// Largest absolute difference, of normalised values of magnitude about 2.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

#[test]
fn parity_ultrasam_input_boxes_and_masks() {
    let Some(folder) = shared("reference/ultrasam") else { return };
    let Some(root) = shared("data/mmotu2d-sample") else { return };
    let data = real_images(&root);
    let (tensors, io, image_size) = reference(&folder);
    let preprocess =
        PreprocessConfig { image_size, size_rule: SizeRule::Truncate, ..Default::default() };
    let plan = plan(preprocess, TargetNeeds::Masks);
    for i in 0.. {
        let Some(input) = tensors.get(&format!("image.{i}.input")) else {
            assert!(i > 0, "no images in the reference");
            break;
        };
        let info = &io[format!("box.{i}")];
        let batch = one(&data, info["file"].as_str().unwrap(), &plan);
        let target = &batch.targets[0];
        let size = |key: &str| (info[key][0].as_i64().unwrap(), info[key][1].as_i64().unwrap());
        assert_eq!(target.original_size, size("ori_shape"));
        assert_eq!(target.input_size, size("img_shape"));
        // The bytes are equal, the subtraction and the division single operations: equal too.
        assert_eq!(difference(&batch.images, input), 0.0, "image {i}");
        // The prompt pipeline adds 0.5; coordinates of about 100 in fp32 carry 1e-5.
        let boxes = tensors[&format!("box.{i}.boxes")].view([-1, 4]);
        assert!(difference(&(&target.boxes + 0.5), &boxes) < 2e-5, "boxes of image {i}");
        if let Some(masks) = tensors.get(&format!("loss.{i}.gt_masks")) {
            assert_eq!(difference(&target.masks, masks), 0.0, "masks of image {i}");
        }
    }
}

#[test]
fn parity_mask2former_test_input() {
    let Some(folder) = shared("reference/mask2former_vit") else { return };
    let Some(root) = shared("data/mmotu2d-sample") else { return };
    let data = real_images(&root);
    let (tensors, _, image_size) = reference(&folder);
    let preprocess = PreprocessConfig {
        image_size,
        resample: Resample::ReferenceFloat,
        eval_pad_to: Some(PadTo::Multiple),
        ..Default::default()
    };
    let plan = plan(preprocess, TargetNeeds::Boxes);
    // Its io.json does not name the files: they are the first of the annotations, in order.
    for i in 0..2 {
        let file = format!("test.MMOTU_2d__{i:05}.png");
        let input = &tensors[&format!("pred.{i}.input")];
        assert_eq!(difference(&one(&data, &file, &plan).images, input), 0.0, "image {i}");
    }
}

#[test]
fn parity_classification_input() {
    for name in ["reference/classification_vit", "reference/classification_r50"] {
        let Some(folder) = shared(name) else { return };
        let (tensors, ..) = reference(&folder);
        let normalization = Normalization::new(&spec(), PadOrder::PadThenNormalize);
        let bgr = &tensors["images_bgr_u8"];
        let (_, _, height, width) = bgr.size4().unwrap();
        for (i, expected) in tensors["input"].unbind(0).iter().enumerate() {
            let rgb = bgr.get(i as i64).flip([0]).permute([1, 2, 0]).contiguous();
            let image = Image {
                height: height as u32,
                width: width as u32,
                channels: 3,
                pixels: Vec::try_from(rgb.flatten(0, -1)).unwrap(),
                transposed: false,
                stored: Default::default(),
            };
            let size = (image.height, image.width);
            let resized = resize(image, size, Resample::ReferenceFloat).unwrap();
            assert!(matches!(resized, Resized::F32(_)));
            let padded = expected.size3().unwrap();
            let padded = (padded.1 as usize, padded.2 as usize);
            let mut out = vec![0.0; 3 * padded.0 * padded.1];
            normalize_into(&resized, &normalization, false, padded, &mut out);
            let got = Tensor::from_slice(&out).view_as(expected);
            assert_eq!(difference(&got, expected), 0.0, "{name} image {i}");
        }
    }
}
