//! Matching and losses of a layer where images have several objects: the matched pairs are sorted by
//! query, which decides at which of the drawn points each object is compared.

use mask2former::{
    criterion::Criterion,
    head::LayerOutput,
    matcher::{Assigned, MatchCosts, Objects, Pairs, assign, match_costs},
    points::{PointRules, Purpose},
};
use sonotune_engine::{prelude::*, serde_json::Value};

/// Masks are sampled in fp32; the other order of pairs differs by 2e-2.
const ROUNDING: f64 = 1e-7;

fn fixture() -> Value {
    serde_json::from_str(include_str!("../several_objects.json")).unwrap()
}

fn numbers(value: &Value, out: &mut Vec<f64>) {
    match value.as_array() {
        Some(values) => values.iter().for_each(|value| numbers(value, out)),
        None => out.push(value.as_f64().unwrap()),
    }
}

/// f64, with the shape of the nested arrays.
fn tensor(value: &Value) -> Tensor {
    let (mut shape, mut inner) = (Vec::new(), value);
    while let Some(values) = inner.as_array() {
        shape.push(values.len() as i64);
        inner = &values[0];
    }
    let mut values = Vec::new();
    numbers(value, &mut values);
    Tensor::from_slice(&values).view(shape.as_slice())
}

fn objects(fixture: &Value) -> Vec<Objects> {
    let of_image = |(labels, masks): (&Value, &Value)| {
        let masks = tensor(masks).to_kind(Kind::Bool);
        let (_, height, width) = masks.size3().unwrap();
        let labels = tensor(labels).to_kind(Kind::Int64);
        Objects::new("several".to_owned(), &labels, masks, (height, width)).unwrap()
    };
    let labels = fixture["labels"].as_array().unwrap();
    labels.iter().zip(fixture["gt_masks"].as_array().unwrap()).map(of_image).collect()
}

struct Layer {
    fixture: Value,
    output: LayerOutput,
    mask_features: Tensor,
    objects: Vec<Objects>,
    rules: PointRules,
}

impl Layer {
    fn recorded() -> Self {
        let fixture = fixture();
        let number = |key: &str| fixture[key].as_f64().unwrap();
        let rules = PointRules {
            num_points: number("num_points") as i64,
            oversample_ratio: number("oversample_ratio"),
            importance_sample_ratio: number("importance_sample_ratio"),
        };
        let output = LayerOutput {
            classes: tensor(&fixture["classes"]),
            embeddings: tensor(&fixture["embeddings"]),
        };
        let mask_features = tensor(&fixture["mask_features"]);
        let objects = objects(&fixture);
        Self { fixture, output, mask_features, objects, rules }
    }

    /// The recorded numbers for a purpose.
    fn draw(&self, purpose: Purpose, shape: &[i64]) -> Tensor {
        let drawn = tensor(match purpose {
            Purpose::Matching { image, .. } => &self.fixture["matching"][image],
            Purpose::Candidates { .. } => &self.fixture["candidates"],
            Purpose::Anywhere { .. } => &self.fixture["anywhere"],
        });
        assert_eq!(drawn.size(), shape, "{purpose:?}");
        drawn
    }

    fn pairs(&self) -> Vec<Pairs> {
        let costs = MatchCosts { class: 2.0, mask: 5.0, dice: 5.0 };
        let of_image = |(image, objects)| {
            let mut draw = |purpose, shape: &[i64]| self.draw(purpose, shape);
            let (output, features) = (&self.output, &self.mask_features);
            let how = (costs, self.rules);
            let costs = match_costs(output, features, objects, (0, image), how, &mut draw).unwrap();
            assign(&costs).unwrap()
        };
        self.objects.iter().enumerate().map(of_image).collect()
    }
}

#[test]
fn pairs_come_by_rising_query_as_the_reference_lists_them() {
    let layer = Layer::recorded();
    let expected: Vec<Pairs> = serde_json::from_value(layer.fixture["pairs"].clone()).unwrap();
    assert_eq!(layer.pairs(), expected);
    let rises = |pairs: &Pairs| pairs.is_sorted_by_key(|&(_, object)| object);
    assert!(!expected.iter().all(rises), "the fixture does not tell the two orders apart");
}

#[test]
fn losses_are_the_references_where_images_have_several_objects() {
    let layer = Layer::recorded();
    let no_object_weight = layer.fixture["no_object_weight"].as_f64().unwrap();
    let criterion = Criterion { no_object_weight, points: layer.rules };
    let mut draw = |purpose, shape: &[i64]| layer.draw(purpose, shape);
    let (output, features) = (&layer.output, &layer.mask_features);
    let [_, queries, classes] = output.classes.dims();
    let sizes = (queries, classes - 1);
    let assigned = Assigned::of_layers(&[layer.pairs()], &layer.objects, sizes, Device::Cpu);
    let losses =
        criterion.losses(output, features, &layer.objects, &assigned[0], 0, &mut draw).unwrap();
    for (name, value) in
        [("loss_cls", losses.class), ("loss_mask", losses.mask), ("loss_dice", losses.dice)]
    {
        let (got, expected) = (value.double_value(&[]), layer.fixture[name].as_f64().unwrap());
        assert!((got - expected).abs() < ROUNDING, "{name}: {got}, the reference has {expected}");
    }
}
