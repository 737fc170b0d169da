//! X-AnyLabeling's protocol.

use serde_json::{Value, json};

use super::{data_url, of_images, picture, serving};
use crate::Options;

fn body(marks: Value) -> Value {
    let params = json!({ "conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001, "marks": marks });
    json!({ "model": "fake", "image": data_url(&picture(40, 60)), "params": params })
}

#[test]
fn the_program_learns_which_controls_to_show() {
    let server = serving(|_| (), Options::default());
    let models = server.get("/v1/models").json();
    let fake = &models["data"]["fake"];
    assert_eq!(fake["classes"], json!(["lesion", "cyst"]));
    assert!(fake["widgets"].to_string().contains("button_add_point"));
    assert_eq!(fake["batch_processing_mode"], Value::Null);
    let server = serving(of_images, Options::default());
    let fake = server.get("/v1/models").json()["data"]["fake"].clone();
    assert!(!fake["widgets"].to_string().contains("button_add_point"));
    assert_eq!(fake["batch_processing_mode"], json!("default"));
}

#[test]
fn clicks_are_one_object_and_boxes_one_each() {
    let server = serving(|_| (), Options::default());
    let shapes = |marks: Value| {
        server.post_json("/v1/predict", &body(marks)).json()["data"]["shapes"].clone()
    };
    let point = |x: i32, label: i32| json!({ "type": "point", "data": [x, 20], "label": label });
    let clicked = shapes(json!([point(30, 1), point(50, 0)]));
    assert_eq!(clicked.as_array().unwrap().len(), 1);
    assert_eq!(
        (&clicked[0]["label"], &clicked[0]["shape_type"]),
        (&json!("AUTOLABEL_OBJECT"), &json!("polygon"))
    );
    assert!(clicked[0]["points"].as_array().unwrap().len() > 4);
    let rectangle =
        |x: i32| json!({ "type": "rectangle", "data": [x + 10, 30, x, 20], "label": 1 });
    let boxed = shapes(json!([rectangle(5), rectangle(25)]));
    assert_eq!(boxed[1]["points"], json!([[25.0, 20.0], [35.0, 20.0], [35.0, 30.0], [25.0, 30.0]]));
    let found = shapes(json!([]));
    assert_eq!((found.as_array().unwrap().len(), &found[0]["label"]), (1, &json!("cyst")));
}

#[test]
fn what_the_model_cannot_do_is_refused() {
    let server = serving(|_| (), Options::default());
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut body = body(json!([]));
        change(&mut body);
        let reply = server.post_json("/v1/predict", &body);
        (reply.status, reply.error())
    };
    assert_eq!(refused(&|body| body["model"] = json!("other")).0, 404);
    assert!(refused(&|body| body["params"]["text_prompt"] = json!("liver")).1.contains("words"));
    let odd = json!([{ "type": "point", "data": [1, 2, 3] }]);
    assert!(refused(&|body| body["params"]["marks"] = odd.clone()).1.contains("3 numbers"));
    let outside = json!([{ "type": "point", "data": [600, 2] }]);
    assert_eq!(refused(&|body| body["params"]["marks"] = outside.clone()).0, 422);
    assert_eq!(refused(&|body| body["params"] = json!(3)).0, 422);
}
