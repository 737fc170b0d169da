//! Batches are a pure function of seed and step; bad images are errors of their step.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use sonotune_base::{ImageId, Segmentation, error::exit_code};
use sonotune_dataset::{
    Dataset, InputSpec, Object, Record, TargetNeeds,
    transforms::{AugmentConfig, PadOrder, PadTo, PreprocessConfig, Resample},
};
use sonotune_engine::{
    batch::{Batch, Preparation, Prepared},
    loader::{BadImages, LoadPlan, Loader, LoaderConfig, Pixels, prepare_batch},
};
use tch::{Device, Kind, Tensor};

use sonotune_testing::fixture;

/// `count` images of different sizes and brightness, one object each.
fn dataset(folder: &Path, count: u32) -> Dataset {
    let records = (0..count).map(|i| {
        let (height, width) = (20 + i, 41 - i);
        let path = folder.join(format!("{i}.png"));
        image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 5) as u8, (y * 5) as u8, (i * 20) as u8])
        })
        .save(&path)
        .unwrap();
        let object = Object {
            category: i % 2,
            bbox: [1.0, 2.0, 10.0, 5.0],
            area: 50.0,
            is_crowd: false,
            segmentation: Segmentation::None,
        };
        Record {
            size: Some((height, width)),
            image_labels: vec![i % 2],
            objects: vec![object],
            ..Record::new(ImageId::Unsigned(i.into()), path)
        }
    });
    Dataset { records: records.collect(), source: folder.to_owned(), ..Dataset::default() }
}

fn plan(batch_size: usize, num_workers: usize) -> LoadPlan {
    LoadPlan {
        preprocess: PreprocessConfig { image_size: 64, ..Default::default() },
        augment: AugmentConfig { flip_probability: 0.5, ..Default::default() },
        loader: LoaderConfig { batch_size, num_workers, ..Default::default() },
        spec: InputSpec {
            pixel_mean: [100.0; 3],
            pixel_std: [50.0; 3],
            square_size: None,
            divisor: 16,
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

fn ids(batch: &Batch) -> Vec<String> {
    batch.targets.iter().map(|t| t.image_id.to_string()).collect()
}

fn assert_equal(a: &Batch, b: &Batch) {
    assert_eq!(a.seed, b.seed);
    assert_eq!(ids(a), ids(b));
    assert_eq!(a.images, b.images);
    for (a, b) in a.targets.iter().zip(&b.targets) {
        assert_eq!(a.flipped, b.flipped);
        assert_eq!(a.boxes, b.boxes);
        assert_eq!(a.masks, b.masks);
    }
}

fn take(loader: Loader, count: usize) -> Vec<Batch> {
    loader.take(count).collect::<Result<_>>().unwrap()
}

#[test]
fn a_resumed_loader_repeats_the_uninterrupted_one_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 10));
    let whole = take(Loader::train(Arc::clone(&data), plan(4, 1), 0).unwrap(), 9);
    // Steps 2, 5 and 7 straddle two epochs.
    for (start, threads) in [(0, 3), (3, 2), (6, 1)] {
        let resumed = Loader::train(Arc::clone(&data), plan(4, threads), start as u64).unwrap();
        for (a, b) in take(resumed, 9 - start).iter().zip(&whole[start..]) {
            assert_equal(a, b);
        }
    }
    let flips = whole.iter().flat_map(|b| &b.targets).filter(|t| t.flipped).count();
    assert!((5..31).contains(&flips), "{flips} of 36 flipped");
    let other = LoadPlan { seed: 12, ..plan(4, 1) };
    let other = take(Loader::train(data, other, 0).unwrap(), 1);
    assert_ne!(ids(&other[0]), ids(&whole[0]));
}

#[test]
fn bytes_normalised_on_the_device_are_the_loaders_floats_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 10));
    for pad_order in [PadOrder::NormalizeThenPad, PadOrder::PadThenNormalize] {
        for resample in [Resample::Reference, Resample::ReferenceFloat, Resample::Antialias] {
            let batches = |pixels| {
                let mut plan = LoadPlan { pixels, ..plan(3, 2) };
                plan.preprocess.pad_order = pad_order;
                plan.preprocess.resample = resample;
                take(Loader::train(Arc::clone(&data), plan, 0).unwrap(), 4)
            };
            let floats = batches(Pixels::Normalised);
            let bytes = batches(Pixels::Bytes { pinned: false });
            for (expected, batch) in floats.iter().zip(bytes) {
                let is_bytes = batch.images.kind() == Kind::Uint8;
                assert_eq!(is_bytes, resample != Resample::ReferenceFloat, "{resample:?}");
                assert_eq!(batch.image(1), expected.images.get(1));
                assert_equal(&batch.to_place(Device::Cpu).unwrap(), expected);
            }
        }
    }
}

/// Computes the mean top of a batch's boxes; counts how often it does so outside the loader's threads.
#[derive(Debug, Default)]
struct MeanTop(AtomicUsize);

#[derive(Debug)]
struct Top(Tensor);

impl Prepared for Top {
    fn tensors(&mut self) -> Vec<&mut Tensor> {
        vec![&mut self.0]
    }
}

impl Preparation for MeanTop {
    fn prepare(&self, batch: &Batch) -> Result<Box<dyn Prepared>> {
        if !std::thread::current().name().is_some_and(|name| name.starts_with("loader-")) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        let tops: Vec<_> = batch.targets.iter().map(|t| t.boxes.select(1, 1)).collect();
        Ok(Box::new(Top(Tensor::cat(&tops, 0).mean(Kind::Float))))
    }
}

#[test]
fn the_loader_prepares_training_batches_and_the_step_those_that_nobody_has() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 10));
    let mean = Arc::new(MeanTop::default());
    let in_step = || mean.0.load(Ordering::SeqCst);
    let plan = LoadPlan { preparation: Some(mean.clone()), ..plan(3, 2) };
    for batch in take(Loader::train(Arc::clone(&data), plan.clone(), 0).unwrap(), 2) {
        let before = in_step();
        let by_loader = batch.prepared::<Top>(&*mean).unwrap();
        assert_eq!(in_step(), before);
        let copy = batch.shallow_clone();
        assert_eq!(copy.prepared::<Top>(&*mean).unwrap().0, by_loader.0);
        assert_eq!(in_step(), before + 1);
    }
    // An evaluation learns nothing.
    let evaluated = take(Loader::eval(data, plan).unwrap(), 1).remove(0);
    let before = in_step();
    evaluated.prepared::<Top>(&*mean).unwrap();
    assert_eq!(in_step(), before + 1);
}

#[test]
fn no_image_is_dropped_where_epochs_meet() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 7));
    let batches = take(Loader::train(data, plan(3, 2), 0).unwrap(), 7);
    let all: Vec<String> = batches.iter().flat_map(ids).collect();
    for epoch in all.chunks_exact(7) {
        let mut seen = epoch.to_vec();
        seen.sort();
        assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"]);
    }
}

#[test]
fn evaluation_sees_every_image_once_in_order_and_unflipped() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 7));
    let loader = Loader::eval(Arc::clone(&data), plan(3, 2)).unwrap();
    let batches = take(loader, usize::MAX);
    assert_eq!(
        batches.iter().map(ids).collect::<Vec<_>>(),
        [vec!["0", "1", "2"], vec!["3", "4", "5"], vec!["6"]]
    );
    assert!(batches.iter().flat_map(|b| &b.targets).all(|t| !t.flipped));
    assert_equal(&batches[0], &prepare_batch(&data.records[..3], &plan(3, 2)).unwrap());
}

#[test]
fn a_flip_mirrors_image_boxes_and_masks_alike() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 1));
    let with = |flip_probability| {
        let augment = AugmentConfig { flip_probability, ..Default::default() };
        LoadPlan { augment, ..plan(1, 1) }
    };
    let plain = take(Loader::train(Arc::clone(&data), with(0.0), 0).unwrap(), 1).remove(0);
    let flipped = take(Loader::train(data, with(1.0), 0).unwrap(), 1).remove(0);
    let (height, width) = plain.targets[0].input_size;
    let inside = |b: &Batch| b.images.narrow(2, 0, height).narrow(3, 0, width);
    assert_eq!(inside(&plain).flip([3]), inside(&flipped));
    assert_eq!(plain.targets[0].masks.flip([2]), flipped.targets[0].masks);
    let (a, b) = (&plain.targets[0].boxes, &flipped.targets[0].boxes);
    let at = |t: &tch::Tensor, i| t.double_value(&[0, i]);
    // Subtracting from the width rounds in 32 bits.
    assert!((at(b, 0) - (width as f64 - at(a, 2))).abs() < 1e-5);
    assert!((at(b, 2) - (width as f64 - at(a, 0))).abs() < 1e-5);
    assert_eq!((at(b, 1), at(b, 3)), (at(a, 1), at(a, 3)));
}

#[test]
fn multiple_padding_takes_the_largest_of_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 3);
    let mut plan = plan(3, 1);
    plan.preprocess.pad_to = PadTo::Multiple;
    // 20x41, 21x40, 22x39 become 31x64, 34x64, 36x64.
    let batch = prepare_batch(&data.records, &plan).unwrap();
    assert_eq!(batch.images.size(), [3, 3, 64, 64]);
    assert_eq!(prepare_batch(&data.records[..1], &plan).unwrap().images.size(), [1, 3, 32, 64]);
}

#[test]
fn a_bad_image_is_an_error_of_its_step_and_the_loader_lives_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 6);
    std::fs::write(&data.records[3].path, b"not an image").unwrap();
    let mut loader = Loader::eval(Arc::new(data), plan(2, 2)).unwrap();
    assert!(loader.next().unwrap().is_ok());
    let error = loader.next().unwrap().unwrap_err();
    assert_eq!(exit_code(&error), 3);
    let error = format!("{error:#}");
    assert!(error.contains("batch 1, image 2 of 2 (position 3): image "), "{error}");
    assert!(error.contains("3.png"), "{error}");
    assert!(loader.next().unwrap().is_ok());
    assert!(loader.next().is_none());
}

#[test]
fn of_several_bad_images_the_first_in_order_speaks() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = dataset(dir.path(), 8);
    // The first to be found bad is the last in order: its file is missing.
    std::fs::write(&data.records[4].path, vec![7; 4 << 20]).unwrap();
    data.records[7].path = dir.path().join("absent.png");
    for threads in [1, 4] {
        let mut loader = Loader::eval(Arc::new(data.clone()), plan(8, threads)).unwrap();
        let error = format!("{:#}", loader.next().unwrap().unwrap_err());
        assert!(error.contains("image 5 of 8 (position 4)"), "{error}");
    }
}

/// 12 images: one damaged, one missing, one that does not fit its annotation.
fn with_bad_images(folder: &Path) -> Dataset {
    let mut data = dataset(folder, 12);
    std::fs::write(&data.records[3].path, b"not an image").unwrap();
    data.records[7].path = folder.join("absent.png");
    data.records[10].size = Some((1, 1));
    data
}

fn skipping(batch_size: usize, threads: usize) -> LoadPlan {
    let mut plan = plan(batch_size, threads);
    plan.loader.bad_images = BadImages::Skip;
    plan.loader.max_bad_images = 3;
    plan
}

#[test]
fn in_training_others_take_the_place_of_bad_images_whatever_the_threads_and_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(with_bad_images(dir.path()));
    let mut loader = Loader::train(Arc::clone(&data), skipping(4, 1), 0).unwrap();
    let whole: Vec<Batch> = loader.by_ref().take(9).map(Result::unwrap).collect();
    let bad = loader.newly_skipped();
    assert!(whole.iter().all(|batch| batch.targets.len() == 4));
    let mut records: Vec<_> = bad.iter().map(|image| image.record).collect();
    records.sort_unstable();
    assert_eq!(records, [3, 7, 10]);
    assert!(bad.is_sorted_by_key(|image| image.position), "in the order of training");
    let reason = |record| &bad.iter().find(|image| image.record == record).unwrap().reason;
    assert!(reason(7).contains("absent.png: cannot read"), "{}", reason(7));
    assert!(reason(10).contains("expected 1x1"), "{}", reason(10));
    for (threads, start) in [(3, 0), (2, 1), (1, 5)] {
        let resumed = Loader::train(Arc::clone(&data), skipping(4, threads), start).unwrap();
        for (a, b) in whole[start as usize..].iter().zip(resumed.map(Result::unwrap)) {
            assert_equal(a, &b);
        }
    }
    // The good ones have the positions that they have without bad ones.
    let other = tempfile::tempdir().unwrap();
    let clean = take(Loader::train(Arc::new(dataset(other.path(), 12)), plan(4, 1), 0).unwrap(), 9);
    let names = |batch: &Batch| -> Vec<_> {
        batch.targets.iter().map(|t| t.path.file_name().unwrap().to_owned()).collect()
    };
    let (clean, whole): (Vec<_>, Vec<_>) =
        (clean.iter().flat_map(names).collect(), whole.iter().flat_map(names).collect());
    let moved = clean.iter().zip(&whole).filter(|(a, b)| a != b).map(|(a, _)| a);
    assert!(moved.clone().count() >= 9);
    assert!(moved.into_iter().all(|name| ["3.png", "7.png", "10.png"].iter().any(|n| name == n)));
}

#[test]
fn an_evaluation_leaves_bad_images_out_and_says_which_records_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = with_bad_images(dir.path());
    // No image of the second batch is left.
    data.records[2].path = dir.path().join("absent too.png");
    let mut plan = skipping(2, 3);
    plan.loader.max_bad_images = 4;
    let mut loader = Loader::eval(Arc::new(data.clone()), plan).unwrap();
    let mut seen = Vec::new();
    while let Some(batch) = loader.next() {
        let batch = batch.unwrap();
        let records = loader.records().to_vec();
        assert_eq!(batch.targets.len(), records.len());
        for (target, &record) in batch.targets.iter().zip(&records) {
            assert_eq!(target.path, data.records[record].path);
        }
        seen.extend(records);
    }
    assert_eq!(seen, [0, 1, 4, 5, 6, 8, 9, 11]);
}

#[test]
fn more_bad_images_than_allowed_stop_at_the_same_step_whatever_the_threads() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(with_bad_images(dir.path()));
    let stop = |threads: usize, prefetch: usize| {
        let mut plan = skipping(2, threads);
        plan.loader.max_bad_images = 2;
        plan.loader.prefetch_batches = prefetch;
        let mut loader = Loader::train(Arc::clone(&data), plan, 0).unwrap();
        let mut good = 0;
        loop {
            match loader.next().unwrap() {
                Ok(_) => good += 1,
                Err(error) => return (good, exit_code(&error), format!("{error:#}")),
            }
        }
    };
    let (good, code, text) = stop(1, 1);
    assert!(good < 6 && code == 3, "{good} {code}");
    assert!(
        text.contains("3 images cannot be used, more than loader.max_bad_images = 2"),
        "{text}"
    );
    assert!(text.contains("the first is image "), "{text}");
    for (threads, prefetch) in [(4, 1), (3, 12)] {
        assert_eq!(stop(threads, prefetch), (good, code, text.clone()));
    }
}

#[test]
fn a_split_without_one_usable_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = dataset(dir.path(), 2);
    for record in &mut data.records {
        record.path = dir.path().join("absent.png");
    }
    for loader in [
        Loader::train(Arc::new(data.clone()), skipping(2, 2), 0).unwrap(),
        Loader::eval(Arc::new(data.clone()), skipping(2, 2)).unwrap(),
    ] {
        let error = loader.map(|batch| batch.unwrap_err()).next().unwrap();
        assert!(format!("{error:#}").contains("not one of the 2 images"), "{error:#}");
    }
}

#[test]
fn a_size_that_contradicts_the_annotation_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut data = dataset(dir.path(), 1);
    data.records[0].size = Some((41, 20));
    let error = prepare_batch(&data.records, &plan(1, 1)).unwrap_err().to_string();
    assert!(error.contains("expected 41x20") && error.contains("got 20x41"), "{error}");
    assert!(!error.contains("EXIF"), "{error}");
    data.records[0].path = fixture("preprocess/exif6.png");
    data.records[0].size = Some((37, 53));
    let error = prepare_batch(&data.records, &plan(1, 1)).unwrap_err().to_string();
    assert!(error.contains("preprocess.exif = false"), "{error}");
    let mut plan = plan(1, 1);
    plan.preprocess.exif = false;
    assert!(prepare_batch(&data.records, &plan).is_ok());
}

#[test]
fn a_dropped_loader_ends_its_threads_soon() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(dataset(dir.path(), 10));
    let mut plan = plan(10, 4);
    plan.loader.prefetch_batches = 100;
    let mut loader = Loader::train(Arc::clone(&data), plan, 0).unwrap();
    loader.next().unwrap().unwrap();
    let started = std::time::Instant::now();
    drop(loader);
    // All 100 batches would take far longer; batches in progress are finished.
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(Arc::strong_count(&data), 1, "every thread has let go of the dataset");
}

#[test]
fn empty_datasets_and_batches_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Loader::train(Arc::new(dataset(dir.path(), 0)), plan(2, 1), 0).unwrap_err();
    assert!(exit_code(&error) == 3 && error.to_string().contains("no images"), "{error}");
    let error = Loader::eval(Arc::new(dataset(dir.path(), 1)), plan(0, 1)).unwrap_err();
    assert!(exit_code(&error) == 2 && error.to_string().contains("batch_size"), "{error}");
}
