//! A second reader.

use serde_json::json;
use sonotune_annotate::{Options, Session};

use crate::support::{Client, Folder, object, read_json};

fn second(folder: &Folder) -> Options {
    Options {
        images: folder.path().to_owned(),
        reader: Some("Dr. B".to_owned()),
        second_reading_of: Some(folder.at("annotations.json")),
        ..Options::default()
    }
}

fn first_reading(folder: &Folder) {
    let client = folder.start();
    client.save(1, 0, "done", &[object("x", [0, 0, 4, 4])]);
    client.save(2, 0, "done", &[]);
    client.save(3, 0, "draft", &[object("y", [0, 0, 4, 4])]);
}

#[test]
fn the_first_reading_is_not_shown_before_the_second_is_done() {
    let folder = Folder::new(3);
    first_reading(&folder);
    let before = std::fs::read(folder.at("annotations.json")).unwrap();
    let client = Client::start(&second(&folder), None);
    let (_, session) = client.get("/api/session");
    assert_eq!((&session["doubles"], &session["reader"]), (&json!(true), &json!("Dr. B")));
    assert_eq!(session["categories"][1]["name"], "tumour");
    assert!(session["file"].as_str().unwrap().ends_with("annotations.Dr__B.json"), "{session}");
    assert_eq!((&client.image(1)["objects"], &client.row(1)["objects"]), (&json!([]), &json!(0)));
    assert_eq!(client.post("/api/images/1/first", &json!({})).0, 409);
    let (_, none) = client.get("/api/agreement");
    assert_eq!((&none["images"], &none["overall"]["iou_mean"]), (&json!([]), &json!(null)));
    client.save(1, 0, "done", &[object("mine", [0, 0, 4, 2])]);
    client.save(2, 0, "done", &[]);
    client.save(3, 0, "done", &[]);
    let (_, agreement) = client.get("/api/agreement");
    let rows = agreement["images"].as_array().unwrap();
    // The first reader is not done with image 3.
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[0]["iou_mean"], &rows[0]["f1_50"], &rows[0]["matched"]),
        (&json!(0.5), &json!(1.0), &json!(1))
    );
    assert_eq!((&agreement["num_images"], &agreement["both_empty"]), (&json!(2), &json!(1)));
    let (code, shown) = client.post("/api/images/1/first", &json!({}));
    assert_eq!((code, &shown["objects"][0]["uid"]), (200, &json!("x")));
    assert_eq!(std::fs::read(folder.at("annotations.json")).unwrap(), before);
    // A change after that no longer counts as blind, in a later session too.
    client.save(1, 1, "done", &[object("mine", [0, 0, 4, 4])]);
    drop(client);
    let client = Client::start(&second(&folder), None);
    let (_, agreement) = client.get("/api/agreement");
    let row = &agreement["images"][0];
    assert_eq!((&row["revised"], &row["iou_mean"]), (&json!(true), &json!(1.0)));
    assert_eq!(
        (&agreement["num_images"], &agreement["overall"]["iou_mean"]),
        (&json!(1), &json!(null))
    );
    let own = read_json(&folder.at("annotations.Dr__B.json"));
    assert_eq!(own["annotations"][0]["sonotune"]["reader"], "Dr. B");
}

#[test]
fn the_first_reading_is_read_again_when_it_goes_on() {
    let folder = Folder::new(1);
    drop(folder.start());
    let client = Client::start(&second(&folder), None);
    client.save(1, 0, "done", &[object("mine", [0, 0, 4, 4])]);
    assert_eq!(client.get("/api/agreement").1["images"], json!([]));
    folder.start().save(1, 0, "done", &[object("x", [0, 0, 4, 4])]);
    assert_eq!(client.get("/api/agreement").1["images"][0]["iou_mean"], 1.0);
}

#[test]
fn a_second_reading_does_not_go_into_the_first() {
    let folder = Folder::new(1);
    drop(folder.start());
    let options = Options { annotations: Some(folder.at("annotations.json")), ..second(&folder) };
    let error = Session::open(&options, None).err().unwrap();
    assert_eq!(sonotune_base::error::exit_code(&error), 2);
    assert!(error.to_string().contains("is the first reading"), "{error}");
    let options = Options { second_reading_of: Some(folder.at("none.json")), ..second(&folder) };
    let error = Session::open(&options, None).err().unwrap();
    assert!(error.to_string().contains("none.json: no such file"), "{error}");
}
