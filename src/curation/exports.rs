//! Tells annotation files of other tools by their form, to name what a reader cannot read.

use serde_json::Value;
use sonotune_base::Error;

/// What annotation tools write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Export {
    Coco,
    CocoResults,
    CreateMl,
    Cvat,
    Datumaro,
    GeoJson,
    LabelStudio,
    LabelStudioMin,
    Labelme,
    PascalVoc,
    Supervisely,
    Via,
    ViaCsv,
    Via3,
    Yolo,
}

impl Export {
    /// What the file at hand is, if its form is a known one.
    pub(crate) fn of(text: &str) -> Option<Self> {
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Self::of_object(&object),
            Ok(Value::Array(list)) => Self::of_entry(list.first()?),
            _ => Self::of_text(text),
        }
    }

    fn of_object(object: &serde_json::Map<String, Value>) -> Option<Self> {
        let has = |keys: &[&str]| keys.iter().all(|key| object.contains_key(*key));
        let is_region = |entry: &Value| entry.get("filename").is_some_and(Value::is_string);
        Some(match () {
            () if has(&["shapes"]) => Self::Labelme,
            () if has(&["images", "annotations"]) => Self::Coco,
            () if has(&["_via_img_metadata"]) => Self::Via,
            () if has(&["project", "file", "metadata"]) => Self::Via3,
            () if has(&["items", "categories"]) => Self::Datumaro,
            () if has(&["objects", "size"]) => Self::Supervisely,
            () if has(&["features"]) => Self::GeoJson,
            () if object.values().next().is_some_and(is_region) => Self::Via,
            () => return None,
        })
    }

    fn of_entry(first: &Value) -> Option<Self> {
        let has = |keys: &[&str]| keys.iter().all(|key| first.get(*key).is_some());
        Some(match () {
            () if has(&["data", "annotations"]) || has(&["data", "completions"]) => {
                Self::LabelStudio
            }
            () if has(&["annotation_id"]) || has(&["lead_time"]) => Self::LabelStudioMin,
            () if has(&["image_id", "category_id"]) => Self::CocoResults,
            () if has(&["image", "annotations"]) => Self::CreateMl,
            () if has(&["geometry", "type"]) => Self::GeoJson,
            () => return None,
        })
    }

    fn of_text(text: &str) -> Option<Self> {
        let has = |part: &str| text.contains(part);
        if has("<annotations>") && (has("<image ") || has("<track ")) {
            return Some(Self::Cvat);
        }
        if (has("<annotation>") || has("<annotation ")) && has("<filename>") {
            return Some(Self::PascalVoc);
        }
        if text.starts_with("filename,file_size,file_attributes") {
            return Some(Self::ViaCsv);
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        let is_yolo = lines.peek().is_some() && lines.all(is_yolo_line);
        is_yolo.then_some(Self::Yolo)
    }

    /// What a file at `path` of this kind is, and what can be read instead.
    pub(crate) fn refused(self, path: &str) -> Error {
        let coco = "and read that with [coco]";
        let (name, remedy) = match self {
            Self::Coco => ("a file of COCO annotations", "read them with [coco]".to_owned()),
            Self::CocoResults => {
                ("a list of COCO predictions", "name the COCO annotations instead".to_owned())
            }
            Self::CreateMl => {
                ("a file of CreateML boxes", format!("export COCO with outlines {coco}"))
            }
            Self::Cvat => ("an XML export of CVAT", format!("export `COCO 1.0` from CVAT {coco}")),
            Self::Datumaro => {
                ("a Datumaro export", format!("export `COCO 1.0` from CVAT or Datumaro {coco}"))
            }
            Self::GeoJson => {
                ("a GeoJSON file", "export masks as images and read them with [rasters]".to_owned())
            }
            Self::LabelStudio | Self::LabelStudioMin => (
                match self {
                    Self::LabelStudio => "a JSON export of Label Studio",
                    _ => "a JSON-MIN export of Label Studio",
                },
                format!(
                    "export `COCO` from Label Studio {coco}, or brush strokes as PNG and read them with \
                     [rasters]"
                ),
            ),
            Self::Labelme => {
                ("a labelme file", "read it with [outlines] and format = \"labelme\"".to_owned())
            }
            Self::PascalVoc => (
                "a file of Pascal VOC boxes",
                format!("export COCO with outlines from their tool {coco}"),
            ),
            Self::Supervisely => {
                ("a Supervisely file", format!("export COCO from Supervisely {coco}"))
            }
            Self::Via | Self::ViaCsv => (
                "an export of VIA",
                format!("choose `Export Annotations (COCO format)` in VIA {coco}"),
            ),
            Self::Via3 => (
                "a project of VIA 3",
                "export masks as images and read them with [rasters]".to_owned(),
            ),
            Self::Yolo => (
                "a file of YOLO labels",
                format!("export COCO from their tool (`COCO Segmentation` in Roboflow) {coco}"),
            ),
        };
        Error::data(format!("{path}: is {name}, which this reader does not read; {remedy}"))
    }
}

/// A class, then a box or the points of a polygon as shares of the image's sides.
fn is_yolo_line(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let is_class = words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    let shares: Vec<_> = words.map(str::parse::<f64>).collect();
    let is_share = |share: &Result<f64, _>| share.as_ref().is_ok_and(|s| (-0.5..=1.5).contains(s));
    is_class && shares.len() >= 4 && shares.iter().all(is_share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_export_is_told_by_its_form() {
        let cases = [
            (r#"{"images": [], "annotations": [], "categories": []}"#, Export::Coco),
            (r#"[{"image_id": 1, "category_id": 1, "score": 0.5}]"#, Export::CocoResults),
            (r#"[{"image": "a.png", "annotations": [{"label": "x"}]}]"#, Export::CreateMl),
            ("<?xml?><annotations><version>1.1</version><image id=\"0\"/>", Export::Cvat),
            ("<annotations>\n<track id=\"0\" label=\"x\">", Export::Cvat),
            (r#"{"info": {}, "categories": {"label": {}}, "items": []}"#, Export::Datumaro),
            (r#"{"type": "FeatureCollection", "features": []}"#, Export::GeoJson),
            (r#"[{"type": "Feature", "geometry": {}}]"#, Export::GeoJson),
            (r#"[{"id": 1, "data": {"image": "a.png"}, "annotations": []}]"#, Export::LabelStudio),
            (r#"[{"image": "a.png", "tag": [], "annotation_id": 1}]"#, Export::LabelStudioMin),
            (r#"{"version": "5.0", "shapes": [], "imagePath": "a.png"}"#, Export::Labelme),
            ("<annotation>\n<filename>a.png</filename>", Export::PascalVoc),
            (r#"{"tags": [], "size": {"height": 1}, "objects": []}"#, Export::Supervisely),
            (r#"{"_via_settings": {}, "_via_img_metadata": {}}"#, Export::Via),
            (r#"{"a.png12": {"filename": "a.png", "regions": []}}"#, Export::Via),
            ("filename,file_size,file_attributes,region_count", Export::ViaCsv),
            (r#"{"project": {}, "file": {}, "metadata": {}, "view": {}}"#, Export::Via3),
            ("0 0.5 0.5 0.2 0.1\n\n1 0.1 0.1 0.2 0.2 0.3 0.3\n", Export::Yolo),
        ];
        for (text, export) in cases {
            assert_eq!(Export::of(text), Some(export), "{text}");
            let message = export.refused("x").to_string();
            assert!(message.starts_with("x: is ") && message.contains("; "), "{message}");
        }
        for text in ["", "[]", "[[1, 2], [3, 4]]", "{}", "0 5 5 2 1", "image,class\na,b", "nil"] {
            assert_eq!(Export::of(text), None, "{text}");
        }
    }
}
