//! Shipped configs, and the page of config keys.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use classification as _;
use mask2former as _;
use sam_prompt as _;
use sonotune_run::config;
use sonotune_testing::root;

/// Every TOML file below `configs`, relative to the repository.
fn config_files() -> Vec<PathBuf> {
    let mut folders = vec![root().join("configs")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(path.extension().unwrap(), "toml", "{}", path.display());
                files.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// Those that describe a run; `configs/base` holds what they extend, `configs/us43d/datasets` how
/// raw datasets are read, `configs/studies` grids of runs.
fn run_configs() -> Vec<PathBuf> {
    let others =
        ["configs/base", "configs/us43d/datasets", "configs/studies", "configs/demo/study.toml"];
    let is_run = |path: &PathBuf| !others.iter().any(|other| path.starts_with(other));
    config_files().into_iter().filter(is_run).collect()
}

fn load(path: &Path) -> config::Loaded {
    config::load(&root().join(path), &[]).unwrap_or_else(|e| panic!("{e:#}"))
}

#[test]
fn every_shipped_config_is_valid_and_resolves_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let configs = run_configs();
    assert!(configs.len() >= 15, "{configs:?}");
    for path in configs {
        let loaded = load(&path);
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let copy = folder.path().join("config.toml");
        fs::write(&copy, &loaded.resolved).unwrap();
        let again = config::load(&copy, &[]).unwrap();
        assert_eq!(again.resolved, loaded.resolved, "{}", path.display());
    }
}

/// The expensive part of validation: backbone and task accept their options, optimiser groups match.
/// Models that differ in data or weights only are built once.
#[test]
fn every_shipped_config_builds_its_model() {
    let mut built = std::collections::HashSet::new();
    for path in run_configs() {
        let loaded = load(&path);
        let config = &loaded.config;
        let dataset = serde_json::to_value(&config.dataset).unwrap();
        let count = dataset["categories"].as_array().map_or(3, Vec::len);
        let model = format!("{:?} {:?} {count}", config.backbone, config.task);
        if !built.insert(model) {
            continue;
        }
        let categories = (0..count as i64)
            .map(|id| sonotune_base::Category { id, name: format!("class {id}") })
            .collect();
        let model = sonotune_run::Model::build(config, tch::Device::Cpu, categories)
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        sonotune_engine::optim::groups::group(&model.vs, &config.optimizer.groups).unwrap();
        assert!(model.num_parameters().0 > 0, "{}", path.display());
    }
    assert!(built.len() >= 3, "{built:?}");
}

#[test]
fn every_shipped_config_opens_with_its_command_and_has_a_run_folder_of_its_own() {
    let mut run_dirs = HashMap::new();
    for path in run_configs() {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        // Published weights are scored as they are, without training.
        let commands = ["train", "eval --config"]
            .map(|verb| format!("#   sonotune {verb} {}", path.display()));
        let head = &text[..text.find("\n\n").unwrap()];
        let lacking = || format!("{} lacks {commands:?}", path.display());
        assert!(commands.iter().any(|command| head.contains(command)), "{}", lacking());
        let run_dir = load(&path).config.run_dir;
        if let Some(other) = run_dirs.insert(run_dir, path.clone()) {
            panic!("{} and {} share a run_dir", path.display(), other.display());
        }
    }
}

#[test]
fn every_base_config_is_used() {
    let all: Vec<(PathBuf, String)> = config_files()
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    for (path, _) in all.iter().filter(|(path, _)| path.starts_with("configs/base")) {
        let name = format!("{}\"", path.file_name().unwrap().to_str().unwrap());
        assert!(
            all.iter().any(|(_, text)| text.contains(&name)),
            "nothing extends {}",
            path.display()
        );
    }
}

#[test]
fn the_paper_s_settings_are_the_paper_s() {
    let path = Path::new("configs/mmotu-2d/classification-ultrasam.toml");
    let config = load(path).config;
    assert_eq!((config.optimizer.lr, config.optimizer.weight_decay), (1e-4, 1e-4));
    assert_eq!((config.train.max_steps, config.train.clip_grad_norm), (2000, Some(0.1)));
    assert_eq!((config.loader.batch_size, config.train.accumulate_batches), (8, 1));
    assert_eq!(config.augment.flip_probability, 0.5);
    assert_eq!(config.preprocess.image_size, 1024);
    for (step, expected) in [(0, 1e-3), (500, 1.0), (1599, 1.0), (1600, 0.1)] {
        let factor = config.schedule.factor(step, config.train.max_steps);
        assert!((factor - expected).abs() < 1e-12, "step {step}: {factor}");
    }
}

/// The paper trained on US-43d with eight images on each of four GPUs.
#[test]
fn a_step_on_us43d_sees_the_paper_s_images_however_they_are_divided() {
    let configs = run_configs().into_iter().filter(|path| path.starts_with("configs/us43d"));
    let configs: Vec<_> = configs.collect();
    assert!(configs.len() >= 7, "{configs:?}");
    for path in configs {
        let config = load(&path).config;
        let images = config.loader.batch_size as u64 * config.train.accumulate_batches;
        assert_eq!((images, config.train.max_steps), (32, 30_000), "{}", path.display());
        let at_once = config.evaluation.batch_size.unwrap_or(config.loader.batch_size);
        assert!(at_once <= 8, "{}: {at_once} images are evaluated at once", path.display());
    }
    // As the header says for one GPU.
    let path = root().join("configs/us43d/ultrasam.toml");
    let text = fs::read_to_string(&path).unwrap();
    let command = "#   sonotune train configs/us43d/ultrasam.toml loader.batch_size=8 ";
    let (_, overrides) = text.split_once(command).unwrap();
    let accumulate = overrides.lines().next().unwrap().to_owned();
    let loaded = config::load(&path, &["loader.batch_size=8".into(), accumulate]).unwrap();
    let config = loaded.config;
    assert_eq!((config.loader.batch_size, config.train.accumulate_batches), (8, 4));
}

#[test]
fn whatever_is_linked_in_has_a_summary() {
    let all = config::registered().unwrap();
    for name in ["sam_vit", "resnet", "classification", "coco", "image_folder", "list_file"] {
        assert!(all.iter().any(|r| r.name == name), "{name} is not linked in");
    }
    for one in all {
        assert!(!one.summary.is_empty(), "{} has no summary", one.name);
        assert!(!one.summary.ends_with('.'), "{}", one.summary);
    }
}
