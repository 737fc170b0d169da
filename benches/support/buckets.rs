//! How the gradients of the paper's models are divided into buckets, and when backward has filled each.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context, Result, ensure};
// The configs name them.
use classification as _;
use sam_prompt as _;
use serde::Serialize;
use sonotune_base::{
    launch::{Launch, Starter, StoreHost},
    stop::StopFlag,
};
use sonotune_dataset::Split;
use sonotune_engine::{
    batch::Batch,
    loader::{LoadPlan, prepare_batch},
    optim::groups,
    parallel::{Gradients, ParallelConfig, Ranks},
};
use sonotune_run::{Model, config};
use tch::{Device, Tensor};

/// A model's gradients.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    model: &'static str,
    buckets: Vec<Filled>,
}

/// A bucket.
#[derive(Debug, Serialize)]
struct Filled {
    bytes: usize,
    /// When it is full, as a share of the time that backward takes: on the CPU, with small images.
    at: f64,
}

/// Images are small: only shares of the time are measured. Two, for a batch.
const SIDE: u32 = 256;
const IMAGES: usize = 2;
/// Each time is the least of this many.
const REPEATS: usize = 3;

/// Name, config and overrides.
const MODELS: [(&str, &str, &[&str]); 3] = [
    ("UltraSam, all of it (ViT-B)", "configs/us43d/ultrasam.toml", &AGNOSTIC),
    ("UltraSam, LoRA", "configs/us43d/ultrasam-lora.toml", &AGNOSTIC),
    (
        "ResNet-50 classification",
        "configs/bus-bra/classification-resnet50.toml",
        &["dataset.images=", "dataset.categories=[\"cyst\",\"benign\",\"malignant\"]"],
    ),
];

const AGNOSTIC: [&str; 4] = [
    "dataset.train=annotations/train.json",
    "dataset.val=annotations/val.json",
    "dataset.test=annotations/test.json",
    "dataset.agnostic=true",
];

pub(crate) fn of_the_papers_models() -> Result<Vec<Sent>> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let mut phantoms = Command::new(env!("CARGO_BIN_EXE_sonotune"));
    phantoms.args(["data", "phantom"]).arg(folder.path()).arg("--num-images=24");
    phantoms.args([&format!("--image-size={SIDE}"), "--overwrite"]);
    let made = phantoms.output().context("starting sonotune")?;
    ensure!(made.status.success(), "`sonotune data phantom` failed");
    MODELS.into_iter().map(|model| of_model(folder.path(), model)).collect()
}

fn of_model(data: &Path, (model, file, overrides): (&'static str, &str, &[&str])) -> Result<Sent> {
    let root = format!("dataset.root={:?}", data.display().to_string());
    let side = format!("preprocess.image_size={SIDE}");
    let all =
        [&[root.as_str(), &side, "device=cpu", "precision=fp32", "~weights"], overrides].concat();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let config = config::load(&file, &all)?.config;
    let dataset = config.dataset()?.open(Split::Train)?;
    let built = Model::build(&config, Device::Cpu, dataset.categories.clone())?;
    groups::group(&built.vs, &config.optimizer.groups)?;
    let buckets = buckets(&built, config.parallel.bucket_mib << 20)?;
    eprintln!("{model}: {} buckets", buckets.len());
    let plan = LoadPlan {
        preprocess: config.preprocess.clone(),
        augment: config.augment.clone(),
        spec: built.spec.input.clone(),
        needs: built.task.needs(),
        loader: config.loader.clone(),
        seed: config.seed,
        pixels: Device::Cpu.into(),
        preparation: built.task.preparation(),
        reader: Default::default(),
        share: Default::default(),
        embeddings: None,
    };
    let records: Vec<_> = dataset.records.iter().take(IMAGES).cloned().collect();
    let batch = prepare_batch(&records, &plan)?;
    let seconds = filling(&built, &batch, &buckets)?;
    let whole = seconds.iter().copied().fold(0.0, f64::max);
    let bytes = |bucket: &Vec<Tensor>| {
        bucket.iter().map(|t| t.numel() * t.kind().elt_size_in_bytes()).sum()
    };
    let filled = buckets.iter().zip(seconds);
    let buckets = filled
        .map(|(bucket, seconds)| Filled { bytes: bytes(bucket), at: seconds / whole })
        .collect();
    Ok(Sent { model, buckets })
}

/// The buckets of a run, from those of a group of one process.
fn buckets(model: &Model, bytes: usize) -> Result<Vec<Vec<Tensor>>> {
    let launch = Launch {
        rank: 0,
        world_size: 1,
        local_rank: 0,
        local_world_size: 1,
        master_addr: "127.0.0.1".to_owned(),
        master_port: free_port()?,
        store: StoreHost::FirstRank,
        restart_count: 0,
        starter: Starter::Own,
    };
    let ranks = Ranks::join(&launch, &ParallelConfig::default(), |line| eprintln!("{line}"))?;
    ranks.connect(Device::Cpu)?;
    let gradients =
        Gradients::new(&ranks, groups::trainable(&model.vs), bytes, StopFlag::default())?;
    let buckets = gradients.context("a group has gradients")?.buckets();
    ranks.close(Ok(buckets))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Seconds of backward until each bucket is full: of a pass that computes the gradients of the buckets up to
/// this one, and nothing else.
fn filling(model: &Model, batch: &Batch, buckets: &[Vec<Tensor>]) -> Result<Vec<f64>> {
    let output = model.task.train_step(batch)?;
    let terms = output.losses.iter().map(|loss| &loss.value * loss.weight);
    let total = terms.reduce(|sum, term| sum + term).context("no losses")?;
    let backward = |count: usize| -> Result<f64> {
        let inputs: Vec<&Tensor> = buckets[..count].iter().flatten().collect();
        let start = Instant::now();
        Tensor::f_run_backward(&[&total], &inputs, true, false)?;
        Ok(start.elapsed().as_secs_f64())
    };
    backward(buckets.len())?;
    let mut latest: f64 = 0.0;
    (1..=buckets.len())
        .map(|count| {
            let times = (0..REPEATS).map(|_| backward(count)).collect::<Result<Vec<_>>>()?;
            // A pass for more buckets takes no less.
            latest = latest.max(times.into_iter().fold(f64::INFINITY, f64::min));
            Ok(latest)
        })
        .collect()
}
