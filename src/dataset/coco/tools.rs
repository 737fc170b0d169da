//! JSON that is not COCO: which tool's it is, and what to do.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sonotune_base::names::quoted;

use super::FILE;
use crate::exports::Export;

/// What `text` is if it is JSON but not COCO, as the rest of a message. `None` if it has COCO's lists, or if
/// its beginning is not JSON.
pub fn other_json(text: &[u8]) -> Option<String> {
    let (first, count) = values(text)?;
    let (top, entry) = (keys(first), first_entry(first).map(keys).unwrap_or_default());
    let is_coco =
        ["images", "annotations", "categories"].iter().all(|l| top.iter().any(|k| k == l));
    let tool = Export::of_keys(&top, &entry).filter(|tool| *tool != Export::Coco);
    match tool {
        Some(tool) => Some(format!("is {}, not COCO: {}", tool.name(), remedy(tool))),
        None if count > 1 => Some(format!("{}: expected {FILE}", json_lines(count))),
        None if is_coco || top.is_empty() => None,
        None => {
            let shown = &top[..top.len().min(8)];
            let more = if top.len() > shown.len() { " and others" } else { "" };
            Some(format!("has the keys {}{more}: expected {FILE}", quoted(shown)))
        }
    }
}

/// How to get a COCO file from what a tool wrote.
pub(super) fn remedy(tool: Export) -> &'static str {
    tool.to_coco().unwrap_or(match tool {
        Export::Labelme => {
            "convert the folder of such files with `sonotune data convert` (`[outlines]` with `format = \"labelme\"`)"
        }
        Export::CocoResults => "name the file that also lists the images and categories",
        _ => "export the annotations as COCO",
    })
}

/// What a result file is if it holds several JSON values.
pub(super) fn lines_of_results(text: &[u8]) -> Option<String> {
    let (_, count) = values(text)?;
    (count > 1).then(|| format!("{}: expected one list of detections", json_lines(count)))
}

fn json_lines(count: usize) -> String {
    format!("holds {count} JSON values, as a file of JSON lines does")
}

/// The first value of a file, and how many there are.
fn values(text: &[u8]) -> Option<(&str, usize)> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let first = values.next()?.ok()?.get();
    Some((first, 1 + values.take_while(Result::is_ok).count()))
}

fn keys(json: &str) -> Vec<String> {
    let keys = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(json);
    keys.map(|keys| keys.into_keys().collect()).unwrap_or_default()
}

fn first_entry(json: &str) -> Option<&str> {
    if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json) {
        return list.first().map(|entry| entry.get());
    }
    let object = serde_json::from_str::<BTreeMap<String, &RawValue>>(json).ok()?;
    object.into_values().next().map(RawValue::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_tools_are_named() {
        for (json, expected) in [
            (r#"{"version": "5", "shapes": [], "imagePath": "a.png"}"#, "is a labelme file"),
            (r#"{"_via_settings": {}, "_via_img_metadata": {}}"#, "is an export of VIA"),
            (r#"{"a.png1": {"filename": "a.png", "regions": []}}"#, "is an export of VIA"),
            (r#"[{"id": 1, "data": {}, "annotations": []}]"#, "is a JSON export of Label Studio"),
            (r#"{"info": {}, "items": [], "categories": {}}"#, "is a Datumaro export"),
            (r#"{"tags": [], "size": {}, "objects": []}"#, "is a Supervisely file"),
            ("{\"data_row\": {}}\n{\"data_row\": {}}", "is an export of Labelbox"),
            (r#"[{"image": "a.png", "annotations": []}]"#, "is a file of Create ML boxes"),
            (r#"{"type": "FeatureCollection", "features": []}"#, "is a GeoJSON file"),
            (
                r#"[{"image_id": 1, "category_id": 1}]"#,
                "is a list of COCO predictions or annotations",
            ),
            ("{\"id\": 1}\n{\"id\": 2}\n\n{\"id\"", "holds 2 JSON values, as a file of JSON lines"),
            (
                r#"{"image": [], "annotation": []}"#,
                "has the keys \"annotation\", \"image\": expected a COCO file",
            ),
        ] {
            let what = other_json(json.as_bytes()).unwrap();
            assert!(what.starts_with(expected), "{what}");
        }
        for json in [
            r#"{"images": [], "annotations": 5, "categories": [], "items": 1, "data": 2}"#,
            "{\"images\": [",
            "[]",
            "{}",
            "7",
        ] {
            assert_eq!(other_json(json.as_bytes()), None, "{json}");
        }
    }
}
