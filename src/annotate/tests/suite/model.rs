//! Sessions with a model.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use anyhow::Result;
use serde_json::json;
use sonotune_annotate::{Options, Order, Session};
use sonotune_base::Category;
use sonotune_serve::{About, Answer, Found, Image, Inference, Question};

use crate::support::{Client, Folder, SIZE, error, mask, rectangle};

/// Answers rectangles, and remembers what it was told to prepare.
struct Fake {
    about: About,
    prepared: Mutex<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Prompts,
    Objects,
    Image,
}

fn fake(kind: Kind) -> Arc<Fake> {
    let category = |(id, name): (i64, &str)| Category { id, name: name.to_owned() };
    let about = About {
        name: "fake".to_owned(),
        task: "test".to_owned(),
        backbone: "none".to_owned(),
        takes_prompts: kind == Kind::Prompts,
        is_of_image: kind == Kind::Image,
        has_masks: kind != Kind::Image,
        categories: [(5, "tumour"), (6, "node")].map(category).into(),
        min_score: 0.5,
        weights: PathBuf::new(),
        step: 0,
        device: "cpu".to_owned(),
    };
    Arc::new(Fake { about, prepared: Mutex::default() })
}

impl Inference for Fake {
    fn about(&self) -> &About {
        &self.about
    }

    fn answer(&self, image: &Image, question: &Question) -> Result<Answer> {
        let name = image.file.path.file_stem().unwrap().to_str().unwrap();
        let found = |edges: [u32; 4], category: usize, score: f64| {
            let mask = Some(rectangle(edges));
            Found { category, score, bbox: edges.map(f64::from), mask }
        };
        let answer = Answer { size: SIZE, was_prepared: true, ..Answer::default() };
        if let Question::Prompts(prompts) = question {
            let objects = prompts.iter().map(|prompt| {
                let [x0, y0, x1, y1] =
                    prompt.bbox.map_or([1, 1, 4, 4], |edges| edges.map(|v| v as u32));
                found([x0, y0, x1, y1], prompt.category.unwrap_or(0), 0.9)
            });
            return Ok(Answer { objects: objects.collect(), ..answer });
        }
        if self.about.is_of_image {
            let scores = if name == "a" { vec![0.9, 0.1] } else { vec![0.4, 0.6] };
            return Ok(Answer { scores, labels: vec![0], ..answer });
        }
        let objects = match name {
            "a" => vec![
                found([0, 0, 4, 4], 0, 0.95),
                found([5, 5, 9, 9], 1, 0.85),
                found([1, 1, 2, 2], 0, 0.2),
            ],
            "b" => vec![found([0, 0, 4, 4], 1, 0.6)],
            "c" => vec![],
            _ => vec![found([0, 0, 4, 4], 1, 0.4)],
        };
        Ok(Answer { objects, ..answer })
    }

    fn prepare(&self, image: &Image) {
        let name = image.file.path.file_stem().unwrap().to_str().unwrap();
        self.prepared.lock().unwrap().push(name.to_owned());
    }
}

fn start(folder: &Folder, kind: Kind, order: Order) -> (Client, Arc<Fake>) {
    let model = fake(kind);
    (Client::start(&Options { order, ..folder.options() }, Some(model.clone())), model)
}

#[test]
fn prompts_are_answered_in_the_categories_of_the_file() {
    let folder = Folder::new(1);
    let (client, _) = start(&folder, Kind::Prompts, Order::Name);
    let prompts = json!({ "prompts": [
        { "points": [{ "x": 2, "y": 2, "positive": true }], "category_id": 2 },
        { "bbox": [3, 4, 9, 8] },
        { "points": [], "mask": mask([1, 1, 3, 3]), "category_id": 1 },
    ] });
    let (code, reply) = client.post("/api/images/1/ask", &prompts);
    assert_eq!(code, 200, "{reply}");
    // The file has cyst (1) and tumour (2), the model tumour and node.
    let ids: Vec<_> =
        reply["objects"].as_array().unwrap().iter().map(|object| &object["category_id"]).collect();
    assert_eq!(ids, [2, 2, 1]);
    assert_eq!(reply["objects"][1]["bbox"], json!([3.0, 4.0, 6.0, 4.0]));
    assert_eq!(
        (&reply["objects"][1]["mask"], &reply["was_prepared"]),
        (&mask([3, 4, 9, 8]), &json!(true))
    );
    for (prompt, part) in [
        (json!({}), "neither point nor box"),
        (json!({ "points": [{ "x": 99, "y": 2, "positive": true }] }), "outside the image"),
        (json!({ "bbox": [5, 5, 5, 9] }), "has no extent"),
        (json!({ "mask": { "size": [3, 3], "counts": "9" } }), "3×3"),
    ] {
        let refused = client.post("/api/images/1/ask", &json!({ "prompts": [prompt] }));
        assert_eq!(refused.0, 422, "{refused:?}");
        assert!(error(&refused).contains(part), "{refused:?}");
    }
    let many = json!({ "prompts": vec![json!({ "bbox": [3, 4, 9, 8] }); 65] });
    assert_eq!(client.post("/api/images/1/ask", &many).0, 422);
}

#[test]
fn drafts_are_what_is_worth_showing_and_the_file_gets_the_models_categories() {
    let folder = Folder::new(1);
    let (client, _) = start(&folder, Kind::Objects, Order::Name);
    let names: Vec<_> =
        folder.json()["categories"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["cyst", "tumour", "node"]);
    let (_, reply) = client.post("/api/images/1/drafts", &json!({}));
    let drafts: Vec<_> = reply["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["score"].clone(), d["category_id"].clone()))
        .collect();
    assert_eq!(drafts, [(json!(0.95), json!(2)), (json!(0.85), json!(3))]);
    assert_eq!(reply.get("labels"), None);
    let refused =
        client.post("/api/images/1/ask", &json!({ "prompts": [{ "bbox": [3, 4, 9, 8] }] }));
    assert!(error(&refused).contains("takes no prompts"), "{refused:?}");
    drop(client);
    let (client, _) = start(&folder, Kind::Image, Order::Name);
    let (_, reply) = client.post("/api/images/1/drafts", &json!({}));
    assert_eq!((&reply["objects"], &reply["labels"]), (&json!([]), &json!([2])));
    assert_eq!(reply["scores"], json!({ "2": 0.9, "3": 0.1 }));
}

#[test]
fn the_least_certain_come_first_by_the_kind_of_model() {
    for (kind, values, ids) in [
        // 1 - mean of 0.95 and 0.85; 1 - 0.6; nothing found: 1; nothing worth showing: 1.
        (Kind::Prompts, [0.1, 0.4, 1.0, 1.0], [3, 4, 2, 1]),
        // Mean of 0.1 and 0.3; 0.8; nothing at all: 0; the best candidate: 0.8.
        (Kind::Objects, [0.2, 0.8, 0.0, 0.8], [2, 4, 1, 3]),
        (Kind::Image, [0.1, 0.4, 0.4, 0.4], [2, 3, 4, 1]),
    ] {
        let folder = Folder::new(4);
        let (client, _) = start(&folder, kind, Order::Name);
        let mut events = client.listen();
        let (_, order) = client.post("/api/order", &json!({ "by": "uncertainty" }));
        assert_eq!(order["ids"].as_array().unwrap().len(), 4);
        for _ in 0..4 {
            let event = events.next("uncertainty");
            let id = event["id"].as_u64().unwrap() as usize;
            let expected = values[id - 1];
            assert!((event["value"].as_f64().unwrap() - expected).abs() < 1e-9, "{event}");
        }
        let (_, order) = client.post("/api/order", &json!({ "by": "uncertainty" }));
        let tied = |id: &serde_json::Value| values[id.as_u64().unwrap() as usize - 1];
        let sorted: Vec<f64> = order["ids"].as_array().unwrap().iter().map(tied).collect();
        assert!(sorted.windows(2).all(|pair| pair[0] >= pair[1]), "{order}");
        assert_eq!(order["ids"].as_array().unwrap().len(), ids.len());
        assert!(client.row(1)["uncertainty"].is_f64());
    }
}

#[test]
fn the_open_image_and_the_next_two_are_prepared() {
    let folder = Folder::new(5);
    let (client, model) = start(&folder, Kind::Prompts, Order::Name);
    let mut events = client.listen();
    client.image(2);
    assert_eq!(*model.prepared.lock().unwrap(), ["b", "c", "d"]);
    assert_eq!(events.next("prepared")["id"], 2);
    assert_eq!(client.post("/api/prepare", &json!({ "ids": [5, 1] })).0, 202);
    assert_eq!(model.prepared.lock().unwrap()[3..], ["e", "a"]);
}

#[test]
fn an_order_by_uncertainty_needs_a_model() {
    let folder = Folder::new(1);
    let error = Session::open(&Options { order: Order::Uncertainty, ..folder.options() }, None)
        .err()
        .unwrap();
    assert!(error.to_string().contains("needs a model"), "{error}");
    let error =
        Session::open(&Options { categories: Vec::new(), ..folder.options() }, None).err().unwrap();
    assert!(error.to_string().contains("there are no categories"), "{error}");
    // Nothing was begun that nobody can use.
    assert!(!folder.at("annotations.json").exists());
}
