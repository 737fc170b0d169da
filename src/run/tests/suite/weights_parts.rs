//! `[weights]` and `[[weights.parts]]` in a config.

use std::{fs, path::Path};

use sam_prompt as _;
use sonotune_run::{config, decided_by_weights};
use sonotune_testing::assert_contains;
use sonotune_weights::save_torch;
use tch::Tensor;

const CONFIG: &str = r#"
run_dir = "run"
[dataset]
type = "coco"
root = "data"
train = "train.json"
[backbone]
type = "sam_vit"
[task]
type = "sam_prompt"
[train]
max_steps = 1
"#;

/// A config with these lines in its `[weights]`.
fn load(folder: &Path, weights: &str) -> anyhow::Result<config::Loaded> {
    let path = folder.join("config.toml");
    fs::write(&path, format!("{CONFIG}[weights]\n{weights}")).unwrap();
    config::load(&path, &[])
}

#[test]
fn a_part_without_sense_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (part, words) in [
        ("path = \"b\"", vec!["`variables`"]),
        ("path = \"b\"\nvariables = []", vec!["weights.parts.0.variables", "got none"]),
        ("path = \"\"\nvariables = [\"head.*\"]", vec!["weights.parts.0.path", "config.toml:"]),
        ("path = \"b\"\nvariables = [\"*\"]", vec!["weights.parts.0.variables", "`weights.path`"]),
        ("path = \"b\"\nvariables = [\"a\"]\noverlay = \"c\"", vec!["overlay", "config.toml:"]),
        ("path = \"b\"\nvariables = [\"a\"]\nignore = [\"\"]", vec!["weights.parts.0.ignore"]),
        (
            "path = \"b\"\nvariables = [\"a\"]\nstate_dict = \"\"",
            vec!["weights.parts.0.state_dict"],
        ),
    ] {
        let text = format!("path = \"a\"\n[[weights.parts]]\n{part}\n");
        let error = format!("{:#}", load(folder.path(), &text).err().unwrap());
        assert_contains(&error, &words);
    }
    let text = "path = \"a\"\n[[weights.parts]]\npath = \"b\"\nvariables = [\"head.*\"]\n";
    let loaded = load(folder.path(), text).unwrap();
    let copy = folder.path().join("copy.toml");
    fs::write(&copy, &loaded.resolved).unwrap();
    assert_eq!(config::load(&copy, &[]).unwrap().config.weights, loaded.config.weights);
}

#[test]
fn a_file_for_another_backbone_names_its_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.pth");
    let norm = |width: i64, block: i64| {
        let name = format!("image_encoder.blocks.{block}.norm1.weight");
        (name, Tensor::ones([width], (tch::Kind::Float, tch::Device::Cpu)))
    };
    let text = format!("path = {:?}\n", file.display().to_string());
    let loaded = load(folder.path(), &text).unwrap();
    let sizes = [
        "backbone={ type = \"sam_vit\", embed_dim = 32, depth = 2, num_heads = 2, image_size = 64, \
         global_attn_indexes = [1] }",
        "task={ type = \"sam_prompt\", decoder = { num_heads = 2, mlp_dim = 32 } }",
    ];
    let loaded = loaded.with_overrides(&sizes.map(str::to_owned)).unwrap();
    let category = sonotune_base::Category { id: 1, name: "object".to_owned() };
    let config = &loaded.config;
    let model = sonotune_run::Model::build(config, tch::Device::Cpu, vec![category]).unwrap();
    for (width, depth, expected) in [
        (64, 3, Some("for [backbone] embed_dim = 64, depth = 3")),
        (1024, 24, Some("for [backbone] arch = \"large\" without sizes of its own")),
        (32, 2, None),
    ] {
        save_torch(&file, &(0..depth).map(|block| norm(width, block)).collect::<Vec<_>>()).unwrap();
        let source = loaded.config.weights.as_ref().unwrap();
        let error = model.load_pretrained(source).unwrap_err();
        assert_eq!(sonotune_base::error::exit_code(&error), 4);
        let text = error.to_string();
        assert_eq!(text.contains("by its shapes"), expected.is_some(), "{text}");
        assert!(text.contains(expected.unwrap_or("missing in the file")), "{text}");
    }
}

/// SAM's decoder on UltraSam's ViT: the convention cannot be guessed.
#[test]
fn files_that_decide_differently_leave_it_to_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, keys: &[&str]| {
        let values = keys.iter().map(|key| ((*key).to_owned(), Tensor::from(1.0f32).view([1])));
        let path = folder.path().join(name);
        save_torch(&path, &values.collect::<Vec<_>>()).unwrap();
        path.display().to_string()
    };
    let ours = save("ultra.pth", &["backbone.layers.0.ln1.weight", "prompt_encoder.x.weight"]);
    let sam = save("sam.pth", &["image_encoder.blocks.0.norm1.weight"]);
    let decided = |main: &str, part: &str, variables: &str, more: &str| {
        let text = format!(
            "path = \"{main}\"\n[[weights.parts]]\npath = \"{part}\"\nvariables = [\"{variables}\"]\n\
             {more}"
        );
        decided_by_weights(&load(folder.path(), &text).unwrap())
            .map(|decided| decided.map(|decided| decided.options))
    };
    let error = decided(&ours, &sam, "mask_decoder.*", "").unwrap_err();
    assert_eq!(sonotune_base::error::exit_code(&error), 2);
    let text = error.to_string();
    assert_contains(&text, &["ultra.pth decides task.convention=\"ultrasam\"", "sam.pth decides"]);
    // A backbone does not decide it, and files that agree need no setting.
    let by_decoder = decided(&ours, &sam, "backbone.*", "").unwrap().unwrap();
    assert_eq!(by_decoder, ["task.convention=\"ultrasam\""]);
    let alike = decided(&sam, &sam, "mask_decoder.*", "").unwrap().unwrap();
    assert_eq!(alike, ["task.convention=\"segment_anything\""]);
    let absent = format!("{sam}.absent");
    let error = decided(&ours, &absent, "mask_decoder.*", "").unwrap_err();
    assert!(format!("{error:#}").contains("sam.pth.absent"), "{error:#}");
}
