//! Saves that come together, and saves that fail.

use std::process::Command;

use serde_json::{Value, json};
use sonotune_coco::CocoFile;

use crate::{
    killed,
    support::{Folder, Reply, agent, error, object, reply},
};

#[test]
fn of_two_pages_at_once_one_is_told_each_time_and_no_change_is_lost() {
    const ROUNDS: u64 = 25;
    let folder = Folder::new(2);
    let client = folder.start();
    let conflicts = std::thread::scope(|scope| {
        let page = |name: &'static str| {
            let client = &client;
            move || {
                let mut conflicts = 0;
                for round in 0..ROUNDS {
                    // Adds an object to what is there, and starts again if somebody was faster.
                    loop {
                        let image = client.image(1);
                        let mut objects = image["objects"].as_array().unwrap().clone();
                        objects.push(object(&format!("{name}{round}"), [1, 1, 4, 4]));
                        let body = json!({ "revision": image["revision"], "status": "draft", "objects": objects });
                        match client.put("/api/images/1", &body).0 {
                            200 => break,
                            409 => conflicts += 1,
                            code => panic!("{code}"),
                        }
                    }
                }
                conflicts
            }
        };
        let pages = [scope.spawn(page("left")), scope.spawn(page("right"))];
        pages.map(|page| page.join().unwrap()).iter().sum::<u64>()
    });
    let file = CocoFile::read(&folder.at("annotations.json")).unwrap();
    assert_eq!(file.annotations.len() as u64, 2 * ROUNDS);
    assert_eq!(client.image(1)["revision"], 2 * ROUNDS);
    assert!(conflicts > 0, "the pages never met");
}

#[test]
fn a_save_that_fails_changes_nothing_and_the_next_one_works() {
    let folder = Folder::new(2);
    let elsewhere = tempfile::tempdir().unwrap();
    let place = elsewhere.path().join("saved");
    let options = sonotune_annotate::Options {
        annotations: Some(place.join("mine.json")),
        ..folder.options()
    };
    let client = crate::support::Client::start(&options, None);
    client.save(1, 0, "done", &[object("x", [1, 1, 5, 5])]);
    let away = elsewhere.path().join("away");
    std::fs::rename(&place, &away).unwrap();
    let body = json!({ "revision": 1, "status": "done", "objects": [] });
    let failed = client.put("/api/images/1", &body);
    assert_eq!(failed.0, 500);
    assert!(error(&failed).contains("mine.json"), "{failed:?}");
    let refused =
        client.put("/api/categories", &json!({ "categories": [{ "id": 1, "name": "other" }] }));
    assert_eq!(refused.0, 500);
    let begun = json!({ "revision": 0, "status": "done", "objects": [] });
    assert_eq!(client.put("/api/images/2", &begun).0, 500);
    let image = client.image(1);
    assert_eq!((&image["revision"], image["objects"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(client.row(2)["status"], "untouched");
    std::fs::rename(&away, &place).unwrap();
    let file = CocoFile::read(&place.join("mine.json")).unwrap();
    assert_eq!((file.annotations.len(), file.categories.len()), (1, 2));
    assert_eq!(client.put("/api/images/1", &body).0, 200);
    assert_eq!(client.put("/api/images/2", &begun).0, 200);
    assert_eq!(CocoFile::read(&place.join("mine.json")).unwrap().images.len(), 2);
}

/// The disk is as good as full for a process that may not write more than a few kilobytes into a file.
#[test]
fn on_a_full_disk_the_file_stays_and_the_page_is_told() {
    let folder = Folder::new(1);
    let mut limited = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\"";
    limited.args(["-c", script]).arg(std::env::current_exe().unwrap());
    let (mut child, url) = killed::start(limited, &folder);
    let (base, token) = url.split_once("/?token=").unwrap();
    let put = |revision: u64, notes: &str| -> Reply {
        let body = json!({ "revision": revision, "status": "draft", "notes": notes,
            "objects": [object("x", [1, 1, 5, 5])] });
        let request = agent().put(format!("{base}/api/images/1")).header("X-Sonotune", "1");
        reply(request.header("Authorization", format!("Token {token}")).send_json(&body))
    };
    assert_eq!(put(0, "short"), (200, json!({ "revision": 1 })));
    let before = std::fs::read(folder.at("annotations.json")).unwrap();
    let full = put(1, &"long ".repeat(4000));
    assert_eq!(full.0, 507, "{full:?}");
    assert!(
        error(&full).contains("annotations.json") && error(&full).contains("bytes"),
        "{full:?}"
    );
    assert_eq!(std::fs::read(folder.at("annotations.json")).unwrap(), before);
    assert_eq!(put(1, "short again"), (200, json!({ "revision": 2 })));
    let file: Value = folder.json();
    assert_eq!(file["images"][0]["sonotune"]["notes"], "short again");
    child.kill().unwrap();
    child.wait().unwrap();
}
