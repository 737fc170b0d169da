//! Weights for one model from more than one file.

use std::{collections::BTreeMap, fs, path::PathBuf};

use sonotune_weights as weights;
use sonotune_weights::{WeightsConfig, WeightsPartConfig, save_torch};
use tch::{Device, Kind, Tensor, nn::VarStore};
use tempfile::TempDir;

use sonotune_testing::fixture;

use crate::weights::{config as whole, tiny_vit};

/// The head of the tiny ViT, in the file of a ResNet's classifier.
fn head(size: i64) -> Vec<(String, Tensor)> {
    let values = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
    [
        ("backbone.conv1.weight", values(&[4, 3, 7, 7])),
        ("backbone.layer1.0.conv1.weight", values(&[4, 4, 1, 1])),
        ("backbone.bn1.num_batches_tracked", Tensor::from(3i64)),
        ("head.fc.weight", values(&[size, 8])),
        ("head.fc.bias", values(&[size])),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

fn part(path: PathBuf, variables: &[&str]) -> WeightsPartConfig {
    WeightsPartConfig {
        path,
        variables: variables.iter().map(ToString::to_string).collect(),
        state_dict: None,
        convention: None,
        ignore: Vec::new(),
        allow_missing: Vec::new(),
        allow_unexpected: Vec::new(),
        allow_misshapen: Vec::new(),
    }
}

/// A folder, and the config of a ViT from one file and its head from `head.pth` there.
struct Place {
    folder: TempDir,
    config: WeightsConfig,
}

impl Place {
    fn new(tensors: &[(String, Tensor)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("head.pth");
        save_torch(&file, tensors).unwrap();
        let mut config = whole(&fixture("weights/mmengine.pth"));
        config.parts = vec![part(file, &["head.*"])];
        Self { folder, config }
    }

    fn part(&mut self) -> &mut WeightsPartConfig {
        &mut self.config.parts[0]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asserts that it is refused with these words, and that nothing was loaded.
    #[track_caller]
    fn refused(&self, code: u8, parts: &[&str]) {
        let vs = tiny_vit();
        let error = weights::load(&vs, &self.config).unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(sonotune_base::error::exit_code(&error), code, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(sum(&vs) == 0.0, "{text}");
    }
}

fn sum(vs: &VarStore) -> f64 {
    vs.variables().values().map(|v| v.abs().sum(Kind::Double).double_value(&[])).sum()
}

#[test]
fn a_part_gives_what_it_claims_and_the_main_file_the_rest() {
    let tensors = head(3);
    let place = Place::new(&tensors);
    let vs = tiny_vit();
    let report = weights::load(&vs, &place.config).unwrap();
    let variables = vs.variables();
    let stored: BTreeMap<_, _> = tensors.into_iter().collect();
    for name in ["head.fc.weight", "head.fc.bias"] {
        assert!(variables[name].equal(&stored[name]), "{name}");
    }
    // Everything else is as without the part.
    let alone = tiny_vit();
    weights::load(&alone, &whole(&fixture("weights/mmengine.pth"))).unwrap();
    for (name, value) in alone.variables() {
        assert_eq!(value.equal(&variables[&name]), !name.starts_with("head."), "{name}");
    }

    let keys = |list: &[weights::Unplaced]| -> Vec<String> {
        list.iter().map(|unplaced| unplaced.key.clone()).collect()
    };
    assert_eq!(keys(&report.left), ["head.fc.weight", "head.fc.bias"]);
    assert_eq!(report.loaded.len(), variables.len() - 2);
    let [part] = report.parts.as_slice() else { panic!("{report:?}") };
    assert_eq!(part.loaded.len(), 2);
    assert_eq!(part.recognised.convention.name, "mmdet_resnet");
    assert_eq!(keys(&part.left), ["backbone.conv1.weight", "backbone.layer1.0.conv1.weight"]);
    assert_eq!(keys(&part.dropped), ["backbone.bn1.num_batches_tracked"]);
    assert!(report.warnings.is_empty() && part.warnings.is_empty(), "{report:?}");

    let summary = report.summary();
    for words in [
        "mmengine.pth",
        "left        head.* (2)",
        "head.pth",
        "gives       head.*",
        "loaded      2 variables",
        "left        backbone.* (2)",
    ] {
        assert!(summary.contains(words), "{words} not in {summary}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["parts"][0]["variables"][0], "head.*");
    assert_eq!(json["parts"][0]["convention"], "mmdet_resnet");
    assert_eq!(json["parts"][0]["loaded"].as_array().unwrap().len(), 2);
}

#[test]
fn claims_are_of_the_model_s_variables_and_of_one_part_each() {
    let mut place = Place::new(&head(3));
    place.part().variables.push("haed.*".to_owned());
    place.refused(
        2,
        &["weights.parts.0.variables: \"haed.*\" matches no variable", "head.* (2)", "backbone.*"],
    );
    place.part().variables.pop();
    let again = part(place.path("again.pth"), &["backbone.pos_embed", "*.bias"]);
    place.config.parts.push(again);
    place.refused(
        2,
        &[
            "`head.fc.bias` is claimed by weights.parts.0",
            "head.pth, \"head.*\"",
            "weights.parts.1",
            "again.pth, \"*.bias\"",
        ],
    );
}

#[test]
fn a_part_is_held_to_its_claim_as_strictly_as_a_whole_file() {
    let lacking: Vec<_> = head(3).into_iter().filter(|(name, _)| name != "head.fc.bias").collect();
    let mut place = Place::new(&lacking);
    let allow = "allow it: [[weights.parts]] allow_missing = [\"head.fc.bias\"]";
    place
        .refused(4, &["head.pth does not fit", "missing in the file (1): head.fc.bias [3]", allow]);
    // What the main file may lack, a part may not.
    place.config.allow_missing = vec!["head.*".to_owned()];
    place.refused(4, &["head.pth does not fit", "missing in the file (1): head.fc.bias [3]"]);
    place.part().allow_missing = vec!["head.fc.bias".to_owned()];
    let report = weights::load(&tiny_vit(), &place.config).unwrap();
    assert_eq!(report.parts[0].allowed_missing.len(), 1);
    assert_eq!(report.warnings, ["allow_missing = [\"head.*\"] matches nothing"]);

    let mut place = Place::new(&head(5));
    let allow = "allow it: [[weights.parts]] allow_misshapen = [\"head.fc.*\"]";
    place.refused(4, &["head.fc.weight: expected [3, 8], got [5, 8]", allow]);
    place.part().allow_misshapen = vec!["head.*".to_owned()];
    let vs = tiny_vit();
    let report = weights::load(&vs, &place.config).unwrap();
    assert_eq!(report.parts[0].allowed_misshapen.len(), 2);
    assert_eq!(report.parts[0].warnings, ["nothing was loaded from this file"]);
    // The main file has tensors that would fit, but they are not used silently.
    assert_eq!(vs.variables()["head.fc.weight"].abs().sum(Kind::Float).double_value(&[]), 0.0);

    // Faults of both files are reported together.
    place.part().allow_misshapen.clear();
    place.config.ignore = vec!["backbone.pos_embed".to_owned()];
    place.config.parts.push(part(fixture("weights/mmengine.pth"), &["backbone.blocks.1.*"]));
    place.config.parts[1].convention = Some("segment_anything".to_owned());
    place.refused(4, &["head.pth does not fit", "mmengine.pth does not fit", "blocks.1"]);
}

#[test]
fn a_tensor_within_the_claim_without_a_place_is_an_error_and_one_beyond_is_none() {
    let file = tempfile::tempdir().unwrap();
    let mut tensors = head(3);
    for name in ["head.other", "neck.other"] {
        tensors.push((name.to_owned(), Tensor::zeros([2], (Kind::Float, Device::Cpu))));
    }
    let path = file.path().join("head.safetensors");
    weights::save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let mut place = Place::new(&[head(3).remove(0)]);
    // The model's own naming has no known parts except the neck.
    place.part().convention = Some("sonotune".to_owned());
    place.part().path = path;
    place.refused(4, &["unexpected in the file (1): head.other [2]", "[[weights.parts]]"]);
    place.part().allow_unexpected = vec!["head.other".to_owned()];
    let report = weights::load(&tiny_vit(), &place.config).unwrap();
    assert!(report.parts[0].left.iter().any(|unplaced| unplaced.key == "neck.other"));
}

#[test]
fn a_part_that_cannot_be_read_is_named() {
    let mut place = Place::new(&head(3));
    let bytes = fs::read(place.path("head.pth")).unwrap();
    fs::write(place.path("half.pth"), &bytes[..bytes.len() / 2]).unwrap();
    place.part().path = place.path("half.pth");
    place.refused(4, &["weights.parts.0", "half.pth: "]);
    place.part().path = place.path("absent.pth");
    place.refused(4, &["weights.parts.0", "absent.pth: cannot open it"]);
    place.part().path = place.path("head.pth");
    place.part().convention = Some("mmdet_resnt".to_owned());
    place.refused(2, &["weights.parts.0", "did you mean `mmdet_resnet`?"]);
}
