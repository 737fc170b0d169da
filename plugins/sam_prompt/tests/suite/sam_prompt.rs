//! Training and scoring of the promptable task on unusual data.

use serde_json::{Value, from_value, json};
use sonotune_base::Segmentation;
use sonotune_dataset::{Object, Record};
use sonotune_engine::{
    metrics::Report,
    task::{Answer, Instance, Prediction, StepOutput, TaskConfig},
};
use tch::Tensor;

use sonotune_testing::assert_contains;
use sonotune_testing_models::{
    model::{Model, merged},
    objects::{disc, record, scalar, total},
};

const SIDE: u32 = 64;

fn task(extra: Value) -> Value {
    let task = json!({
        "type": "sam_prompt",
        "convention": "ultrasam",
        "decoder": { "num_heads": 2, "mlp_dim": 32, "dropout": 0.0 },
    });
    merged(task, extra)
}

fn build(extra: Value) -> anyhow::Result<Model> {
    let backbone = json!({
        "type": "sam_vit", "embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": [1],
        "window_size": 2, "image_size": SIDE, "patch_size": 16, "out_channels": 32,
    });
    Model::build(backbone, task(extra), &["object"], SIDE)
}

fn task_config(extra: Value) -> Box<dyn TaskConfig> {
    from_value(task(extra)).unwrap()
}

fn names(output: &StepOutput) -> Vec<&str> {
    output.losses.iter().map(|l| l.name.as_str()).collect()
}

#[test]
fn a_step_learns_from_every_object_with_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(json!({})).unwrap();
    // At a sixteenth of its size an object of one pixel is gone.
    let vanishing = record(
        folder.path(),
        "large.png",
        1024,
        vec![disc((512, 512), 200, 1024), disc((100, 101), 1, 1024)],
    );
    let mut crowd = disc((20, 20), 9, SIDE);
    crowd.is_crowd = true;
    let plain = record(folder.path(), "plain.png", SIDE, vec![disc((30, 40), 12, SIDE), crowd]);
    let empty = record(folder.path(), "empty.png", SIDE, vec![]);
    let batch = model.batch(&[vanishing, empty, plain]);
    let output = model.step(&batch);
    assert_eq!(scalar(&output, "objects"), 2.0);
    assert_eq!(scalar(&output, "objects_without_pixels"), 1.0);
    assert_eq!(
        names(&output),
        ["loss_focal", "loss_dice", "loss_iou", "loss_focal.0", "loss_dice.0", "loss_iou.0"]
    );
    total(&output).backward();
    for (name, variable) in model.vs.variables().iter().filter(|(_, v)| v.requires_grad()) {
        let gradient = variable.grad();
        // The drawn prompt decides which point embeddings are used.
        let may_rest = name.contains("point_embeddings") || name.contains("not_a_point");
        assert!(gradient.defined() || may_rest, "{name} has no gradient");
        assert!(!gradient.defined() || gradient.isfinite().all().int64_value(&[]) == 1, "{name}");
    }
}

#[test]
fn a_batch_without_objects_teaches_nothing_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(json!({})).unwrap();
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, vec![])]);
    let output = model.step(&batch);
    assert_eq!(scalar(&output, "objects"), 0.0);
    let loss = total(&output);
    assert_eq!(loss.double_value(&[]), 0.0);
    loss.backward();
    let gradients = model.vs.variables().into_values().map(|v| v.grad()).filter(Tensor::defined);
    assert!(gradients.map(|g| g.abs().max().double_value(&[])).all(|g| g == 0.0));
    assert!(model.predict(&batch).instances.is_empty());
}

#[test]
fn a_thousand_objects_are_learnt_from_in_part_and_answered_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(json!({ "training": { "max_objects": 10 } })).unwrap();
    let objects = (0..1000).map(|i| disc((2 + i % 60, 2 + i / 60 * 3), 3, SIDE)).collect();
    let batch = model.batch(&[record(folder.path(), "many.png", SIDE, objects)]);
    let output = model.step(&batch);
    assert_eq!(scalar(&output, "objects"), 10.0);
    assert_eq!(scalar(&output, "objects_beyond_limit"), 990.0);
    let again = model.step(&batch);
    assert_eq!(total(&output).double_value(&[]), total(&again).double_value(&[]));
    let prediction = model.predict(&batch);
    // By the centre and by the box, each in the order of the objects.
    let answers: Vec<Answer> = prediction.instances.iter().map(|i| i.answers.unwrap()).collect();
    let expected = (0..2).flat_map(|pass| (0..1000).map(move |object| Answer { object, pass }));
    assert_eq!(answers, expected.collect::<Vec<_>>());
}

#[test]
fn interaction_adds_a_round_of_losses_a_click() {
    let folder = tempfile::tempdir().unwrap();
    let rounds = json!({ "refinement": false, "training": { "interactive_rounds": 2 } });
    let model = build(rounds).unwrap();
    let objects = vec![disc((30, 30), 10, SIDE), disc((50, 12), 6, SIDE)];
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects)]);
    let output = model.step(&batch);
    assert_eq!(output.losses.len(), 9);
    assert!(names(&output).contains(&"loss_dice.1"));
    total(&output).backward();
}

#[test]
fn every_protocol_asks_and_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let protocols = ["center_point", "box", "random_point", "noisy_box", "clicks"];
    let model =
        build(json!({ "evaluation": { "protocols": protocols, "num_clicks": 3 } })).unwrap();
    // An object without pixels: its box is also empty.
    let objects = vec![disc((30, 30), 10, SIDE), disc((0, 0), 0, SIDE), disc((63, 1), 5, SIDE)];
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects)]);
    let prediction = model.predict(&batch);
    assert_eq!(prediction.instances.len(), 2 * (4 + 3));
    assert_eq!(prediction, model.predict(&batch), "random prompts are the same each time");
    let report = model.score(prediction.instances, &batch.targets[0]);
    for name in ["center_point/segm_mAP", "noisy_box/bbox_mAP_50", "clicks_3/mIoU", "box/hd95"] {
        assert!(report.get(name).is_some(), "{name}");
    }
    let condition = |name: &str| {
        report.conditions.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap()
    };
    assert_eq!(condition("convention"), "ultrasam");
    assert_eq!(condition("objects"), "3");
    assert_eq!(condition("objects_without_pixels_not_asked_about"), "1");
}

/// Perfect answers get perfect scores; objects that cannot be prompted for count as missed.
#[test]
fn scores_are_those_of_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(json!({ "evaluation": { "protocols": ["box"] } })).unwrap();
    let objects = vec![disc((30, 30), 10, SIDE), disc((50, 50), 8, SIDE)];
    let batch = model.batch(&[record(folder.path(), "a.png", SIDE, objects.clone())]);
    let perfect = |object: usize| {
        let Segmentation::Runs(mask) = &objects[object].segmentation else { unreachable!() };
        let [x, y, w, h] = objects[object].bbox;
        Instance {
            category: 0,
            score: 0.9,
            bbox: [x, y, x + w, y + h],
            mask: Some(mask.clone()),
            answers: Some(Answer { object, pass: 0 }),
        }
    };
    let score = |instances: Vec<Instance>| {
        let report = model.score(instances, &batch.targets[0]);
        move |name: &str| report.get(name).unwrap().value
    };
    let all = score(vec![perfect(0), perfect(1)]);
    for name in ["segm_mAP", "bbox_mAP", "mIoU", "dice"] {
        assert_eq!(all(&format!("box/{name}")), 1.0, "{name}");
    }
    assert_eq!(all("box/hd95"), 0.0);
    let half = score(vec![perfect(0)]);
    assert!((half("box/segm_mAP_50") - 51.0 / 101.0).abs() < 1e-9);
    assert_eq!(half("box/mIoU"), 1.0, "of the objects that were answered");
}

/// Distances are in millimetres where the size of a pixel is known, under names of their own.
#[test]
fn distances_in_millimetres_are_those_of_images_with_a_spacing() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(json!({ "evaluation": { "protocols": ["box"] } })).unwrap();
    let image = |name: &str, spacing| {
        let objects = vec![disc((30, 30), 10, SIDE)];
        Record { spacing, ..record(folder.path(), name, SIDE, objects) }
    };
    let (known, unknown) = (image("a.png", Some([0.3, 0.1])), image("b.png", None));
    let batch = model.batch(&[known, unknown]);
    // The same disc, 4 pixels further down.
    let Segmentation::Runs(moved) = disc((34, 30), 10, SIDE).segmentation else { unreachable!() };
    let answer = Instance {
        category: 0,
        score: 0.9,
        bbox: [20.0, 24.0, 41.0, 45.0],
        mask: Some(moved),
        answers: Some(Answer { object: 0, pass: 0 }),
    };
    let [known, unknown] = [0, 1].map(|i| model.score(vec![answer.clone()], &batch.targets[i]));
    let value = |report: &Report, name: &str| report.get(name).unwrap().value;
    for name in ["box/hd95", "box/assd", "box/dice"] {
        assert_eq!(value(&known, name), value(&unknown, name), "{name}");
    }
    assert!(unknown.get("box/hd95_mm").is_none() && unknown.get("box/assd_mm").is_none());
    let (pixels, mm) = (value(&known, "box/hd95"), value(&known, "box/hd95_mm"));
    // A way down or across, or both.
    assert!(mm >= 0.1 * pixels && mm <= 0.3 * pixels && mm > 0.0, "{pixels} px, {mm} mm");
    assert!(value(&known, "box/assd_mm") < value(&known, "box/assd"));
    assert!(known.notes.iter().all(|note| !note.contains("millimetres")), "{:?}", known.notes);

    let mut evaluator = model.task.evaluator().unwrap();
    let mut of_images = Vec::new();
    for target in &batch.targets {
        let instances = vec![answer.clone()];
        let prediction = Prediction { instances, ..Prediction::of(target) };
        evaluator.add(&prediction, target).unwrap();
        of_images.push(evaluator.image_scores(&prediction, target).unwrap());
    }
    let both = evaluator.finish().unwrap();
    assert_eq!(value(&both, "box/hd95_mm"), mm);
    let note = "the size of a pixel is known for 1 of 2 images";
    assert!(both.notes.iter().any(|text| text.starts_with(note)), "{:?}", both.notes);
    let names = |i: usize| of_images[i].metrics.iter().any(|m| m.name == "box/hd95_mm");
    assert_eq!([names(0), names(1)], [true, false]);
}

#[test]
fn options_that_make_no_sense_are_refused_by_key() {
    for (extra, parts) in [
        (
            json!({ "training": { "box_probability": 1.5 } }),
            vec!["task.training.box_probability", "1.5"],
        ),
        (json!({ "training": { "max_objects": 0 } }), vec!["task.training.max_objects"]),
        (
            json!({ "training": { "interactive_rounds": 2 } }),
            vec!["interactive_rounds", "refinement"],
        ),
        (json!({ "loss": { "dice": -1.0 } }), vec!["task.loss.dice", "-1"]),
        (json!({ "evaluation": { "protocols": [] } }), vec!["task.evaluation.protocols"]),
        (json!({ "evaluation": { "protocols": ["box", "box"] } }), vec!["box is listed twice"]),
        (json!({ "evaluation": { "num_clicks": 0 } }), vec!["num_clicks", "1 to 100"]),
        (json!({ "everything": { "nms_thresh": 2.0 } }), vec!["task.everything.nms_thresh"]),
        (json!({ "decoder": { "num_heads": 3 } }), vec!["num_heads = 3", "32 channels"]),
    ] {
        let error = build(extra.clone()).err().unwrap();
        assert_contains(&format!("{extra}: {error:#}"), &parts);
    }
}

/// A naming convention that is recognised decides how weights are used, unless the config says so.
#[test]
fn weights_decide_the_convention_that_the_config_leaves_open() {
    let auto = task_config(json!({ "convention": "auto" }));
    let decided = |convention: &str| {
        auto.decided_by_weights(convention).into_iter().map(|(_, value)| value).collect::<Vec<_>>()
    };
    assert_eq!(decided("ultrasam"), ["\"ultrasam\""]);
    assert_eq!(decided("segment_anything"), ["\"segment_anything\""]);
    assert_eq!(decided("huggingface_sam"), ["\"segment_anything\""]);
    assert_eq!(decided("sam2"), ["\"sam2\""]);
    assert_eq!(decided("huggingface_sam2"), ["\"sam2\""]);
    assert!(decided("mmpretrain_vit_sam").is_empty());
    assert_eq!(auto.convention(), None);
    let said = task_config(json!({ "convention": "ultrasam" }));
    assert!(said.decided_by_weights("segment_anything").is_empty());
    assert_eq!(said.convention().as_deref(), Some("ultrasam"));
}

/// Gradients of many objects in one pass are the sum of those of each alone.
#[test]
fn objects_do_not_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let model = build(json!({ "evaluation": { "protocols": ["box"] } })).unwrap();
    let (a, b) = (disc((20, 20), 9, SIDE), disc((45, 40), 12, SIDE));
    let answers = |name: &str, objects: Vec<Object>| {
        let batch = model.batch(&[record(folder.path(), name, SIDE, objects)]);
        model.predict(&batch).instances
    };
    let both = answers("both.png", vec![a.clone(), b.clone()]);
    let alone = [answers("a.png", vec![a]).remove(0), answers("b.png", vec![b]).remove(0)];
    for (together, alone) in both.iter().zip(&alone) {
        assert!((together.score - alone.score).abs() < 1e-5);
        let (m, n) = (together.mask.as_ref().unwrap(), alone.mask.as_ref().unwrap());
        let differ = m.to_mask().iter().zip(n.to_mask()).filter(|(a, b)| **a != *b).count();
        assert!(differ <= 8, "{differ} pixels");
    }
}
