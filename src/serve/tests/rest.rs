//! The plain REST API.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use sonotune_base::Segmentation;

use super::{data_url, disc, mask, of_images, picture, serving};
use crate::Options;

#[test]
fn a_click_gives_a_mask_by_json_and_by_form() {
    let server = serving(|_| (), Options::default());
    let png = picture(40, 60);
    let prompts = json!([{ "points": [{ "x": 30, "y": 20 }], "category": "cyst" }]);
    let body =
        json!({ "image": BASE64_STANDARD.encode(&png), "prompts": prompts, "masks": "both" });
    let by_json = server.post_json("/v1/predict", &body);
    assert_eq!(by_json.status, 200, "{}", by_json.text());
    let by_json = by_json.json();
    let object = &by_json["objects"][0];
    assert_eq!((&object["category"], &object["category_id"]), (&json!("cyst"), &json!(7)));
    assert_eq!(object["bbox"], json!([22.0, 12.0, 17.0, 17.0]));
    let found = mask(&object["mask"]);
    assert_eq!((found.height, found.width, found.area()), (40, 60, disc()));
    let polygons = serde_json::from_value(object["polygons"].clone()).unwrap();
    let drawn = Segmentation::Polygons(polygons).rasterize((40, 60), [0.0; 4]).unwrap();
    assert_eq!(drawn, found);
    let text = prompts.to_string();
    let parts: [(&str, Option<&str>, &[u8]); 3] = [
        ("image", Some("../../a.png"), &png),
        ("prompts", None, text.as_bytes()),
        ("masks", None, b"both"),
    ];
    let by_form = server.send_form("POST /v1/predict", &parts).json();
    assert_eq!(by_form["objects"], by_json["objects"]);
    // The same bytes are the same image, however they came.
    assert_eq!((&by_json["was_prepared"], &by_form["was_prepared"]), (&json!(false), &json!(true)));
}

#[test]
fn without_prompts_the_model_says_what_is_worth_showing() {
    let server = serving(|_| (), Options::default());
    let mut body = json!({ "image": data_url(&picture(40, 60)) });
    let shown = server.post_json("/v1/predict", &body).json();
    assert_eq!(shown["objects"].as_array().unwrap().len(), 1);
    assert_eq!(mask(&shown["objects"][0]["mask"]).area(), 100);
    body["min_score"] = json!(0.1);
    body["masks"] = json!("none");
    let all = server.post_json("/v1/predict", &body).json();
    assert_eq!(all["objects"].as_array().unwrap().len(), 2);
    assert!(all["objects"][0].get("mask").is_none());
}

#[test]
fn a_classifier_gives_labels_scores_and_values() {
    let server = serving(of_images, Options::default());
    let body = json!({ "image": data_url(&picture(40, 60)) });
    let answer = server.post_json("/v1/predict", &body).json();
    assert_eq!(answer["labels"], json!(["cyst"]));
    assert_eq!(answer["scores"][1]["category"], json!("cyst"));
    assert_eq!(answer["values"][0]["name"], json!("brightness"));
    let prompted = json!({ "image": body["image"], "prompts": [{ "bbox": [1, 1, 9, 9] }] });
    let refused = server.post_json("/v1/predict", &prompted);
    assert_eq!((refused.status, refused.error().contains("does not take prompts")), (422, true));
}

#[test]
fn prompts_that_do_not_fit_are_named() {
    let server = serving(|_| (), Options::default());
    let image = data_url(&picture(40, 60));
    for (prompt, what) in [
        (json!({ "points": [{ "x": 60, "y": 3 }] }), "prompts[0]"),
        (json!({ "points": [] }), "neither point nor box nor mask"),
        (json!({ "bbox": [0.1, 0.1, 0.9, 0.9] }), "between 0 and 1"),
        (json!({ "bbox": [9, 9, 3, 3] }), "no extent"),
        (json!({ "points": [{ "x": 1, "y": 1 }], "category": "tumour" }), "lesion, cyst"),
        (json!({ "points": [{ "x": 1, "y": 1, "label": 0 }] }), "unknown field `label`"),
        (json!({ "mask": { "size": [9, 9], "counts": "11" } }), "mask"),
        (json!({ "mask": { "size": [40, 60], "counts": [2400] } }), "no pixel"),
    ] {
        let body = json!({ "image": image, "prompts": [prompt] });
        let reply = server.post_json("/v1/predict", &body);
        assert_eq!(reply.status, 422, "{prompt}");
        assert!(reply.error().contains(what), "{}", reply.error());
    }
    let frame = server.post_json("/v1/predict", &json!({ "image": image, "frame": 3 }));
    assert_eq!((frame.status, frame.error().contains("no frame 3")), (422, true));
    let field = json!({ "image": image, "prompt": [] });
    assert!(server.post_json("/v1/predict", &field).error().contains("prompt"));
}

#[test]
fn what_there_is_can_be_read() {
    let server = serving(|_| (), Options::default());
    assert_eq!(server.get("/health").json()["status"], json!("UP"));
    let model = server.get("/v1/model").json();
    assert_eq!((&model["name"], &model["takes_prompts"]), (&json!("fake"), &json!(true)));
    assert!(!model.to_string().contains("weights"), "{model}");
    assert_eq!(server.get("/").json()["name"], json!("fake"));
    let api = server.get("/openapi.json").json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    let answers = api["paths"]["/v1/predict"]["post"]["responses"].as_object().unwrap();
    assert!(["200", "413", "422", "503"].iter().all(|status| answers.contains_key(*status)));
    server.get("/no/such/thing");
    let metrics = server.get("/metrics").text();
    for line in [
        "sonotune_requests_total{route=\"/v1/model\",status=\"200\"} 1",
        "sonotune_requests_total{route=\"none\",status=\"404\"} 1",
        "sonotune_request_seconds_bucket{le=\"0.5\",route=\"/v1/model\"} 1",
        "sonotune_queue_length 0",
        "sonotune_in_flight 0",
        "sonotune_embeddings_reused_total 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}
