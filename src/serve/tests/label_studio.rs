//! Label Studio's protocol.

use serde_json::{Value, json};

use super::{data_url, of_images, picture, serving};
use crate::Options;

fn config(tags: &str) -> String {
    format!("<View><Image name=\"img\" value=\"$image\" zoom=\"true\"/>{tags}</View>")
}

fn labels(tag: &str, name: &str) -> String {
    format!(
        "<{tag} name=\"{name}\" toName=\"img\"><Label value=\"lesion\"/><Label value=\"Zyste\" \
         predicted_values=\"cyst, other\"/></{tag}>"
    )
}

fn interactive() -> String {
    let smart = labels("KeyPointLabels", "kp") + &labels("RectangleLabels", "rect");
    config(&(labels("BrushLabels", "brush") + &smart))
}

fn ask(image: &str, config: &str, context: Value) -> Value {
    json!({
        "tasks": [{ "id": 1, "data": { "image": image } }],
        "project": "1.17", "label_config": config,
        "params": { "login": null, "password": null, "context": context },
    })
}

fn key_point(x: f64, y: f64, label: &str) -> Value {
    json!({
        "original_width": 60, "original_height": 40, "type": "keypointlabels", "is_positive": 1,
        "value": { "x": x, "y": y, "width": 0.2, "keypointlabels": [label] },
    })
}

#[test]
fn a_key_point_becomes_a_brush_stroke_with_its_label() {
    let server = serving(|_| (), Options::default());
    let context = json!({ "result": [key_point(50.0, 50.0, "Zyste")] });
    let reply =
        server.post_json("/predict", &ask(&data_url(&picture(40, 60)), &interactive(), context));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let region = &reply.json()["results"][0]["result"][0];
    assert_eq!(
        (&region["type"], &region["from_name"], &region["to_name"]),
        (&json!("brushlabels"), &json!("brush"), &json!("img"))
    );
    assert_eq!((&region["original_width"], &region["original_height"]), (&json!(60), &json!(40)));
    assert_eq!(region["value"]["brushlabels"], json!(["Zyste"]));
    let rle = region["value"]["rle"].as_array().unwrap();
    // The number of values, 60 · 40 · 4, and the sizes of words and runs.
    assert_eq!(rle[..7], [0, 0, 37, 128, 57, 27, 255].map(|byte| json!(byte)));
}

#[test]
fn a_rectangle_becomes_a_polygon_if_there_is_no_brush() {
    let server = serving(|_| (), Options::default());
    let config = config(&(labels("PolygonLabels", "poly") + &labels("RectangleLabels", "rect")));
    let rectangle = json!({
        "type": "rectanglelabels", "original_width": 60, "original_height": 40,
        "value": { "x": 10, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["lesion"] },
    });
    let mut body = ask(&data_url(&picture(40, 60)), &config, json!({ "result": [rectangle] }));
    let region = server.post_json("/predict", &body).json()["results"][0]["result"][0].clone();
    assert_eq!(region["value"]["polygonlabels"], json!(["lesion"]));
    assert_eq!(
        region["value"]["points"],
        json!([[10.0, 25.0], [60.0, 25.0], [60.0, 75.0], [10.0, 75.0]])
    );
    body["params"]["context"]["result"][0]["value"]["rotation"] = json!(30);
    assert!(server.post_json("/predict", &body).error().contains("rotated"));
}

#[test]
fn tasks_without_context_get_what_the_model_finds() {
    let server = serving(|_| (), Options::default());
    let mut body = ask(&data_url(&picture(40, 60)), &interactive(), Value::Null);
    let second = body["tasks"][0].clone();
    body["tasks"].as_array_mut().unwrap().push(second);
    let answer = server.post_json("/predict", &body).json();
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    let prediction = &answer["results"][1];
    assert_eq!(prediction["result"].as_array().unwrap().len(), 1);
    assert_eq!(prediction["result"][0]["value"]["brushlabels"], json!(["Zyste"]));
    assert_eq!((&prediction["score"], &prediction["model_version"]), (&json!(0.8), &json!("fake")));
    let boxes =
        ask(&data_url(&picture(40, 60)), &config(&labels("RectangleLabels", "r")), Value::Null);
    let value = &server.post_json("/predict", &boxes).json()["results"][0]["result"][0]["value"];
    assert_eq!((&value["y"], &value["height"]), (&json!(25.0), &json!(25.0)));
}

#[test]
fn a_classifier_makes_choices() {
    let server = serving(of_images, Options::default());
    let choices = "<Choices name=\"c\" toName=\"img\"><Choice value=\"lesion\"/><Choice value=\"cyst\"/></Choices>";
    let body = ask(&data_url(&picture(40, 60)), &config(choices), Value::Null);
    let region = server.post_json("/predict", &body).json()["results"][0]["result"][0].clone();
    assert_eq!(
        (&region["type"], &region["value"]["choices"]),
        (&json!("choices"), &json!(["cyst"]))
    );
}

#[test]
fn a_project_that_does_not_fit_is_refused_when_it_is_connected() {
    let server = serving(|_| (), Options::default());
    let setup =
        |schema: &str| server.post_json("/setup", &json!({ "project": "1.1", "schema": schema }));
    assert_eq!(setup(&interactive()).json()["model_version"], json!("fake"));
    let one = "<BrushLabels name=\"b\" toName=\"img\"><Label value=\"lesion\"/></BrushLabels>";
    let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><View>&b;</View>";
    let outside = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><View>&b;</View>";
    for (schema, what) in [
        (config(one), "predicted_values"),
        (config(""), "brushlabels"),
        ("<View/>".to_owned(), "<Image>"),
        ("<View>".to_owned(), "not valid XML"),
        (bomb.to_owned(), "not valid XML"),
        (outside.to_owned(), "not valid XML"),
        ("<View>".repeat(50_000), "not valid XML"),
    ] {
        let reply = setup(&schema);
        assert_eq!(reply.status, 422);
        assert!(reply.error().contains(what), "{}", reply.error());
    }
}

#[test]
fn images_come_from_the_allowed_folders_and_never_from_the_network() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("media/upload/1")).unwrap();
    std::fs::write(folder.path().join("media/upload/1/a b.png"), picture(40, 60)).unwrap();
    std::fs::write(folder.path().join("secret.png"), picture(40, 60)).unwrap();
    let options = Options { images: vec![folder.path().join("media")], ..Options::default() };
    let server = serving(|_| (), options);
    let status =
        |image: &str| server.post_json("/predict", &ask(image, &interactive(), Value::Null)).status;
    for image in [
        "/data/upload/1/a%20b.png",
        "/data/local-files/?d=upload/1/a%20b.png",
        "http://localhost:8080/data/upload/1/a%20b.png",
    ] {
        assert_eq!(status(image), 200, "{image}");
    }
    let secret = folder.path().join("secret.png");
    for image in [
        "/data/local-files/?d=../secret.png",
        "/data/local-files/?d=%2e%2e%2fsecret.png",
        "/data/upload/../../secret.png",
        secret.to_str().unwrap(),
        "http://127.0.0.1:1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/hostname",
        "s3://bucket/a.png",
        "/etc/passwd",
    ] {
        assert_eq!(status(image), 422, "{image}");
    }
}

#[test]
fn it_does_not_train() {
    let server = serving(|_| (), Options::default());
    let reply = server.post_json("/train", &json!({ "annotations": [] }));
    assert_eq!((reply.status, reply.error().contains("sonotune train")), (405, true));
    let event = json!({ "action": "ANNOTATION_CREATED", "project": {} });
    assert_eq!(server.post_json("/webhook", &event).json()["status"], json!("ignored"));
    assert_eq!(server.get("/versions").json()["versions"], json!(["fake"]));
    assert_eq!(server.get("/is_training").json()["is_training"], json!(false));
}
