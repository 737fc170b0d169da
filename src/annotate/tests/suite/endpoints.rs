//! What each path answers.

use serde_json::{Value, json};

use crate::support::{Folder, SIZE, agent, error, mask, object, read_json, reply};

#[test]
fn a_session_lists_images_categories_and_no_sizes_until_they_are_asked_for() {
    let folder = Folder::new(3);
    let client = folder.start();
    let (code, session) = client.get("/api/session");
    assert_eq!(code, 200);
    assert_eq!(session["model"], Value::Null);
    assert_eq!(
        session["file"],
        folder.at("annotations.json").canonicalize().unwrap().to_str().unwrap()
    );
    assert_eq!(session["notes"], json!([]));
    let categories = session["categories"].as_array().unwrap();
    assert_eq!(categories.len(), 2);
    assert_eq!((&categories[1]["id"], &categories[1]["name"]), (&json!(2), &json!("tumour")));
    let names: Vec<_> =
        session["images"].as_array().unwrap().iter().map(|image| &image["name"]).collect();
    assert_eq!(names, ["a.png", "b.png", "c.png"]);
    assert_eq!(session["images"][1]["width"], Value::Null);
    let image = client.image(2);
    assert_eq!((&image["width"], &image["height"]), (&json!(SIZE.1), &json!(SIZE.0)));
    assert_eq!((&image["status"], &image["revision"]), (&json!("untouched"), &json!(0)));
    assert_eq!(client.row(2)["width"], SIZE.1);
}

#[test]
fn pixels_are_the_image_as_decoded() {
    let folder = Folder::new(1);
    let client = folder.start();
    let mut answer = agent()
        .get(format!("{}/api/images/1/pixels", client.base))
        .header("Authorization", &client.authorization())
        .call()
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "image/png");
    let png = image::load_from_memory(&answer.body_mut().read_to_vec().unwrap()).unwrap();
    let expected = image::open(folder.at("a.png")).unwrap();
    assert_eq!(png.to_rgb8(), expected.to_rgb8());
    std::fs::write(folder.at("a.png"), b"GIF89a").unwrap();
    let reply = client.get("/api/images/1/pixels");
    assert_eq!(reply.0, 422);
    assert!(error(&reply).contains("a.png"), "{reply:?}");
}

#[test]
fn a_saved_image_is_in_the_file_before_the_answer_and_trains_as_it_is() {
    let folder = Folder::new(4);
    let client = folder.start();
    let polygon = json!({ "uid": "p", "category_id": 2, "mask": null, "source": "manual",
        "polygons": [[2.25, 1.0, 9.5, 1.0, 9.5, 8.0]], "seconds": 3.5 });
    let clicked = json!({ "uid": "m", "category_id": 1, "mask": mask([3, 2, 7, 8]), "source": "model", "score": 0.93,
        "bbox": [0, 0, 1, 1], "prompt": { "points": [{ "x": 4.5, "y": 5, "positive": true }], "bbox": null } });
    let boxed =
        json!({ "uid": "b", "category_id": 1, "mask": null, "bbox": [10.5, 3.0, 20.0, 4.0] });
    let body = json!({ "revision": 0, "status": "done", "notes": "calm", "seconds": 8.04,
        "objects": [polygon, clicked, boxed] });
    assert_eq!(client.put("/api/images/1", &body), (200, json!({ "revision": 1 })));
    let file = folder.json();
    let image = &file["images"][0];
    assert_eq!(image["file_name"], "a.png");
    assert_eq!((&image["height"], &image["width"]), (&json!(SIZE.0), &json!(SIZE.1)));
    assert_eq!(image["sonotune"], json!({ "status": "done", "notes": "calm", "seconds": 8.0 }));
    let annotations = file["annotations"].as_array().unwrap();
    assert_eq!(annotations[0]["segmentation"], json!([[2.25, 1.0, 9.5, 1.0, 9.5, 8.0]]));
    assert_eq!(
        annotations[0]["sonotune"],
        json!({ "uid": "p", "source": "manual", "seconds": 3.5 })
    );
    // The box and the area are the mask's, whatever the page says.
    assert_eq!(annotations[1]["bbox"], json!([3.0, 2.0, 4.0, 6.0]));
    assert_eq!(annotations[1]["area"], 24.0);
    assert_eq!(annotations[1]["segmentation"], mask([3, 2, 7, 8]));
    assert_eq!(annotations[1]["sonotune"]["prompt"]["points"][0]["x"], 4.5);
    assert_eq!(annotations[1]["sonotune"]["score"], 0.93);
    assert_eq!(annotations[2]["bbox"], json!([10.5, 3.0, 5.5, 4.0]));
    assert_eq!(annotations[2].get("segmentation"), None);
    // A negative; a draft; one that is skipped with what was drawn; one that nobody touched.
    client.save(2, 0, "done", &[]);
    client.save(3, 0, "skipped", &[object("s", [1, 1, 4, 4])]);
    let dataset = folder.training();
    let objects: Vec<_> = dataset.records.iter().map(|record| record.objects.len()).collect();
    assert_eq!(objects, [3, 0]);
    let summary = client.stop();
    assert_eq!((summary.done, summary.skipped, summary.untouched), (2, 1, 1));
    assert_eq!((summary.objects, summary.saved), (4, 3));
}

#[test]
fn only_finished_and_begun_images_are_learnt_from_and_nothing_is_lost_on_the_way() {
    let folder = Folder::new(1);
    let client = folder.start();
    let drawn = [object("x", [1, 1, 5, 5])];
    let mut revision = 0;
    for (status, objects, listed) in [
        ("draft", &[][..], 0),
        ("draft", &drawn[..], 1),
        ("skipped", &drawn[..], 0),
        ("done", &drawn[..], 1),
        ("done", &[][..], 1),
        ("untouched", &[][..], 0),
    ] {
        revision = client.save(1, revision, status, objects);
        let file = folder.json();
        assert_eq!(file["images"].as_array().unwrap().len(), listed, "{status}");
        let aside = file["sonotune"]["set_aside"].as_array().map_or(0, Vec::len);
        assert_eq!(aside, 1 - listed);
        let image = client.image(1);
        assert_eq!(image["status"], status);
        assert_eq!(image["objects"].as_array().unwrap().len(), objects.len());
    }
    drop(client);
    let folder = Folder::new(1);
    let client = folder.start();
    client.save(1, 0, "skipped", &[]);
    assert_eq!(folder.json()["sonotune"]["set_aside"][0]["image"]["sonotune"]["status"], "skipped");
    drop(client);
    // A skipped image comes back with its objects in the next session.
    let client = folder.start();
    client.save(1, 0, "skipped", &drawn);
    drop(client);
    let client = folder.start();
    let image = client.image(1);
    assert_eq!((&image["status"], &image["objects"][0]["uid"]), (&json!("skipped"), &json!("x")));
}

#[test]
fn an_unchanged_image_is_not_written_and_an_old_revision_is_refused() {
    let folder = Folder::new(1);
    let client = folder.start();
    let mut events = client.listen();
    let body = json!({ "revision": 0, "status": "draft", "objects": [object("x", [1, 1, 5, 5])], "client": "tab 1" });
    client.put("/api/images/1", &body);
    let event = events.next("image");
    assert_eq!(event, json!({ "kind": "image", "id": 1, "revision": 1, "client": "tab 1" }));
    let before = std::fs::metadata(folder.at("annotations.json")).unwrap().modified().unwrap();
    let again = json!({ "revision": 1, "status": "draft", "objects": client.image(1)["objects"] });
    assert_eq!(client.put("/api/images/1", &again), (200, json!({ "revision": 1 })));
    assert_eq!(
        std::fs::metadata(folder.at("annotations.json")).unwrap().modified().unwrap(),
        before
    );
    // The answer to the first save was lost, and the page tries again.
    assert_eq!(client.put("/api/images/1", &body), (200, json!({ "revision": 1 })));
    let other = json!({ "revision": 0, "status": "draft", "objects": [object("x", [1, 1, 6, 6])] });
    let refused = client.put("/api/images/1", &other);
    assert_eq!(refused.0, 409);
    assert!(error(&refused).contains("another tab"), "{refused:?}");
    assert_eq!(refused.1["current"], client.image(1));
    client.stop();
    assert!(events.end().contains("stopping"));
}

#[test]
fn categories_are_added_renamed_and_not_removed_while_in_use() {
    let folder = Folder::new(1);
    let client = folder.start();
    client.save(1, 0, "done", &[object("x", [1, 1, 5, 5])]);
    let wanted = json!({ "categories": [{ "id": 1, "name": "simple cyst" }, { "id": 2, "name": "tumour" },
        { "name": "node" }] });
    let (code, reply) = client.put("/api/categories", &wanted);
    assert_eq!((code, &reply["categories"][2]["id"]), (200, &json!(3)), "{reply}");
    assert_eq!(folder.json()["categories"][0], json!({ "id": 1, "name": "simple cyst" }));
    let refused =
        client.put("/api/categories", &json!({ "categories": [{ "id": 2, "name": "tumour" }] }));
    assert_eq!(refused.0, 409);
    assert!(error(&refused).contains("\"simple cyst\" has 1 object"), "{refused:?}");
    // A page that does not know of the new name still saves by the id.
    client.save(1, 1, "done", &[object("x", [1, 1, 6, 6])]);
    for (bad, part) in [
        (json!([]), "at least one"),
        (json!([{ "id": 1, "name": " " }]), "1 to 200"),
        (json!([{ "id": 1, "name": "a" }, { "name": "a" }]), "two categories are named"),
        (json!([{ "id": 1, "name": "a" }, { "id": 9, "name": "b" }]), "no category 9"),
        (json!([{ "id": 1, "name": "a" }, { "id": 1, "name": "b" }]), "the id of another"),
    ] {
        let refused = client.put("/api/categories", &json!({ "categories": bad }));
        assert_eq!(refused.0, 422, "{refused:?}");
        assert!(error(&refused).contains(part), "{refused:?}");
    }
    assert_eq!(folder.json()["categories"].as_array().unwrap().len(), 3);
}

#[test]
fn strangers_forms_and_other_paths_are_turned_away() {
    let folder = Folder::new(1);
    std::fs::write(folder.at("secret.txt"), "secret").unwrap();
    let client = folder.start();
    let at = |path: &str| format!("{}{path}", client.base);
    for path in [
        "/",
        "/api/session",
        "/api/images/1",
        "/api/images/1/pixels",
        "/api/events",
        "/assets/index.html",
    ] {
        assert_eq!(reply(agent().get(at(path)).call()).0, 401, "{path}");
        let wrong = agent().get(at(path)).header("Authorization", "Token 0123456789abcdef");
        assert_eq!(reply(wrong.call()).0, 401, "{path}");
    }
    let entered = agent().get(at(&format!("/?token={}", client.token))).call().unwrap();
    assert_eq!(entered.status(), 303);
    let cookie =
        entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("sonotune-"), "{cookie}");
    let page = agent().get(at("/")).header("Cookie", &cookie).call().unwrap();
    assert_eq!(page.status(), 200);
    assert!(
        page.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'")
    );
    let body = json!({ "revision": 0, "status": "done", "objects": [] });
    let bare = agent().put(at("/api/images/1")).header("Authorization", &client.authorization());
    assert_eq!(reply(bare.send_json(&body)).0, 403);
    let form = agent().put(at("/api/images/1")).header("Authorization", &client.authorization());
    let form = form.header("X-Sonotune", "1").header("Content-Type", "text/plain");
    assert_eq!(reply(form.send(body.to_string())).0, 403);
    let foreign =
        agent().put(at("/api/images/1")).header("Cookie", &cookie).header("X-Sonotune", "1");
    let foreign =
        foreign.header("Origin", "https://evil.example").header("Content-Type", "application/json");
    assert_eq!(reply(foreign.send(body.to_string())).0, 403);
    for path in [
        "/api/images/0",
        "/api/images/2",
        "/api/images/-1",
        "/api/images/18446744073709551616",
        "/api/images/..%2fsecret.txt/pixels",
        "/api/images/a.png",
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fsecret.txt",
        "/assets/%2fetc%2fpasswd",
        "/assets//etc/passwd",
        "/secret.txt",
    ] {
        let (code, body) = client.get(path);
        assert_eq!(code, 404, "{path}: {body}");
        assert!(!body.to_string().contains("secret\""), "{path}");
    }
    assert_eq!(read_json(&folder.at("annotations.json"))["images"], json!([]));
}
