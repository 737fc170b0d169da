//! MONAI Label's protocol.

use serde_json::{Value, json};
use sonotune_formats::volume::{View, Volume};

use super::{client::Reply, disc, of_images, picture, serving};
use crate::Options;

const DETAILS: &str = "name=\"params\"";
const MAP: &str = "name=\"image\"";

/// The content of a part of an answer.
fn part<'a>(reply: &'a Reply, name: &str) -> &'a [u8] {
    let find =
        |from: &[u8], what: &[u8]| from.windows(what.len()).position(|at| at == what).unwrap();
    let limit = &reply.body[..find(&reply.body, b"\r\n")];
    let rest = &reply.body[find(&reply.body, name.as_bytes())..];
    let rest = &rest[find(rest, b"\r\n\r\n") + 4..];
    &rest[..find(rest, &[b"\r\n", limit].concat())]
}

fn opened(bytes: &[u8], end: &str) -> Volume {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("label{end}"));
    std::fs::write(&path, bytes).unwrap();
    Volume::open(&path).unwrap()
}

fn pixels(volume: &Volume, z: usize) -> Vec<u8> {
    volume.labels(View::Axial, z, None).unwrap().data
}

/// 60x40 voxels in 3 planes of 0.2, 0.3 and 1 mm, each with a bright square.
fn nifti(big_endian: bool) -> Vec<u8> {
    let mut file = vec![0; 352];
    let mut put = |at: usize, bytes: Vec<u8>| {
        let bytes: Vec<u8> = if big_endian { bytes.into_iter().rev().collect() } else { bytes };
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    put(0, 348_i32.to_le_bytes().to_vec());
    for (i, n) in [3_i16, 60, 40, 3, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, n.to_le_bytes().to_vec());
    }
    put(70, 512_i16.to_le_bytes().to_vec());
    put(72, 16_i16.to_le_bytes().to_vec());
    for (i, n) in [1.0_f32, 0.2, 0.3, 1.0].into_iter().enumerate() {
        put(76 + 4 * i, n.to_le_bytes().to_vec());
    }
    put(108, 352.0_f32.to_le_bytes().to_vec());
    put(252, 1_i16.to_le_bytes().to_vec());
    file[344..348].copy_from_slice(b"n+1\0");
    for i in 0..60 * 40 * 3 {
        let (x, y) = (i % 60, i / 60 % 40);
        let bright = (10..20).contains(&x) && (10..20).contains(&y);
        let value = if bright { 1000_u16 } else { 20 };
        file.extend(if big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }
    file
}

#[test]
fn the_points_of_a_volume_select_its_plane() {
    let server = serving(|_| (), Options::default());
    for big_endian in [false, true] {
        let volume = nifti(big_endian);
        let session =
            server.send_form("PUT /session/", &[("files", Some("a.nii"), &volume)]).json();
        let id = session["session_id"].as_str().unwrap();
        let params =
            json!({ "foreground": [[30, 20, 1]], "background": [], "label": "mass" }).to_string();
        let line = format!("POST /infer/fake?image=&session_id={id}");
        let reply = server.send_form(&line, &[("params", None, params.as_bytes())]);
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        assert!(
            reply.header("content-type").unwrap().starts_with("multipart/form-data; boundary=")
        );
        let details: Value = serde_json::from_slice(part(&reply, DETAILS)).unwrap();
        assert_eq!(details["label_names"], json!({ "mass": 1 }));
        let map = opened(part(&reply, MAP), ".nii.gz");
        assert_eq!((map.shape.as_slice(), map.spacing[2]), ([3, 40, 60].as_slice(), 0.2));
        let area = |z| pixels(&map, z).iter().filter(|&&label| label == 1).count() as u64;
        assert_eq!([area(0), area(1), area(2)], [0, disc(), 0]);
        let given = opened(&volume, ".nii").geometry;
        assert_eq!(map.geometry, given);
        let selector = format!("/session/{id}");
        assert_eq!(server.get(&selector).json()["image"], json!("a.nii"));
        assert_eq!(server.send(&format!("DELETE {selector}"), &[], b"").status, 200);
        assert_eq!(server.get(&selector).status, 404);
        assert_eq!(server.send_form(&line, &[("params", None, params.as_bytes())]).status, 404);
    }
}

#[test]
fn a_box_asks_about_each_of_its_planes() {
    let server = serving(|_| (), Options::default());
    let params = json!({ "roi": [5, 6, 15, 26, 1, 3] }).to_string();
    let volume = nifti(false);
    let parts: [(&str, Option<&str>, &[u8]); 2] =
        [("params", None, params.as_bytes()), ("file", Some("a.nii"), &volume)];
    let reply = server.send_form("POST /infer/fake?image=x&output=image", &parts);
    assert!(reply.header("content-disposition").unwrap().contains("label.nii.gz"));
    let map = opened(&reply.body, ".nii.gz");
    let area = |z| pixels(&map, z).iter().filter(|&&label| label == 1).count();
    assert_eq!([area(0), area(1), area(2)], [0, 200, 200]);
}

#[test]
fn without_points_categories_are_numbered_from_one() {
    let server = serving(|_| (), Options::default());
    let file: (&str, Option<&str>, &[u8]) = ("file", Some("a.png"), &picture(40, 60));
    let reply = server.send_form("POST /infer/fake?image=", &[file]);
    let details: Value = serde_json::from_slice(part(&reply, DETAILS)).unwrap();
    assert_eq!(details["label_names"], json!({ "lesion": 1, "cyst": 2 }));
    let map = opened(part(&reply, MAP), ".nrrd");
    assert_eq!(map.shape, [1, 40, 60]);
    let labels = pixels(&map, 0);
    assert_eq!((labels[15 * 60 + 15], labels.iter().filter(|&&label| label > 0).count()), (2, 100));
}

#[test]
fn an_nrrd_stays_where_it_was() {
    let server = serving(|_| (), Options::default());
    let mut volume = b"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 60 40 2\n\
        space directions: (0,0.5,0) (0.25,0,0) (0,0,2)\nkinds: domain domain domain\nencoding: raw\n\
        space origin: (1,-2,3.5)\n\n"
        .to_vec();
    volume.extend([90; 60 * 40 * 2]);
    let params = json!({ "foreground": [[30, 20, 0]] }).to_string();
    let parts: [(&str, Option<&str>, &[u8]); 2] =
        [("params", None, params.as_bytes()), ("file", Some("a.nrrd"), &volume)];
    let reply = server.send_form("POST /infer/fake?image=x&output=image", &parts);
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let map = opened(&reply.body, ".nrrd");
    assert_eq!(map.geometry, opened(&volume, ".nrrd").geometry);
    assert_eq!(pixels(&map, 0).iter().filter(|&&label| label == 1).count() as u64, disc());
}

#[test]
fn images_of_the_folders_and_earlier_uploads_are_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("case7.png"), picture(40, 60)).unwrap();
    let options = Options { images: vec![folder.path().to_owned()], ..Options::default() };
    let server = serving(|_| (), options);
    let infer = |image: &str| {
        server
            .send_form(&format!("POST /infer/fake?image={image}"), &[("params", None, b"{}")])
            .status
    };
    assert_eq!((infer("case7"), infer("case7.png")), (200, 200));
    assert_eq!(
        [infer("case8"), infer("..%2Fcase7"), infer("%2Fetc%2Fhostname"), infer("")],
        [422; 4]
    );
    let png = picture(40, 60);
    let added = server.send_form("PUT /datastore/?image=mine", &[("file", Some("a.png"), &png)]);
    assert_eq!((added.json(), infer("mine")), (json!({ "image": "mine" }), 200));
    assert_eq!(
        server.send_form("PUT /datastore/label?image=mine", &[("label", Some("l"), b"")]).status,
        405
    );
}

#[test]
fn volumes_that_cannot_be_are_refused() {
    let server = serving(|_| (), Options::default());
    let mut huge = nifti(false);
    for at in [42, 44, 46] {
        huge[at..at + 2].copy_from_slice(&i16::MAX.to_le_bytes());
    }
    let outside = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: /etc/passwd\n\n";
    let large = b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4000000 400000\nencoding: gzip\n\n";
    let short = &nifti(false)[..400];
    for (volume, what) in [
        (huge.as_slice(), "at most"),
        (outside.as_slice(), "another file"),
        (large.as_slice(), "at most"),
        (short, "the uploaded image"),
        (b"NRRD0004\n", "the uploaded image"),
    ] {
        let reply = server.send_form("POST /infer/fake?image=", &[("file", Some("a.nii"), volume)]);
        assert_eq!(reply.status, 422, "{what}");
        assert!(reply.error().contains(what), "{}", reply.error());
        assert!(!reply.error().contains("/tmp"), "{}", reply.error());
    }
    let ask = |params: Value| {
        let params = params.to_string();
        let volume = nifti(false);
        let parts: [(&str, Option<&str>, &[u8]); 2] =
            [("params", None, params.as_bytes()), ("file", Some("a.nii"), &volume)];
        server.send_form("POST /infer/fake?image=", &parts)
    };
    for (params, what) in [
        (json!({ "foreground": [[1, 1, 3]] }), "no plane 3"),
        (json!({ "foreground": [[1, 1, -1]] }), "no plane -1"),
        (json!({ "foreground": [[1, 1]] }), "[x, y, z]"),
        (json!({ "foreground": [[61, 1, 0]] }), "outside"),
        (json!({ "roi": [1, 2, 3] }), "roi"),
        (json!({ "roi": [1, 2, 3, 4, 7, 9] }), "no plane 7"),
        (json!([1]), "params"),
    ] {
        let reply = ask(params);
        assert_eq!(reply.status, 422, "{what}");
        assert!(reply.error().contains(what), "{}", reply.error());
    }
}

#[test]
fn a_client_learns_what_there_is_and_logs_in_with_the_token() {
    let server = serving(|_| (), Options::default());
    let info = server.get("/info/").json();
    assert_eq!(info["models"]["fake"]["type"], json!("deepgrow"));
    assert_eq!(info["models"]["fake"]["labels"], json!({ "lesion": 1, "cyst": 2 }));
    assert_eq!(server.get("/auth/").json(), json!({ "enabled": false }));
    assert_eq!(server.get("/datastore/?output=all").json()["objects"], json!({}));
    assert_eq!(
        (server.get("/train/").status, server.get("/train/?check_if_running=true").status),
        (404, 404)
    );
    let token = "0123456789abcdef";
    let options =
        Options { token: Some(crate::server::Token::chosen(token).unwrap()), ..Options::default() };
    let server = serving(of_images, options);
    assert_eq!(server.get("/auth/").json(), json!({ "enabled": true }));
    assert_eq!(server.get("/info/").status, 401);
    let kind = ["Content-Type: application/x-www-form-urlencoded"];
    let login = |password: &str| {
        let body = format!("username=a&password={password}&grant_type=password");
        server.send("POST /auth/token", &kind, body.as_bytes())
    };
    assert_eq!(login("wrong").status, 401);
    assert_eq!(login(token).json()["access_token"], json!(token));
    let shown = [&*format!("Authorization: bearer {token}")];
    let info = server.send("GET /info/", &shown, b"").json();
    assert_eq!(info["models"]["fake"]["type"], json!("classification"));
    assert_eq!(server.send("GET /auth/token/valid", &shown, b"").status, 200);
}
