//! SAM 2's image encoder against facebookresearch/sam2.

use serde_json::json;
use tch::{Device, Kind, nn::VarStore, no_grad};

use sonotune_engine::backbone::Backbone;
use sonotune_testing::fixture;
use sonotune_testing_models::reference::{Reference, assert_close, build};

/// fp32 through a few blocks: orders of summation differ, which leaves about 1e-6.
const FEATURES: f64 = 2e-5;
/// Gradients sum over all tokens and images.
const GRADIENTS: f64 = 1e-4;

fn original(name: &str) -> String {
    format!("image_encoder.{name}")
}

#[test]
fn parity_of_stages_levels_and_gradients() {
    let reference = Reference::read(&fixture("hiera"));
    let images = &reference.io["images"];
    for (extra, what) in [(json!({ "out_channels": 0 }), "stage"), (json!({ "scalp": 0 }), "level")]
    {
        let (_vs, encoder) = build(&*reference.config(extra), &reference.weights, original);
        let levels = no_grad(|| encoder.forward(images, false)).unwrap();
        assert_eq!(levels.len(), 4);
        for (index, level) in levels.iter().enumerate() {
            let name = format!("{what}.{index}");
            assert_close(&name, level, &reference.io[&name], FEATURES);
        }
    }

    for checkpointing in [false, true] {
        let config = reference.config(json!({ "activation_checkpointing": checkpointing }));
        let (vs, encoder) = build(&*config, &reference.weights, original);
        let images = images.copy().set_requires_grad(true);
        let levels = encoder.forward(&images, true).unwrap();
        assert_eq!(levels.len(), 3, "the coarsest is left out");
        let terms = levels.iter().map(|level| level.square().mean(Kind::Float));
        terms.reduce(|a, b| a + b).unwrap().backward();
        assert_close("images", &images.grad(), &reference.io["grad.images"], GRADIENTS);
        let variables = vs.variables();
        for (name, variable) in &variables {
            let expected = &reference.io[&format!("grad.image_encoder.{name}")];
            // A key's bias cancels in the softmax: its gradient is zero up to rounding.
            let got = variable.grad();
            if name.ends_with("attn.qkv.bias") {
                let third = expected.size()[0] / 3;
                for (part, first) in [("q", 0), ("v", 2 * third)] {
                    let of = |t: &tch::Tensor| t.narrow(0, first, third);
                    assert_close(&format!("{name}.{part}"), &of(&got), &of(expected), GRADIENTS);
                }
            } else {
                assert_close(name, &got, expected, GRADIENTS);
            }
        }
        assert!(variables.len() > 100);
    }
}

#[test]
fn parity_of_an_input_that_is_not_square() {
    let reference = Reference::read(&fixture("hiera"));
    let config = reference.config(json!({ "scalp": 0 }));
    let (_vs, encoder) = build(&*config, &reference.weights, original);
    let images = &reference.io["other_size.images"];
    let levels = no_grad(|| encoder.forward(images, false)).unwrap();
    for (index, level) in levels.iter().enumerate() {
        let name = format!("other_size.level.{index}");
        assert_close(&name, level, &reference.io[&name], FEATURES);
    }
}

/// A file of the whole of SAM 2.1 under Meta's names fills the encoder, and leaves the rest unused.
#[test]
fn a_file_of_all_parts_is_loaded_strictly() {
    let reference = Reference::read(&fixture("sam2"));
    let vs = VarStore::new(Device::Cpu);
    let config = reference.config(json!({}));
    let encoder = config.build(&(vs.root() / "backbone")).unwrap();
    let path = fixture("sam2/weights.safetensors");
    let source = serde_json::from_value(json!({ "path": path })).unwrap();
    let report = sonotune_weights::load(&vs, &source).unwrap();
    assert_eq!(report.recognised.convention.name, "sam2");
    assert_eq!(report.loaded.len(), vs.variables().len());
    let (built, expected) = build(&*config, &reference.weights, original);
    let images = &reference.io["images"];
    let levels = |encoder: &dyn Backbone| no_grad(|| encoder.forward(images, false)).unwrap();
    for (got, expected) in levels(&*encoder).iter().zip(levels(&*expected)) {
        assert!(got.equal(&expected));
    }
    drop(built);

    let larger = reference.config(json!({ "stages": [1, 2, 4, 2] }));
    let shapes = sonotune_weights::shapes(&source).unwrap();
    assert_eq!(config.other_sizes(&shapes), None);
    let hint = larger.other_sizes(&shapes).unwrap();
    assert_eq!(hint, "embed_dim = 4, stages = [1, 2, 3, 2]");
}
