//! Prompt encoder, mask decoder, losses and predictions against segment-anything and UltraSam.

use std::collections::HashMap;

use sam_prompt::{
    Frame, LossConfig, Owners, Passes, Postprocess,
    mask_decoder::{MaskDecoder, MaskTokens, Masks},
    mask_losses,
    model::{Embedding, Sam},
    pass_losses,
    prompt_encoder::{Label, PromptEncoder, Prompts},
    transformer::TransformerSizes,
};
use serde_json::{Value, from_value, json};
use sonotune_base::Size;
use sonotune_dataset::{Dataset, DatasetConfig, Split};
use sonotune_engine::{
    batch::Batch,
    loader::{LoadPlan, prepare_batch},
    task::{Prediction, StepOutput, Task, TaskConfig},
};
use sonotune_weights as weights;
use sonotune_weights::{WeightsConfig, keymap::Convention};
use tch::{Device, Kind, Tensor, nn::VarStore, no_grad};

use sonotune_testing::shared;
use sonotune_testing_models::{
    model::{merged, plan},
    reference::{Reference, Tensors, assert_close, read, read_json, relative_difference},
};

/// Embeddings and one decoder in fp32, relative to the largest value. Ours sums in another order (one
/// product for three, tokens in place of maps): up to 3e-5 with random weights, whose logits cancel.
const DECODER: f64 = 1e-4;
/// Through backbone and two passes.
const WHOLE: f64 = 2e-4;

fn sizes(reference: &Reference, double_residual: bool) -> TransformerSizes {
    let decoder = &reference.json["config"]["decoder"];
    let number = |key: &str| decoder[key].as_i64().unwrap();
    TransformerSizes {
        dim: number("transformer_dim"),
        depth: number("depth") as usize,
        num_heads: number("num_heads"),
        mlp_dim: number("mlp_dim"),
        double_residual,
        dropout: 0.0,
    }
}

/// The reference's model with its weights, loaded by the key map of its convention.
fn sam(folder: &str, double_residual: bool) -> Option<(VarStore, Sam, Reference)> {
    let path = shared(&format!("reference/{folder}"))?;
    let reference = Reference::read(&path);
    let vs = VarStore::new(Device::Cpu);
    let sizes = sizes(&reference, double_residual);
    let sam = Sam {
        backbone: reference.config(json!({})).build(&(vs.root() / "backbone")).unwrap(),
        prompt_encoder: PromptEncoder::new(&(vs.root() / "prompt_encoder"), sizes.dim),
        mask_decoder: MaskDecoder::new(&(vs.root() / "mask_decoder"), sizes),
        image_features: None,
    };
    let report = weights::load(&vs, &weights_config(&path.join("weights.safetensors"))).unwrap();
    assert!(report.unused.is_empty() && report.missing.is_empty());
    Some((vs, sam, reference))
}

fn weights_config(path: &std::path::Path) -> WeightsConfig {
    from_value(json!({ "path": path })).unwrap()
}

fn side(reference: &Reference) -> i64 {
    reference.json["config"]["backbone"]["img_size"].as_i64().unwrap()
}

/// Points and boxes of `[N, P, 2]` coordinates and labels, as segment-anything orders them.
fn sam_prompts(io: &Tensors, points: bool, boxes: bool, mask: bool) -> Prompts {
    let n = io["boxes_xyxy"].size()[0];
    let (mut coords, mut labels) = (Vec::new(), Vec::new());
    let fill = |label: Label, count: i64| {
        Tensor::full([n, count], label as i64, (Kind::Int64, Device::Cpu))
    };
    if points {
        coords.push(&io["point_coords"] + 0.5);
        // segment-anything: 1 positive, 0 negative.
        labels.push(io["point_labels"].to_kind(Kind::Int64) + 1);
        if !boxes {
            coords.push(Tensor::zeros([n, 1, 2], (Kind::Float, Device::Cpu)));
            labels.push(fill(Label::NotAPoint, 1));
        }
    }
    if boxes {
        coords.push(&io["boxes_xyxy"].view([n, 2, 2]) + 0.5);
        labels.extend([fill(Label::BoxCornerA, 1), fill(Label::BoxCornerB, 1)]);
    }
    Prompts {
        coords: Tensor::cat(&coords, 1),
        labels: Tensor::cat(&labels, 1),
        masks: mask.then(|| io["mask_input"].shallow_clone()),
    }
}

#[test]
fn parity_segment_anything_decoder() {
    let Some((_vs, sam, reference)) = sam("segment_anything", false) else { return };
    let (io, side) = (&reference.io, side(&reference));
    let embedding =
        sam.embedding(vec![io["image_embeddings"].narrow(0, 0, 1)], (side, side)).unwrap();
    let grid = io["dense_pe"].flatten(2, 3).squeeze_dim(0).tr();
    assert_close("dense_pe", &embedding.positions, &grid, DECODER);
    let cases =
        [("box", false, true, false), ("points", true, false, false), ("all", true, true, true)];
    for (case, points, boxes, mask) in cases {
        let prompts = sam_prompts(io, points, boxes, mask);
        let sparse = sam.prompt_encoder.sparse(&prompts, (side, side));
        assert_close(&format!("{case}.sparse"), &sparse, &io[&format!("{case}.sparse")], DECODER);
        if mask {
            assert_close("dense", &sam.prompt_encoder.dense(&prompts), &io["all.dense"], DECODER);
        }
        let owners = Owners::new(vec![prompts.labels.size()[0]], &sparse);
        for (key, wanted) in [("multimask0", MaskTokens::Single), ("multimask1", MaskTokens::Multi)]
        {
            let masks = no_grad(|| sam.decode(&embedding, &owners, &prompts, wanted, false));
            let key = format!("{case}.{key}");
            assert_close(&key, &masks.logits, &io[&format!("{key}.low_res_masks")], DECODER);
            assert_close(&key, &masks.iou, &io[&format!("{key}.iou")], DECODER);
        }
    }
}

/// Objects of two images in one pass, with and without their own masks, get the same answers as alone.
#[test]
fn parity_objects_of_several_images_are_decoded_together() {
    let Some((_vs, sam, reference)) = sam("segment_anything", false) else { return };
    let (io, side) = (&reference.io, side(&reference));
    let features = io["image_embeddings"].shallow_clone();
    for mask in [false, true] {
        let prompts = sam_prompts(io, true, true, mask);
        let of = |i: i64| Prompts {
            coords: prompts.coords.narrow(0, i, 1),
            labels: prompts.labels.narrow(0, i, 1),
            masks: prompts.masks.as_ref().map(|m| m.narrow(0, i, 1)),
        };
        // Both objects in the first image, then the first object again in the second.
        let (objects, images) = ([0, 1, 0], [0, 0, 1]);
        let pick = |t: &Tensor| t.index_select(0, &Tensor::from_slice(&objects));
        let together = Prompts {
            coords: pick(&prompts.coords),
            labels: pick(&prompts.labels),
            masks: prompts.masks.as_ref().map(pick),
        };
        let owners = Owners::new(vec![2, 1], &features);
        let both = sam.embedding(vec![features.shallow_clone()], (side, side)).unwrap();
        let decode = |embedding: &Embedding, owners: &Owners, prompts: &Prompts| -> Masks {
            no_grad(|| sam.decode(embedding, owners, prompts, MaskTokens::Multi, false))
        };
        let got = decode(&both, &owners, &together);
        for (i, (&object, &image)) in objects.iter().zip(&images).enumerate() {
            let alone =
                decode(&both.of_image(image), &Owners::new(vec![1], &features), &of(object));
            let what = format!("object {i}");
            assert_close(&what, &got.logits.narrow(0, i as i64, 1), &alone.logits, DECODER);
            assert_close(&what, &got.iou.narrow(0, i as i64, 1), &alone.iou, DECODER);
        }
    }
}

/// The prompts of an image as the reference packed them.
fn packed(io: &Tensors, key: &str) -> Prompts {
    let mut types = Vec::<i64>::try_from(&io[&format!("{key}.prompt_types")]).unwrap();
    // Its refinement turns points into boxes in place; the final state was stored.
    if key.starts_with("point.") {
        types.fill(0);
    }
    let (points, boxes) = (&io[&format!("{key}.points")], &io[&format!("{key}.boxes")]);
    let (mut coords, mut labels) = (Vec::new(), Vec::new());
    for (i, kind) in types.iter().enumerate() {
        let (point, corners) = (points.get(i as i64), boxes.get(i as i64));
        if *kind == 0 {
            let point = point.to_kind(Kind::Float);
            coords.push(Tensor::cat(&[&point, &point.zeros_like()], 0));
            labels.push(Tensor::from_slice(&[Label::Positive as i64, Label::NotAPoint as i64]));
        } else {
            coords.push(corners);
            labels.push(Tensor::from_slice(&[Label::BoxCornerA as i64, Label::BoxCornerB as i64]));
        }
    }
    Prompts { coords: Tensor::stack(&coords, 0), labels: Tensor::stack(&labels, 0), masks: None }
}

fn keys(reference: &Reference, kind: &str) -> Vec<String> {
    let keys = reference.json.as_object().unwrap().keys();
    let mut keys: Vec<_> = keys.filter(|k| k.starts_with(&format!("{kind}."))).cloned().collect();
    keys.retain(|key| key.split('.').nth(1).is_some_and(|n| n.parse::<u32>().is_ok()));
    assert!(!keys.is_empty(), "the reference has no {kind} prompts");
    keys
}

#[test]
fn parity_ultrasam_first_pass() {
    let Some((_vs, sam, reference)) = sam("ultrasam", true) else { return };
    let (io, side) = (&reference.io, side(&reference));
    for key in keys(&reference, "point").into_iter().chain(keys(&reference, "box")) {
        let image = key.split('.').nth(1).unwrap();
        let embedding = sam
            .embedding(vec![io[&format!("image.{image}.feat")].shallow_clone()], (side, side))
            .unwrap();
        let prompts = packed(io, &key);
        let owners = Owners::new(vec![prompts.labels.size()[0]], &embedding.features);
        for (name, wanted) in
            [("multimask0", MaskTokens::Single), ("multimask1", MaskTokens::Multi)]
        {
            let masks = no_grad(|| sam.decode(&embedding, &owners, &prompts, wanted, false));
            let stage = format!("{key}.stage1.{name}");
            assert_close(&stage, &masks.logits, &io[&format!("{stage}.logits")], DECODER);
            assert_close(&stage, &masks.iou, &io[&format!("{stage}.iou")], DECODER);
        }
    }
}

#[test]
fn parity_ultrasam_losses_and_gradients() {
    for refines in [false, true] {
        let Some((vs, sam, reference)) = sam("ultrasam", true) else { return };
        let (io, side) = (&reference.io, side(&reference));
        let images = io["loss.input"].shallow_clone();
        let count = images.size()[0];
        let features = sam.backbone.forward(&images, true).unwrap().remove(0);
        let embedding = sam.embedding(vec![features], (side, side)).unwrap();
        let (mut counts, mut prompts, mut targets) = (vec![], vec![], vec![]);
        for i in 0..count {
            let of_image = packed(io, &format!("loss.{i}"));
            counts.push(of_image.labels.size()[0]);
            prompts.push(of_image);
            targets.push(low_resolution(
                &io[&format!("loss.{i}.gt_masks")],
                (side, side),
                &embedding,
            ));
        }
        let all =
            |f: fn(&Prompts) -> &Tensor| Tensor::cat(&prompts.iter().map(f).collect::<Vec<_>>(), 0);
        let prompts =
            Prompts { coords: all(|p| &p.coords), labels: all(|p| &p.labels), masks: None };
        let owners = Owners::new(counts, &embedding.features);
        let targets = Tensor::cat(&targets, 0);
        let how = Passes { refines, last: MaskTokens::Multi, loss: &LossConfig::default() };
        let output = pass_losses(&sam, &embedding, &owners, prompts, &targets, how).unwrap();
        let refine = i32::from(refines);
        let expected = &reference.json[format!("loss.refine{refine}")];
        assert_losses(&output, expected, WHOLE);
        let total = output.losses.iter().map(|l| &l.value * l.weight).reduce(|a, b| a + b).unwrap();
        let total_expected = expected["TOTAL"].as_f64().unwrap();
        assert!((total.double_value(&[]) - total_expected).abs() < WHOLE * total_expected);
        total.backward();
        let gradients = their_gradients(&vs);
        assert_norms(&gradients, &reference.json[format!("grad_norms.refine{refine}")]);
        assert_stored_gradients(&gradients, io, &format!("grad.refine{refine}."));
    }
}

/// Ours sums and averages before it applies weights; the reference logs weighted terms.
#[track_caller]
fn assert_losses(output: &StepOutput, expected: &Value, tolerance: f64) {
    let expected = expected.as_object().unwrap();
    assert_eq!(output.losses.len(), expected.keys().filter(|k| k.starts_with("loss")).count());
    for loss in &output.losses {
        let value = loss.value.double_value(&[]) * loss.weight;
        let wanted = expected[&loss.name].as_f64().unwrap();
        assert!(
            (value - wanted).abs() < tolerance * wanted.abs(),
            "{}: {value}, {wanted}",
            loss.name
        );
    }
}

/// Gradients under UltraSam's names; parts of one of its tensors are joined.
fn their_gradients(vs: &VarStore) -> HashMap<String, Tensor> {
    let convention = Convention::by_name("ultrasam").unwrap();
    let mut parts: HashMap<String, Vec<_>> = HashMap::new();
    for (name, variable) in vs.variables() {
        if !variable.requires_grad() {
            continue;
        }
        let mut theirs = convention.to_theirs(&name);
        assert_eq!(theirs.len(), 1, "{name} has one name there");
        let theirs = theirs.remove(0);
        let gradient = variable.grad();
        // Variables that no loss depends on are zeros there, within a larger tensor.
        let gradient = if gradient.defined() { gradient } else { variable.zeros_like() };
        parts.entry(theirs.name).or_default().push((theirs.theirs, gradient));
    }
    parts
        .into_iter()
        .map(|(name, mut parts)| {
            parts.sort_by_key(|(part, _)| *part);
            let tensors: Vec<_> = parts.into_iter().map(|(_, t)| t).collect();
            (name, Tensor::cat(&tensors, 0))
        })
        .collect()
}

#[track_caller]
fn assert_norms(gradients: &HashMap<String, Tensor>, expected: &Value) {
    let expected = expected.as_object().unwrap();
    let largest = expected.values().filter_map(Value::as_f64).fold(0.0, f64::max);
    for (name, gradient) in gradients {
        let norm = gradient.norm().double_value(&[]);
        let wanted = expected.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        // A key's bias shifts all scores of a query equally: its gradient is only rounding.
        let allowed = WHOLE * wanted.max(1e-4 * largest);
        assert!((norm - wanted).abs() < allowed, "{name}: norm {norm}, expected {wanted}");
    }
    let missing: Vec<_> = expected.keys().filter(|name| !gradients.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[track_caller]
fn assert_stored_gradients(gradients: &HashMap<String, Tensor>, io: &Tensors, prefix: &str) {
    let mut compared = 0;
    for (key, expected) in io {
        if let Some(gradient) = key.strip_prefix(prefix).and_then(|name| gradients.get(name)) {
            assert_close(key, gradient, expected, 10.0 * WHOLE);
            compared += 1;
        }
    }
    assert!(compared >= 10, "only {compared} gradients compared");
}

/// `[n, H, W]` masks, padded as the input, in the decoder's frame.
fn low_resolution(masks: &Tensor, (height, width): Size, embedding: &Embedding) -> Tensor {
    let (_, h, w) = masks.size3().unwrap();
    let padded = masks.to_kind(Kind::Float).constant_pad_nd([0, width - w, 0, height - h]);
    let (h, w) = embedding.mask_size();
    padded.unsqueeze(0).upsample_bilinear2d([h, w], false, None, None).squeeze_dim(0).round()
}

#[test]
fn parity_sam_head_losses() {
    let Some(folder) = shared("reference/sam_head") else { return };
    let io = read(&folder.join("io.safetensors"));
    let json = read_json(&folder.join("io.json"));
    let targets = io["resized_gt"].to_kind(Kind::Float);
    for (key, first, count) in [("loss.mm0", 0, 1), ("loss.mm1", 1, 3)] {
        let leaf = |name: &str| io[name].narrow(1, first, count).copy().set_requires_grad(true);
        let masks = Masks { logits: leaf("logits4"), iou: leaf("iou4"), object_score: None };
        let config = LossConfig::default();
        let losses = mask_losses(&masks, &targets, &config).unwrap();
        let terms = [
            ("loss_focal", &losses.focal, config.focal),
            ("loss_dice", &losses.dice, config.dice),
            ("loss_iou", &losses.iou, config.iou),
        ];
        let mut total = Tensor::from(0f32);
        for (name, value, weight) in terms {
            let (got, wanted) =
                (value.double_value(&[]) * weight, json[key][name].as_f64().unwrap());
            assert!((got - wanted).abs() < 1e-5 * wanted, "{key}.{name}: {got}, {wanted}");
            total += value * weight;
        }
        total.backward();
        assert_close(key, &masks.logits.grad(), &io[&format!("{key}.grad_logits")], 1e-5);
        assert_close(key, &masks.iou.grad(), &io[&format!("{key}.grad_iou")], 1e-5);
        assert_close(key, &losses.true_iou, &io[&format!("{key}.sel_iou_gt")], 1e-6);
    }
}

#[test]
fn parity_sam_head_masks_in_original_pixels() {
    let Some(folder) = shared("reference/sam_head") else { return };
    let io = read(&folder.join("io.safetensors"));
    let json = read_json(&folder.join("io.json"));
    let size =
        |meta: &Value, key: &str| (meta[key][0].as_i64().unwrap(), meta[key][1].as_i64().unwrap());
    let mut first = 0;
    for (image, meta) in json["metas"].as_array().unwrap().iter().enumerate() {
        let frame = Frame {
            padded: size(meta, "pad_shape"),
            input: size(meta, "img_shape"),
            original: size(meta, "ori_shape"),
        };
        let count = io[&format!("post.mm0.{image}.mask")].size()[0];
        for (key, tokens) in [("mm0", 0..1), ("mm1", 1..4)] {
            let (start, len) = (tokens.start, tokens.end - tokens.start);
            let of = |name: &str| io[name].narrow(0, first, count).narrow(1, start, len);
            let best = of("iou4").argmax(1, true).view([count, 1, 1, 1]);
            let (_, _, h, w) = of("logits4").size4().unwrap();
            let logits = of("logits4").gather(1, &best.expand([count, 1, h, w], false), false);
            for (mode, prefix) in
                [(Postprocess::AsPublished, "post"), (Postprocess::Logits, "post_sam")]
            {
                let expected = io[&format!("{prefix}.{key}.{image}.mask")].to_kind(Kind::Bool);
                let wrong = mode.masks(&logits, frame).ne_tensor(&expected).sum(Kind::Int64);
                // Equal kernels on equal inputs: not one pixel differs.
                assert_eq!(wrong.int64_value(&[]), 0, "{prefix}.{key}.{image}");
            }
        }
        first += count;
    }
}

/// Task and batches as a run builds them from the reference's model and the images of `data`.
fn ultrasam_task(extra: Value) -> Option<(Box<dyn Task>, Reference, Dataset, LoadPlan)> {
    let path = shared("reference/ultrasam")?;
    let data = shared("data/mmotu2d-sample")?;
    let reference = Reference::read(&path);
    let vs = VarStore::new(Device::Cpu);
    let backbone = reference.config(json!({})).build(&(vs.root() / "backbone")).unwrap();
    let spec = backbone.spec().input.clone();
    let dataset: Box<dyn DatasetConfig> = from_value(json!({
        "type": "coco", "root": data, "images": "images", "test": "annotations.json",
    }))
    .unwrap();
    let dataset = dataset.open(Split::Test).unwrap();
    let table = json!({
        "type": "sam_prompt",
        "convention": "ultrasam",
        "decoder": { "mlp_dim": reference.json["config"]["decoder"]["mlp_dim"] },
    });
    let config: Box<dyn TaskConfig> = from_value(merged(table, extra)).unwrap();
    let task = config.build(&vs.root(), backbone, &dataset.categories).unwrap();
    weights::load(&vs, &weights_config(&path.join("weights.safetensors"))).unwrap();
    let preprocess = json!({ "image_size": side(&reference), "size_rule": "truncate" });
    let plan = plan(preprocess, spec, task.eval_needs());
    Some((task, reference, dataset, plan))
}

#[test]
fn parity_ultrasam_predictions_from_files() {
    for (kind, protocol) in [("point", "center_point"), ("box", "box")] {
        for refines in [false, true] {
            let Some((task, reference, dataset, plan)) = ultrasam_task(json!({
                "refinement": refines,
                "evaluation": { "protocols": [protocol], "postprocess": "as_published" },
            })) else {
                return;
            };
            let io = &reference.io;
            for key in keys(&reference, kind) {
                let file = reference.json[&key]["file"].as_str().unwrap();
                let record = dataset.records.iter().find(|r| r.path.ends_with(file)).unwrap();
                let batch: Batch = prepare_batch(std::slice::from_ref(record), &plan).unwrap();
                let image = key.split('.').nth(1).unwrap();
                assert_close(&key, &batch.images, &io[&format!("image.{image}.input")], 1e-6);
                let predicted = no_grad(|| task.predict(&batch)).unwrap().remove(0);
                let key = format!("{key}.refine{}", i32::from(refines));
                assert_prediction(&key, &predicted, io);
            }
        }
    }
}

#[track_caller]
fn assert_prediction(key: &str, predicted: &Prediction, io: &Tensors) {
    let expected = io[&format!("{key}.mask")].to_kind(Kind::Uint8);
    let scores = Vec::<f32>::try_from(&io[&format!("{key}.score")]).unwrap();
    assert_eq!(predicted.instances.len(), scores.len());
    for (i, instance) in predicted.instances.iter().enumerate() {
        let score = f64::from(scores[i]);
        assert!((instance.score - score).abs() < WHOLE * score.abs().max(1.0), "{key}: score");
        let mask = Vec::<u8>::try_from(expected.get(i as i64).flatten(0, -1)).unwrap();
        let got = instance.mask.as_ref().unwrap().to_mask();
        let wrong = got.iter().zip(&mask).filter(|(a, b)| (**a != 0) != (**b != 0)).count();
        // Random weights give ragged masks; one logit that rounds to the other side of zero moves the
        // pixels it is enlarged to.
        assert!(wrong * 1000 <= mask.len(), "{key}: {wrong} of {} pixels differ", mask.len());
        let bbox = Tensor::from_slice(&instance.bbox);
        let wanted = io[&format!("{key}.bbox")].get(i as i64);
        let off = relative_difference(&bbox, &wanted.to_kind(Kind::Double));
        assert!(wrong > 0 || off == 0.0, "{key}: box {bbox} {wanted}");
        println!("{key}: {wrong} pixels differ");
    }
}
