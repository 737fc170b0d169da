//! Requests that no page of ours would send.

use serde_json::{Value, json};

use crate::support::{Folder, error, mask, object};

#[test]
fn malformed_objects_are_refused_with_the_reason_and_nothing_is_saved() {
    let folder = Folder::new(1);
    let client = folder.start();
    let before = std::fs::read(folder.at("annotations.json")).unwrap();
    let with = |key: &str, value: Value| {
        let mut object = object("x", [1, 1, 5, 5]);
        object[key] = value;
        vec![object]
    };
    let long: Vec<f64> = (0..4_000_000).map(|i| f64::from(i % 7) * 2.0).collect();
    let cases = [
        (with("mask", json!({ "size": [16, 12], "counts": "231" })), "16×12"),
        (
            with("mask", json!({ "size": [4_000_000_000_u32, 4_000_000_000_u32], "counts": "0" })),
            "4000000000",
        ),
        (with("mask", json!({ "size": [12, 16], "counts": "" })), "RLE counts"),
        (with("mask", json!({ "size": [12, 16], "counts": "o".repeat(9999) })), "RLE counts"),
        (with("mask", json!({ "size": [12, 16], "counts": "PPPPPPPPPP8" })), "RLE counts"),
        (with("mask", mask([0, 0, 0, 0])), "covers no pixel"),
        (with("mask", Value::Null), "neither mask nor polygons nor box"),
        (with("polygons", json!([[1, 1, 5, 5]])), "at least 3 points"),
        (with("polygons", json!([[90, 90, 95, 90, 95, 95]])), "covers no pixel"),
        (with("polygons", json!([long])), "crosses the image"),
        (with("category_id", json!(9)), "category 9"),
        (with("category_id", json!(u64::MAX)), "category 18446744073709551615"),
        (with("uid", json!("")), "1 to 64"),
        (with("uid", json!("é".repeat(65))), "1 to 64"),
        (vec![object("x", [1, 1, 5, 5]), object("x", [1, 1, 6, 6])], "two objects have the uid"),
        (
            vec![json!({ "uid": "b", "category_id": 1, "mask": null, "bbox": [1, 1, -2, 4] })],
            "width and height",
        ),
        (
            vec![json!({ "uid": "b", "category_id": 1, "mask": null, "bbox": [50, 1, 2, 4] })],
            "covers no pixel",
        ),
        (vec![object("x", [1, 1, 2, 2]); 2001], "2001 objects"),
    ];
    for (objects, part) in cases {
        let body = json!({ "revision": 0, "status": "draft", "objects": objects });
        let refused = client.put("/api/images/1", &body);
        assert_eq!(refused.0, 422, "{part}: {refused:?}");
        assert!(error(&refused).contains(part), "{part}: {refused:?}");
    }
    assert_eq!(std::fs::read(folder.at("annotations.json")).unwrap(), before);
    assert_eq!(client.image(1)["revision"], 0);
}

#[test]
fn what_is_not_the_right_json_is_400_and_too_much_is_413() {
    let folder = Folder::new(1);
    let client = folder.start();
    let nested = "[".repeat(100_000);
    for body in [
        "",
        "nonsense",
        "{\"revision\":-1}",
        "[]",
        "null",
        &nested,
        "{\"revision\":0,\"objects\":[{}],\"status\":\"draft\"}",
        "{\"revision\":0,\"objects\":[],\"status\":\"finished\"}",
        "{\"revision\":1e999,\"objects\":[],\"status\":\"draft\"}",
    ] {
        let refused = client.put_text("/api/images/1", body);
        assert_eq!(refused.0, 400, "{:.80}: {refused:?}", body);
        assert!(error(&refused).starts_with("the request's JSON: "));
    }
    let refused = client.put_text("/api/images/1", &" ".repeat(33 << 20));
    assert_eq!(refused.0, 413, "{refused:?}");
    let with_objects =
        json!({ "revision": 0, "status": "untouched", "objects": [object("x", [1, 1, 5, 5])] });
    assert_eq!(client.put("/api/images/1", &with_objects).0, 422);
    for path in ["/api/images/1/ask", "/api/images/1/drafts", "/api/images/1/first"] {
        let (code, reply) = client.post(path, &json!({ "prompts": [] }));
        assert!(code == 422 || code == 404, "{path}: {reply}");
    }
    assert_eq!(client.post("/api/order", &json!({ "by": "uncertainty" })).0, 422);
    assert_eq!(client.post("/api/order", &json!({ "by": "name" })), (200, json!({ "ids": [1] })));
    assert_eq!(client.post("/api/prepare", &json!({ "ids": [7] })).0, 404);
    assert_eq!(client.get("/api/agreement").0, 404);
    assert_eq!(client.post("/api/session", &json!({})).0, 405);
}

#[test]
fn a_mask_in_an_odd_encoding_is_written_as_every_tool_writes_it() {
    let folder = Folder::new(1);
    let client = folder.start();
    // 13 zeros, 3 ones, no zeros, 4 ones, the rest; empty runs in the middle and at the end.
    let odd = sonotune_base::Rle::new(12, 16, vec![13, 3, 0, 4, 172, 0]).unwrap();
    let mut drawn = object("x", [0, 0, 1, 1]);
    drawn["mask"]["counts"] = json!(odd.to_compressed());
    client.save(1, 0, "done", &[drawn]);
    let plain = sonotune_base::Rle::new(12, 16, vec![13, 7, 172]).unwrap();
    let file = folder.json();
    assert_eq!(file["annotations"][0]["segmentation"]["counts"], plain.to_compressed());
    assert_eq!(file["annotations"][0]["area"], 7.0);
}
