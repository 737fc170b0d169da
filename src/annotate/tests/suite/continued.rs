//! A file that somebody else began.

use serde_json::{Value, json};
use sonotune_annotate::{Options, Session};

use crate::support::{Client, Folder, error, mask, object, rectangle, write_image};

/// Ids beyond 64 bits and as text, unknown keys, odd spelling, run lengths as a list, an image that is elsewhere.
const FOREIGN: &str = r#"{"licenses": [ {"id":1} ],
 "info": {"year":2019, "contributor": "x"},
"categories": [{"id": 7, "name":"cyst","keypoints":[1,  2]}],
"images": [
  {"license": 4, "id": 340282366920938463463374607431768211455, "file_name": "a.png", "height":12,"width": 16, "date": "2019"},
  {"id": "b", "file_name": "b.png", "width":16, "height":12},
  {"id": 5, "file_name": "elsewhere/z.png", "width":16, "height":12, "x":NaN}
],
"annotations": [
  {"id": 90071992547409931234, "image_id": "b", "category_id": 7, "bbox": [1.50, 1, 4, 4.0], "area": 12.125, "iscrowd":0,
   "segmentation": [[1.50, 1.0, 5.5, 1, 5.5, 5e0]], "attributes": {"k": [1, 2]}},
  {"id": 3, "image_id": 340282366920938463463374607431768211455, "category_id": 7, "bbox": [2,2,3,4], "area":12, "iscrowd": 0, "segmentation": {"size":[12,16],"counts":[SIMPLE]}},
  {"id": 1, "image_id": "b", "category_id": 7, "bbox": [3, 3, 4, 4], "area": 16}
],
"extra": {"deep": [ 1.0 ]}}"#;

fn begun(folder: &Folder) -> String {
    let counts = rectangle([2, 2, 5, 6]).counts;
    let counts = counts.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let text = FOREIGN.replace("SIMPLE", &counts);
    std::fs::write(folder.at("annotations.json"), &text).unwrap();
    text
}

fn start(folder: &Folder) -> Client {
    Client::start(&Options { images: folder.path().to_owned(), ..Options::default() }, None)
}

fn text(folder: &Folder) -> String {
    std::fs::read_to_string(folder.at("annotations.json")).unwrap()
}

/// Everything between the braces of an entry that begins so.
fn entry<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
    &text[start..start + text[start..].find(to).unwrap() + to.len()]
}

#[test]
fn what_was_not_changed_is_kept_byte_for_byte() {
    let folder = Folder::new(3);
    let before = begun(&folder);
    let client = start(&folder);
    assert_eq!(text(&folder), before);
    let (_, session) = client.get("/api/session");
    assert_eq!(session["others"], 1);
    let statuses: Vec<_> =
        session["images"].as_array().unwrap().iter().map(|image| &image["status"]).collect();
    assert_eq!(statuses, ["done", "done", "untouched"]);
    // The page sends back what it was shown, and nothing is written.
    let b = client.image(2);
    let body = json!({ "revision": 0, "status": "done", "objects": b["objects"] });
    assert_eq!(client.put("/api/images/2", &body), (200, json!({ "revision": 0 })));
    assert_eq!(text(&folder), before);
    // One more object in a.png, and a new image.
    let mut objects = client.image(1)["objects"].as_array().unwrap().clone();
    let mut added = object("new", [8, 8, 12, 12]);
    added["category_id"] = json!(7);
    objects.push(added.clone());
    client.save(1, 0, "done", &objects);
    client.save(3, 0, "done", &[added]);
    let after = text(&folder);
    for (from, to) in [
        ("{\"id\": 90071992547409931234", "[1, 2]}}"),
        ("{\"id\": 3, ", "]}}"),
        ("{\"id\": 1, \"image_id\"", "16}"),
        ("{\"id\": \"b\"", "12}"),
        ("{\"id\": 5,", "NaN}"),
        ("[ {\"id\":1} ]", "]"),
        ("{\"year\":2019", "}"),
        ("{\"id\": 7,", "[1,  2]}"),
        ("{\"deep\"", "}"),
    ] {
        assert_eq!(entry(&after, from, to), entry(&before, from, to));
    }
    assert!(
        after.contains("\"image_id\":340282366920938463463374607431768211455,\"category_id\":7"),
        "{after}"
    );
    assert!(
        after.contains("{\"license\":4,\"id\":340282366920938463463374607431768211455,"),
        "{after}"
    );
    assert!(after.contains("\"date\":\"2019\""));
    let keys: Vec<usize> = ["licenses", "info", "categories", "images", "annotations", "extra"]
        .map(|key| after.find(&format!("\"{key}\":")).unwrap())
        .into();
    assert!(keys.is_sorted());
}

#[test]
fn only_the_changed_keys_of_an_object_change() {
    let folder = Folder::new(3);
    begun(&folder);
    let client = start(&folder);
    client.put(
        "/api/categories",
        &json!({ "categories": [{ "id": 7, "name": "cyst" }, { "name": "node" }] }),
    );
    let mut objects = client.image(2)["objects"].as_array().unwrap().clone();
    assert_eq!(objects[0]["polygons"], json!([[1.5, 1.0, 5.5, 1.0, 5.5, 5.0]]));
    assert_eq!(
        (&objects[1]["mask"], &objects[1]["bbox"]),
        (&Value::Null, &json!([3.0, 3.0, 4.0, 4.0]))
    );
    objects[0]["category_id"] = json!(8);
    objects[1]["mask"] = mask([3, 3, 6, 6]);
    client.save(2, 0, "done", &objects);
    let after = text(&folder);
    assert!(after.contains("\"bbox\":[1.50, 1, 4, 4.0],\"area\":12.125"), "{after}");
    assert!(after.contains(
        "\"segmentation\":[[1.50, 1.0, 5.5, 1, 5.5, 5e0]],\"attributes\":{\"k\": [1, 2]}"
    ));
    assert!(after.contains("\"image_id\":\"b\",\"category_id\":8"));
    let file: Value = serde_json::from_str(&after.replace("NaN", "0")).unwrap();
    let annotation = &file["annotations"][2];
    assert_eq!(
        (&annotation["area"], &annotation["bbox"]),
        (&json!(9.0), &json!([3.0, 3.0, 3.0, 3.0]))
    );
    // Removed objects go, the others keep their order.
    client.save(2, 1, "done", &objects[1..]);
    assert!(!text(&folder).contains("attributes"));
    // A skipped image leaves the lists with all that is known of it, and comes back as it was.
    client.save(2, 2, "skipped", &objects[1..]);
    let aside = text(&folder);
    assert!(entry(&aside, "\"set_aside\"", "]}").contains("\"id\":\"b\""), "{aside}");
    client.save(2, 3, "done", &objects[1..]);
    assert!(!text(&folder).contains("set_aside"));
}

#[test]
fn ids_that_another_tool_gave_away_are_replaced_when_an_image_comes_back() {
    let folder = Folder::new(2);
    let client = folder.start();
    client.save(1, 0, "skipped", &[object("x", [1, 1, 5, 5])]);
    // Another tool numbers what it sees from 1.
    let mut file = folder.json();
    file["images"] = json!([{ "id": 1, "file_name": "b.png", "height": 12, "width": 16 }]);
    file["annotations"] = json!([{ "id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0 }]);
    std::fs::write(folder.at("annotations.json"), file.to_string()).unwrap();
    client.save(1, 1, "done", &[object("x", [1, 1, 5, 5])]);
    let file = folder.json();
    let pairs: Vec<_> = file["annotations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| (&a["id"], &a["image_id"]))
        .collect();
    assert_eq!(pairs.len(), 2);
    assert!(pairs[0].0 != pairs[1].0 && pairs[0].1 != pairs[1].1, "{pairs:?}");
    let dataset = folder.training();
    assert!(dataset.records.iter().all(|record| record.objects.len() == 1));
}

#[test]
fn a_file_about_other_images_or_of_another_kind_is_refused() {
    let folder = Folder::new(1);
    let open = |text: &str| {
        std::fs::write(folder.at("annotations.json"), text).unwrap();
        let error = Session::open(&folder.options(), None).err().unwrap();
        assert_eq!(std::fs::read_to_string(folder.at("annotations.json")).unwrap(), text);
        (sonotune_base::error::exit_code(&error), format!("{error:#}"))
    };
    let categories = r#""categories":[{"id":1,"name":"x"}]"#;
    let image = r#"{"id":1,"file_name":"other.png","width":2,"height":2}"#;
    let (code, message) = open(&format!("{{\"images\":[{image}],{categories}}}"));
    assert!(
        code == 3 && message.contains("is about other images") && message.contains("other.png"),
        "{message}"
    );
    let (code, message) = open("{\"images\": [");
    assert!(code == 3 && message.contains("ends too early"), "{message}");
    let aside = format!(
        r#"{{{categories},"images":[],"sonotune":{{"set_aside":[{{"image":{{"id":1}}}}]}}}}"#
    );
    let (code, message) = open(&aside);
    assert!(code == 3 && message.contains("set_aside"), "{message}");
    // An image of another size than the file says.
    let image = image.replace("other", "a");
    std::fs::write(folder.at("annotations.json"), format!("{{\"images\":[{image}],{categories}}}"))
        .unwrap();
    let client = folder.start();
    let refused = client.get("/api/images/1");
    assert_eq!(refused.0, 422);
    assert!(error(&refused).contains("12×16") && error(&refused).contains("2×2"), "{refused:?}");
}

#[test]
fn frames_of_a_clip_are_images_of_their_own() {
    let folder = Folder::new(0);
    let frame = |level: u8| sonotune_formats::Pixels {
        height: 12,
        width: 16,
        channels: 1,
        data: vec![level; 12 * 16],
    };
    let frames: Vec<_> = [10, 60, 110].map(frame).into();
    sonotune_formats::write::mjpeg_avi(&folder.at("clip.avi"), &frames, 95).unwrap();
    write_image(&folder.at("x.png"));
    let client = folder.start();
    assert_eq!(client.row(3)["name"], "clip.avi#2");
    client.save(3, 0, "done", &[object("x", [1, 1, 5, 5])]);
    client.save(4, 0, "done", &[]);
    let file = folder.json();
    assert_eq!(file["images"][0]["file_name"], "clip.avi");
    assert_eq!((&file["images"][0]["frame"], file["images"][1].get("frame")), (&json!(2), None));
    drop(client);
    let dataset = folder.training();
    assert_eq!(dataset.records[0].frame, Some(2));
    let client = folder.start();
    assert_eq!((&client.row(3)["objects"], &client.row(1)["objects"]), (&json!(1), &json!(0)));
    drop(client);
    // Frames that are not offered stay in the file.
    let frames = sonotune_dataset::FrameChoice::Every(std::num::NonZeroU32::new(3).unwrap());
    let client = Client::start(&Options { frames, ..folder.options() }, None);
    let (_, session) = client.get("/api/session");
    assert_eq!((session["images"].as_array().unwrap().len(), &session["others"]), (2, &json!(1)));
    client.save(1, 0, "done", &[]);
    assert_eq!(folder.json()["images"].as_array().unwrap().len(), 3);
}
