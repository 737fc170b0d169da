//! Other programs that write the same file, and other sessions that want to.

use serde_json::{Value, json};
use sonotune_annotate::Session;

use crate::support::{Folder, error, object, read_json};

/// What another program does to the file.
fn edit(folder: &Folder, change: impl FnOnce(&mut Value)) {
    let mut file = folder.json();
    change(&mut file);
    std::fs::write(folder.at("annotations.json"), file.to_string()).unwrap();
}

fn two_images() -> (Folder, crate::support::Client) {
    let folder = Folder::new(3);
    let client = folder.start();
    client.save(1, 0, "done", &[object("x", [1, 1, 5, 5])]);
    client.save(2, 0, "done", &[object("y", [2, 2, 6, 6])]);
    (folder, client)
}

#[test]
fn changes_of_other_images_are_merged() {
    let (folder, client) = two_images();
    let mut events = client.listen();
    edit(&folder, |file| {
        file["annotations"][1]["category_id"] = json!(2);
        file["reviewed"] = json!(true);
    });
    let event = events.next("image");
    assert_eq!((&event["id"], &event["client"]), (&json!(2), &Value::Null));
    assert!(
        events.next("file")["text"].as_str().unwrap().contains("1 image of this session changed")
    );
    // Image 1 is at the revision that its page knows.
    client.save(1, 1, "done", &[object("x", [1, 1, 7, 7])]);
    let file = folder.json();
    assert_eq!(
        (&file["annotations"][1]["category_id"], &file["reviewed"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(file["annotations"][0]["area"], 36.0);
    assert_eq!(client.image(2)["objects"][0]["category_id"], 2);
}

#[test]
fn an_image_that_both_changed_is_refused_and_ours_is_kept_beside() {
    let (folder, client) = two_images();
    edit(&folder, |file| file["annotations"][1]["category_id"] = json!(2));
    let before = folder.json();
    let body = json!({ "revision": 1, "status": "done", "objects": [object("y", [2, 2, 9, 9])] });
    let refused = client.put("/api/images/2", &body);
    assert_eq!(refused.0, 409);
    assert!(error(&refused).contains("annotations.kept-1.json"), "{refused:?}");
    assert_eq!(refused.1["current"]["objects"][0]["category_id"], 2);
    assert_eq!(folder.json(), before);
    let kept = read_json(&folder.at("annotations.kept-1.json"));
    assert_eq!(
        (&kept["annotations"][0]["area"], &kept["images"][0]["file_name"]),
        (&json!(49.0), &json!("b.png"))
    );
    // The same page tries again, and the file beside stays one.
    client.put("/api/images/2", &body);
    assert!(!folder.at("annotations.kept-2.json").exists());
    client.save(2, 2, "done", &[object("y", [2, 2, 9, 9])]);
    let summary = client.stop();
    assert_eq!(summary.kept.len(), 1);
}

#[test]
fn a_file_that_another_program_broke_is_left_alone_until_it_is_whole() {
    let (folder, client) = two_images();
    let whole = std::fs::read(folder.at("annotations.json")).unwrap();
    std::fs::write(folder.at("annotations.json"), &whole[..whole.len() / 2]).unwrap();
    let body = json!({ "revision": 0, "status": "done", "objects": [object("z", [3, 3, 6, 6])] });
    let refused = client.put("/api/images/3", &body);
    assert_eq!(refused.0, 409);
    let said = error(&refused);
    assert!(
        said.contains("ends too early")
            && said.contains("kept-1.json")
            && said.contains("kept-2.json"),
        "{said}"
    );
    assert_eq!(std::fs::read(folder.at("annotations.json")).unwrap(), whole[..whole.len() / 2]);
    let ours = read_json(&folder.at("annotations.kept-1.json"));
    assert_eq!(ours["annotations"].as_array().unwrap().len(), 2);
    assert_eq!(read_json(&folder.at("annotations.kept-2.json"))["annotations"][0]["area"], 9.0);
    std::fs::write(folder.at("annotations.json"), &whole).unwrap();
    assert_eq!(client.put("/api/images/3", &body).0, 200);
    assert_eq!(folder.json()["annotations"].as_array().unwrap().len(), 3);
}

#[test]
fn a_removed_file_is_written_again_whole() {
    let (folder, client) = two_images();
    let mut events = client.listen();
    std::fs::remove_file(folder.at("annotations.json")).unwrap();
    assert!(events.next("file")["text"].as_str().unwrap().contains("was removed"));
    client.save(3, 0, "done", &[]);
    assert_eq!(folder.json()["images"].as_array().unwrap().len(), 3);
}

#[test]
fn a_second_session_is_told_who_has_the_file() {
    let folder = Folder::new(1);
    let client = folder.start();
    let error = Session::open(&folder.options(), None).err().unwrap();
    assert_eq!(sonotune_base::error::exit_code(&error), 2);
    let expected = format!("is being annotated by process {}", std::process::id());
    assert!(error.to_string().contains(&expected), "{error}");
    client.stop();
    drop(Session::open(&folder.options(), None).unwrap());
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[cfg(unix)]
#[test]
fn a_link_to_the_file_stays_a_link() {
    let folder = Folder::new(1);
    let real = tempfile::tempdir().unwrap();
    drop(folder.start());
    std::fs::rename(folder.at("annotations.json"), real.path().join("real.json")).unwrap();
    std::os::unix::fs::symlink(real.path().join("real.json"), folder.at("annotations.json"))
        .unwrap();
    folder.start().save(1, 0, "done", &[]);
    assert!(folder.at("annotations.json").is_symlink());
    assert_eq!(read_json(&real.path().join("real.json"))["images"].as_array().unwrap().len(), 1);
}
