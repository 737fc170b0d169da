//! The naming convention that weights decide is recorded with the run.

use sam_prompt as _;
use sonotune_dataset::Split;
use sonotune_phantom::PhantomConfig;
use tch::{Kind, Tensor};

/// From images on disk to a finished run and back, the convention recorded on the way.
#[test]
fn a_run_records_the_convention_and_starts_another_likewise() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let phantoms = PhantomConfig { num_images: 20, image_size: 64, ..PhantomConfig::default() };
    sonotune_phantom::generate(&phantoms, &data, false, &|_| ()).unwrap();
    let run = |name: &str, extra: &[String]| {
        let config = folder.path().join("config.toml");
        std::fs::write(&config, CONFIG.replace("DATA", data.to_str().unwrap())).unwrap();
        let run_dir = folder.path().join(name);
        let mut overrides = vec![format!("run_dir=\"{}\"", run_dir.display())];
        overrides.extend_from_slice(extra);
        let loaded = sonotune_run::config::load(&config, &overrides).unwrap();
        sonotune_run::train(
            &loaded,
            &sonotune_run::TrainOptions {
                existing: sonotune_run_folder::Existing::Refuse,
                resume_from: sonotune_run::ModelSource::Last,
                changed_data: false,
                stop: sonotune_base::stop::StopFlag::default(),
                ranks: Default::default(),
            },
        )
        .unwrap();
        std::fs::read_to_string(run_dir.join("config.toml")).unwrap()
    };
    let first = run("first", &["task.convention=ultrasam".to_owned()]);
    assert!(first.contains("convention = \"ultrasam\""), "{first}");
    let checkpoint = folder.path().join("first/checkpoints/best.safetensors");
    let second = run("second", &[format!("weights.path=\"{}\"", checkpoint.display())]);
    assert!(second.contains("convention = \"ultrasam\""), "{second}");
    // Scored as trained, without training.
    let config = folder.path().join("config.toml");
    let overrides = [format!("weights.path=\"{}\"", checkpoint.display()), "run_dir=\"x\"".into()];
    let loaded = sonotune_run::config::load(&config, &overrides).unwrap();
    let options = sonotune_run::EvalOptions {
        split: Split::Val,
        source: sonotune_run::ModelSource::Pretrained,
        ranks: Default::default(),
    };
    let record = sonotune_run::evaluate(&loaded, &options).unwrap().unwrap().record;
    assert!(record.dataset_sha256.is_some() && record.num_objects > 0);
    let convention = record.report.conditions.iter().find(|(name, _)| name == "convention");
    assert_eq!(convention.unwrap().1, "ultrasam");
    let value = record.report.get("box/mIoU").unwrap().value;
    assert!((0.0..=1.0).contains(&value));
    assert_eq!(Tensor::from(value).kind(), Kind::Double);
}

const CONFIG: &str = r#"
[dataset]
type = "coco"
root = "DATA"
train = "annotations/train.json"
val = "annotations/val.json"
agnostic = true

[preprocess]
image_size = 64

[loader]
batch_size = 4

[backbone]
type = "sam_vit"
embed_dim = 32
depth = 2
num_heads = 2
global_attn_indexes = [1]
window_size = 2
image_size = 64
patch_size = 16
out_channels = 32

[task]
type = "sam_prompt"
decoder = { num_heads = 2, mlp_dim = 32 }

[train]
max_steps = 2

[evaluation]
best_metric = "box/segm_mAP"
"#;
