//! Large-scale jitter: pixels, masks and boxes of a training batch against OpenCV, and as a pure
//! function of seed and step.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::Result;
use serde_json::json;
use sonotune_base::{ImageId, Rle, Segmentation, error::exit_code, seed::Rng};
use sonotune_dataset::{
    Dataset, InputSpec, Object, Record, TargetNeeds,
    transforms::{AugmentConfig, Augmentation, PreprocessConfig, Resample},
};
use sonotune_engine::{
    batch::Batch,
    loader::{LoadPlan, Loader, LoaderConfig},
};
use tch::{Kind, Tensor};

use sonotune_testing::{assert_success, python};

const SIDE: u32 = 48;
/// Height, width, and whether all channels are equal; slivers vanish to one pixel at small scales.
const IMAGES: [(u32, u32, bool); 5] =
    [(50, 80, false), (140, 61, true), (3, 90, false), (33, 33, false), (200, 150, true)];

/// Noise, with a disc and a speck that crops often miss.
fn dataset(folder: &Path) -> Dataset {
    let record = |(index, &(height, width, grey)): (usize, &(u32, u32, bool))| {
        let path = folder.join(format!("{index}.png"));
        let mut rng = Rng::at(5, &[index as u64]);
        let mut level = || rng.below(256) as u8;
        image::RgbImage::from_fn(width, height, |_, _| {
            let first = level();
            image::Rgb(if grey { [first; 3] } else { [first, level(), level()] })
        })
        .save(&path)
        .unwrap();
        let disc = |x: f64, y: f64, radius: f64| {
            let inside = |i: u32| {
                let (dx, dy) = (f64::from(i % width) - x, f64::from(i / width) - y);
                u8::from(dx * dx + dy * dy <= radius * radius)
            };
            let mask: Vec<u8> = (0..height * width).map(inside).collect();
            let rle = Rle::from_mask(&mask, (height, width)).unwrap();
            Object {
                category: 0,
                bbox: rle.bbox(),
                area: rle.area() as f64,
                is_crowd: false,
                segmentation: Segmentation::Runs(rle),
            }
        };
        let (w, h) = (f64::from(width), f64::from(height));
        Record {
            size: Some((height, width)),
            image_labels: vec![0],
            objects: vec![disc(w * 0.4, h * 0.6, h.min(w) * 0.3), disc(1.0, 1.0, 1.0)],
            ..Record::new(ImageId::Unsigned(index as u128), path)
        }
    };
    let records = IMAGES.iter().enumerate().map(record).collect();
    Dataset { records, source: folder.to_owned(), ..Dataset::default() }
}

fn plan(batch_size: usize, num_workers: usize) -> LoadPlan {
    LoadPlan {
        preprocess: PreprocessConfig {
            image_size: SIDE,
            resample: Resample::ReferenceFloat,
            ..Default::default()
        },
        augment: AugmentConfig { flip_probability: 0.5, scale_range: Some([0.1, 2.0]) },
        loader: LoaderConfig { batch_size, num_workers, shuffle: false, ..Default::default() },
        // Pixels as they are.
        spec: InputSpec {
            pixel_mean: [0.0; 3],
            pixel_std: [1.0; 3],
            square_size: None,
            divisor: 1,
        },
        needs: TargetNeeds::Masks,
        seed: 11,
        embeddings: None,
        pixels: Default::default(),
        preparation: None,
        reader: Default::default(),
        share: Default::default(),
    }
}

fn take(loader: Loader, count: usize) -> Vec<Batch> {
    loader.take(count).collect::<Result<_>>().unwrap()
}

const SCRIPT: &str = r#"
import json, sys
import cv2, numpy as np

cases, out = json.load(open(sys.argv[1])), sys.argv[2]
side = cases["side"]
with open(out, "wb") as file:
    for case in cases["cases"]:
        image = cv2.imread(case["image"])[..., ::-1].astype(np.float32)
        height, width = image.shape[:2]
        longest = int(side * case["scale"])
        factor = min(longest / max(height, width), longest / min(height, width))
        size = tuple(max(int(n * factor + 0.5), 1) for n in (width, height))
        masks = [np.zeros((height, width), np.uint8) for _ in case["masks"]]
        for mask, runs in zip(masks, case["masks"]):
            values = np.repeat(np.arange(len(runs)) % 2, runs).astype(np.uint8)
            mask[:] = values.reshape(width, height).T
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        masks = [cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in masks]
        y, x = case["offset"]
        assert y + min(side, size[1]) <= size[1] and x + min(side, size[0]) <= size[0]
        cut = [a[y : y + side, x : x + side] for a in [image, *masks]]
        if case["flip"]:
            cut = [a[:, ::-1] for a in cut]
        np.array(cut[0].shape[:2], np.float32).tofile(file)
        np.ascontiguousarray(cut[0].transpose(2, 0, 1)).tofile(file)
        for mask in cut[1:]:
            mask.astype(np.float32).tofile(file)
"#;

#[test]
fn parity_of_jittered_images_and_masks_with_opencv() {
    let Some(python) = python(&["cv2", "numpy"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let count = 60;
    let plan = plan(1, 2);
    let cases: Vec<_> = (0..count)
        .map(|position| {
            let record = &data.records[position % data.records.len()];
            let change = Augmentation::draw(&plan.augment, plan.seed, position as u64);
            let placement = change.placement(record.size.unwrap(), &plan.preprocess);
            let runs = record.objects.iter().map(|object| match &object.segmentation {
                Segmentation::Runs(rle) => rle.counts.clone(),
                _ => unreachable!(),
            });
            json!({
                "image": record.path,
                "scale": change.jitter.unwrap().scale,
                "flip": change.flip,
                "offset": placement.window.offset(),
                "masks": runs.collect::<Vec<_>>(),
            })
        })
        .collect();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("cases.json"), json!({ "side": SIDE, "cases": cases }).to_string())
        .unwrap();
    std::fs::write(file("cut.py"), SCRIPT).unwrap();
    let output = Command::new(python)
        .args([file("cut.py"), file("cases.json"), file("out.bin")])
        .output()
        .unwrap();
    assert_success(&output);
    let bytes = std::fs::read(file("out.bin")).unwrap();
    let mut values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (mut cut, mut vanished) = (0, 0);
    for batch in take(Loader::train(Arc::new(data), plan, 0).unwrap(), count) {
        let target = &batch.targets[0];
        let (height, width) = target.input_size;
        let mut next = |shape: &[i64]| {
            let length = shape.iter().product::<i64>() as usize;
            let values: Vec<f32> = values.by_ref().take(length).collect();
            Tensor::from_slice(&values).view(shape)
        };
        assert_eq!(next(&[2]), Tensor::from_slice(&[height as f32, width as f32]));
        let got = batch.images.get(0).narrow(1, 0, height).narrow(2, 0, width);
        let difference = (got - next(&[3, height, width])).abs().max().double_value(&[]);
        // OpenCV uses another path for images one pixel wide or high; see `bilinear_f32`.
        assert!(difference < 0.003, "{}: {difference}", target.path.display());
        let masks = next(&[2, height, width]);
        assert_eq!(target.masks.to_kind(Kind::Float), masks, "{}", target.path.display());
        assert_eq!(batch.images.size(), [1, 3, i64::from(SIDE), i64::from(SIDE)]);
        let beside = batch.images.narrow(2, height, i64::from(SIDE) - height);
        assert_eq!(beside.count_nonzero(None::<i64>).int64_value(&[]), 0);
        if height == i64::from(SIDE) && width == i64::from(SIDE) {
            cut += 1;
            vanished += (0..2).filter(|&i| !boxes_hold(target, i)).count();
        }
    }
    assert!(values.next().is_none());
    assert!(cut > 10 && vanished > 10, "{cut} cut, {vanished} objects vanished: too tame a test");
}

/// Checks the box of an object of a crop against its mask; `false` when both are empty.
fn boxes_hold(target: &sonotune_engine::batch::Target, index: i64) -> bool {
    let bbox = [0, 1, 2, 3].map(|i| target.boxes.double_value(&[index, i]));
    let pixels = target.masks.get(index).nonzero();
    if pixels.size()[0] == 0 {
        assert_eq!(bbox, [0.0; 4]);
        return false;
    }
    let (low, high) = (pixels.amin([0], false), pixels.amax([0], false) + 1);
    let at = |t: &Tensor, i| t.double_value(&[i]);
    assert_eq!(bbox, [at(&low, 1), at(&low, 0), at(&high, 1), at(&high, 0)]);
    true
}

#[test]
fn batches_are_the_same_on_any_number_of_threads_and_after_resuming() {
    let folder = tempfile::tempdir().unwrap();
    for needs in [TargetNeeds::Masks, TargetNeeds::Boxes] {
        for resample in [Resample::Reference, Resample::ReferenceFloat, Resample::Antialias] {
            let data = Arc::new(dataset(folder.path()));
            let plan = |threads| {
                let mut plan = LoadPlan { needs, ..plan(3, threads) };
                plan.preprocess.resample = resample;
                plan.loader.shuffle = true;
                plan
            };
            let whole = take(Loader::train(Arc::clone(&data), plan(1), 0).unwrap(), 8);
            for start in [0, 5] {
                let again = Loader::train(Arc::clone(&data), plan(3), start as u64).unwrap();
                for (a, b) in whole[start..].iter().zip(take(again, 8 - start)) {
                    assert_eq!(a.images, b.images);
                    for (a, b) in a.targets.iter().zip(&b.targets) {
                        assert_eq!((a.input_size, a.flipped), (b.input_size, b.flipped));
                        assert_eq!((&a.boxes, &a.masks), (&b.boxes, &b.masks));
                    }
                }
            }
        }
    }
}

#[test]
fn evaluation_is_not_jittered() {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(folder.path()));
    let jittered = take(Loader::eval(Arc::clone(&data), plan(5, 1)).unwrap(), 1).remove(0);
    let plain = LoadPlan { augment: AugmentConfig::default(), ..plan(5, 1) };
    assert_eq!(jittered.images, take(Loader::eval(data, plain).unwrap(), 1)[0].images);
}

#[test]
fn a_range_that_makes_no_sense_is_refused_before_any_image_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(1, 1);
    plan.augment.scale_range = Some([2.0, 0.1]);
    let error = Loader::train(Arc::new(dataset(folder.path())), plan, 0).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert!(error.to_string().contains("augment.scale_range = [2.0, 0.1]"), "{error}");
}
