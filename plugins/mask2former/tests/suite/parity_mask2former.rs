//! Mask2Former against the reference implementation, with the random points that it drew.

use std::collections::HashMap;

use mask2former::{
    TrainingConfig,
    head::{HeadSizes, LayerOutput, Mask2FormerHead},
    learn,
    matcher::{Objects, Pairs},
    pixel_decoder::PixelDecoderSizes,
    points::Purpose,
    prediction::{Frame, instances},
    transformer_decoder::TransformerDecoderSizes,
};
use serde_json::{Value, json};
use sonotune_engine::backbone::Backbone;
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use sonotune_testing::shared;
use sonotune_testing_models::reference::{
    Reference, assert_close, load, mm_vit_name, relative_difference,
};

/// The reference computed in fp32, ours runs in fp64: the difference is the reference's rounding, which
/// grows through the layers.
const FORWARD: f64 = 2e-4;
const LOSS: f64 = 2e-4;
/// Random weights: gradients of opposite sign nearly cancel in some variables.
const GRADIENT: f64 = 2e-3;

const FOLDERS: [&str; 2] = ["mask2former_vit", "mask2former_r50"];

struct Model {
    vs: VarStore,
    backbone: Box<dyn Backbone>,
    head: Mask2FormerHead,
    reference: Reference,
}

/// The reference's name of a variable.
fn upstream_name(name: &str, is_vit: bool) -> String {
    match name.strip_prefix("backbone.") {
        Some(rest) if is_vit => mm_vit_name(rest),
        _ => name.to_owned(),
    }
}

fn model(folder: &str) -> Option<Model> {
    let path = shared(&format!("reference/{folder}"))?;
    let reference = Reference::read(&path);
    let is_vit = reference.json["config"]["backbone"]["type"] == "sam_vit";
    let extra = if is_vit { json!({}) } else { json!({ "norm_requires_grad": false }) };
    let mut vs = VarStore::new(Device::Cpu);
    let backbone = reference.config(extra).build(&(vs.root() / "backbone")).unwrap();
    let sizes = head_sizes(&reference.json["config"]["head"], &*backbone);
    let head = Mask2FormerHead::new(&(vs.root() / "panoptic_head"), &sizes);
    load(&vs, &reference.weights, |name| upstream_name(name, is_vit));
    vs.double();
    Some(Model { vs, backbone, head, reference })
}

fn head_sizes(head: &Value, backbone: &dyn Backbone) -> HeadSizes {
    let number = |key: &str| head[key].as_i64().unwrap();
    HeadSizes {
        pixel_decoder: PixelDecoderSizes {
            in_channels: backbone.spec().levels.iter().map(|level| level.channels).collect(),
            feat_channels: number("feat_channels"),
            num_heads: number("num_heads"),
            num_layers: number("pixel_decoder_layers") as usize,
            feedforward_channels: number("pixel_decoder_ffn"),
            num_levels: number("levels") as usize,
            num_points: number("sampling_points"),
        },
        transformer_decoder: TransformerDecoderSizes {
            feat_channels: number("feat_channels"),
            num_heads: number("num_heads"),
            num_layers: number("decoder_layers") as usize,
            feedforward_channels: number("decoder_ffn"),
        },
        num_queries: number("num_queries"),
        num_classes: number("num_classes"),
    }
}

fn double(tensor: &Tensor) -> Tensor {
    tensor.to_kind(Kind::Double)
}

#[test]
fn parity_mask2former_forward() {
    for folder in FOLDERS {
        let Some(Model { backbone, head, reference, .. }) = model(folder) else { return };
        let io = &reference.io;
        no_grad(|| {
            let features = backbone.forward(&double(&io["train.input"]), true).unwrap();
            for (i, level) in features.iter().enumerate() {
                assert_close(
                    &format!("feature {i}"),
                    level,
                    &io[&format!("train.feat.{i}")],
                    FORWARD,
                );
            }
            let pixels = head.pixel_decoder.forward(&features).unwrap();
            assert_close("mask_feature", &pixels.mask_features, &io["train.mask_feature"], FORWARD);
            for (i, level) in pixels.levels.iter().enumerate() {
                let key = format!("train.multi_scale.{i}");
                assert_close(&key, level, &io[&key], FORWARD);
            }
            let mut layers = 0;
            head.decode(&pixels, &mut |i, output| {
                let (classes, masks) = (format!("train.cls.{i}"), format!("train.mask.{i}"));
                assert_close(&classes, &output.classes, &io[&classes], FORWARD);
                let got = output.masks(&pixels.mask_features);
                assert_close(&masks, &got, &io[&masks], FORWARD);
                layers += 1;
                Ok(())
            })
            .unwrap();
            let expected = io.keys().filter(|key| key.starts_with("train.cls.")).count();
            assert_eq!(layers, expected);
        });
    }
}

/// The objects of the reference's training batch.
fn objects(reference: &Reference) -> Vec<Objects> {
    let input = reference.io["train.input"].size();
    let object = |i: i64| {
        let labels = &reference.io[&format!("train.{i}.labels")];
        let masks = reference.io[&format!("train.{i}.gt_masks")].to_kind(Kind::Bool);
        Objects::new(format!("image {i}"), labels, masks, (input[2], input[3])).unwrap()
    };
    (0..input[0]).map(object).collect()
}

/// The reference's random draws in its order: in each layer one for matching each image with objects,
/// the candidates, and the points drawn anywhere.
fn recorded(reference: &Reference, objects: &[Objects], layers: usize) -> HashMap<Purpose, Tensor> {
    let mut draws = HashMap::new();
    for layer in 0..layers {
        let with_objects = objects.iter().enumerate().filter(|(_, o)| !o.is_empty());
        let mut purposes: Vec<_> =
            with_objects.map(|(image, _)| Purpose::Matching { layer, image }).collect();
        purposes.extend([Purpose::Candidates { layer }, Purpose::Anywhere { layer }]);
        for purpose in purposes {
            let key = format!("rand.{:03}", draws.len());
            draws.insert(purpose, double(&reference.io[&key]));
        }
    }
    assert!(!reference.io.contains_key(&format!("rand.{:03}", draws.len())), "draws are left over");
    draws
}

#[test]
fn parity_mask2former_assignments_losses_and_gradients() {
    for folder in FOLDERS {
        let Some(Model { vs, backbone, head, reference }) = model(folder) else { return };
        let json = &reference.json;
        let objects = objects(&reference);
        let layers = reference.io.keys().filter(|key| key.starts_with("train.cls.")).count();
        let draws = recorded(&reference, &objects, layers);
        let config = TrainingConfig {
            num_points: json["config"]["head"]["num_points"].as_i64().unwrap(),
            ..TrainingConfig::default()
        };
        let features = backbone.forward(&double(&reference.io["train.input"]), true).unwrap();
        let pixels = head.pixel_decoder.forward(&features).unwrap();
        let mut draw = |purpose, shape: &[i64]| {
            let points: &Tensor = &draws[&purpose];
            assert_eq!(points.size(), shape, "{purpose:?}");
            points.shallow_clone()
        };
        let learnt = learn(&head, &pixels, &config, &objects, &mut draw).unwrap();
        assert_pairs(&learnt.pairs, json);
        let expected = json["loss"].as_object().unwrap();
        assert_eq!(learnt.output.losses.len(), 3 * layers);
        let mut total = Tensor::from(0f64);
        for loss in &learnt.output.losses {
            let value = &loss.value * loss.weight;
            let (got, wanted) = (value.double_value(&[]), expected[&loss.name].as_f64().unwrap());
            assert!(
                (got - wanted).abs() < LOSS * wanted,
                "{folder} {}: {got}, {wanted}",
                loss.name
            );
            total += value;
        }
        total.backward();
        assert_gradients(&vs, &reference);
    }
}

#[track_caller]
fn assert_pairs(pairs: &[Vec<Pairs>], json: &Value) {
    let expected = json["assignment (+1, 0 = none), layer-major, image-minor"].as_array().unwrap();
    let got: Vec<&Pairs> = pairs.iter().flatten().collect();
    assert_eq!(got.len(), expected.len());
    for (row, (pairs, expected)) in got.iter().zip(expected).enumerate() {
        let expected = expected.as_array().unwrap();
        let of_query = |query: usize| {
            let pair = pairs.iter().find(|(q, _)| *q == query as i64);
            pair.map_or(0, |(_, object)| object + 1)
        };
        let got: Vec<i64> = (0..expected.len()).map(of_query).collect();
        let expected: Vec<i64> = expected.iter().map(|v| v.as_i64().unwrap()).collect();
        assert_eq!(got, expected, "assignment {row}");
    }
}

#[track_caller]
fn assert_gradients(vs: &VarStore, reference: &Reference) {
    let is_vit = reference.json["config"]["backbone"]["type"] == "sam_vit";
    let norms = reference.gradient_norms("grad_norms");
    let largest = norms.values().flatten().copied().fold(0.0, f64::max);
    let mut checked = 0;
    for (name, variable) in vs.variables() {
        let key = upstream_name(&name, is_vit);
        let Some(expected) = norms.get(&key) else {
            assert!(!variable.requires_grad(), "{name} learns, but not in the reference");
            continue;
        };
        let expected = expected.unwrap_or(0.0);
        let gradient = variable.grad();
        let got = if gradient.defined() { gradient.norm().double_value(&[]) } else { 0.0 };
        let allowed = GRADIENT * expected.max(1e-4 * largest);
        assert!((got - expected).abs() < allowed, "{name}: norm {got}, expected {expected}");
        if let Some(stored) = reference.io.get(&format!("grad.{key}")) {
            let off = relative_difference(&gradient, stored);
            assert!(
                off < 5.0 * GRADIENT || stored.abs().max().double_value(&[]) == 0.0,
                "{name}: {off}"
            );
        }
        checked += 1;
    }
    assert_eq!(checked, norms.len(), "not every gradient was compared");
}

#[test]
fn parity_mask2former_predictions() {
    for folder in FOLDERS {
        let Some(Model { backbone, head, reference, .. }) = model(folder) else { return };
        let io = &reference.io;
        let mut image = 0;
        while let Some(input) = io.get(&format!("pred.{image}.input")) {
            let of = |name: &str| &io[&format!("pred.{image}.{name}")];
            let meta = &reference.json[format!("pred.{image}")];
            let size = |key: &str| (meta[key][0].as_i64().unwrap(), meta[key][1].as_i64().unwrap());
            let padded = (input.size()[2], input.size()[3]);
            let frame = Frame { padded, input: size("img_shape"), original: size("ori_shape") };
            let (output, mask_features): (LayerOutput, Tensor) = no_grad(|| {
                let features = backbone.forward(&double(input), false).unwrap();
                let pixels = head.pixel_decoder.forward(&features).unwrap();
                let mut last = None;
                head.decode(&pixels, &mut |_, output| {
                    last = Some(output);
                    Ok(())
                })
                .unwrap();
                (last.unwrap(), pixels.mask_features)
            });
            assert_close("cls", &output.classes, of("cls"), FORWARD);
            let (h, w) = padded;
            let masks = output.masks(&mask_features).upsample_bilinear2d([h, w], false, None, None);
            assert_close("mask", &masks, of("mask"), FORWARD);
            let scores = Vec::<f64>::try_from(double(of("scores"))).unwrap();
            let found = instances(
                &output.classes.get(0),
                &output.embeddings.get(0),
                &mask_features.get(0),
                frame,
                scores.len() as i64,
            )
            .unwrap();
            assert_eq!(found.len(), scores.len());
            assert_instances(&found, &scores, of("labels"), of("bboxes"), of("masks"));
            image += 1;
        }
        assert!(image > 0, "{folder}: no predictions stored");
    }
}

/// Both sides by descending score; the reference's instances are unsorted.
#[track_caller]
fn assert_instances(
    found: &[sonotune_engine::task::Instance],
    scores: &[f64],
    labels: &Tensor,
    boxes: &Tensor,
    masks: &Tensor,
) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    for (instance, &theirs) in found.iter().zip(&order) {
        let index = theirs as i64;
        let score = scores[theirs];
        assert!((instance.score - score).abs() < 1e-4 * score, "{} {score}", instance.score);
        assert_eq!(instance.category as i64, labels.int64_value(&[index]));
        let expected = Vec::<u8>::try_from(masks.get(index).flatten(0, -1)).unwrap();
        let got = instance.mask.as_ref().unwrap().to_mask();
        let wrong = got.iter().zip(&expected).filter(|(a, b)| (**a != 0) != (**b != 0)).count();
        // A logit within rounding of zero may end up on either side.
        assert!(wrong * 10_000 <= expected.len(), "{wrong} of {} pixels differ", expected.len());
        let expected = Vec::<f64>::try_from(double(&boxes.get(index))).unwrap();
        let off =
            instance.bbox.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off == 0.0 || wrong > 0, "box {:?}, expected {expected:?}", instance.bbox);
    }
}
