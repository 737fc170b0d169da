//! Tells annotation files of other tools by their form, to name what cannot be read and what can.

/// What annotation tools write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    Coco,
    CocoResults,
    CreateMl,
    Cvat,
    Datumaro,
    GeoJson,
    LabelStudio,
    LabelStudioMin,
    Labelbox,
    Labelme,
    PascalVoc,
    Supervisely,
    V7,
    Via,
    ViaCsv,
    Via3,
    Yolo,
}

/// Where a tool's keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the object that is the file.
    Top,
    /// In the first entry of the list or object that is the file.
    Entry,
}
use At::{Entry, Top};

/// Keys that a tool's JSON always has; the first that fits.
const KEYS: &[(At, &[&str], Export)] = &[
    (Top, &["images", "annotations"], Export::Coco),
    (Top, &["shapes"], Export::Labelme),
    (Top, &["_via_img_metadata"], Export::Via),
    (Entry, &["filename", "regions"], Export::Via),
    (Top, &["project", "file", "metadata"], Export::Via3),
    (Entry, &["data", "annotations"], Export::LabelStudio),
    (Entry, &["data", "completions"], Export::LabelStudio),
    (Top, &["data", "annotations"], Export::LabelStudio),
    (Entry, &["annotation_id"], Export::LabelStudioMin),
    (Entry, &["lead_time"], Export::LabelStudioMin),
    (Top, &["items", "categories"], Export::Datumaro),
    (Top, &["objects", "size"], Export::Supervisely),
    (Top, &["data_row"], Export::Labelbox),
    (Entry, &["data_row"], Export::Labelbox),
    (Top, &["item", "annotations"], Export::V7),
    (Entry, &["image_id", "category_id"], Export::CocoResults),
    (Entry, &["image", "annotations"], Export::CreateMl),
    (Top, &["features"], Export::GeoJson),
    (Entry, &["geometry", "type"], Export::GeoJson),
];

impl Export {
    /// What a text is, if its form is a known one.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let json = serde_json::from_str::<serde_json::Value>(text);
        let keys = |value: &serde_json::Value| match value.as_object() {
            Some(object) => object.keys().cloned().collect(),
            None => Vec::new(),
        };
        let Ok(json) = json else { return Self::of_text(text) };
        let entry = match &json {
            serde_json::Value::Array(list) => list.first(),
            serde_json::Value::Object(object) => object.values().next(),
            _ => return Self::of_text(text),
        };
        Self::of_keys(&keys(&json), &entry.map(keys).unwrap_or_default())
    }

    /// What JSON with these keys, and these in its first entry, is.
    pub(crate) fn of_keys(top: &[String], entry: &[String]) -> Option<Self> {
        let fits = |(at, keys, _): &&(At, &[&str], Self)| {
            let own = if *at == Top { top } else { entry };
            keys.iter().all(|key| own.iter().any(|k| k == key))
        };
        KEYS.iter().find(fits).map(|(.., export)| *export)
    }

    /// What a text that is not JSON is, by its beginning.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let has = |part: &str| text.contains(part);
        if has("<annotations>") {
            return Some(Self::Cvat);
        }
        if has("<annotation>") || has("<annotation ") {
            return Some(Self::PascalVoc);
        }
        if text.starts_with("filename,file_size,file_attributes") {
            return Some(Self::ViaCsv);
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        let is_yolo = lines.peek().is_some() && lines.all(is_yolo_line);
        is_yolo.then_some(Self::Yolo)
    }

    /// As the subject of a sentence: `a file of labelme`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Coco => "a file of COCO annotations",
            Self::CocoResults => "a list of COCO predictions or annotations",
            Self::CreateMl => "a file of Create ML boxes",
            Self::Cvat => "an XML export of CVAT",
            Self::Datumaro => "a Datumaro export",
            Self::GeoJson => "a GeoJSON file",
            Self::LabelStudio => "a JSON export of Label Studio",
            Self::LabelStudioMin => "a JSON-MIN export of Label Studio",
            Self::Labelbox => "an export of Labelbox",
            Self::Labelme => "a labelme file",
            Self::PascalVoc => "a file of Pascal VOC boxes",
            Self::Supervisely => "a Supervisely file",
            Self::V7 => "an export of V7 Darwin",
            Self::Via | Self::ViaCsv => "an export of VIA",
            Self::Via3 => "a project of VIA 3",
            Self::Yolo => "a file of YOLO labels",
        }
    }

    /// How to get the annotations as COCO, if the tool can; an imperative.
    #[must_use]
    pub fn to_coco(self) -> Option<&'static str> {
        match self {
            Self::Coco | Self::CocoResults | Self::GeoJson | Self::Labelme | Self::Via3 => None,
            Self::CreateMl => Some("export COCO with outlines"),
            Self::Cvat => Some("export `COCO 1.0` from CVAT"),
            Self::Datumaro => Some("export `COCO 1.0` from CVAT or Datumaro"),
            Self::LabelStudio | Self::LabelStudioMin => Some("export `COCO` from Label Studio"),
            Self::Labelbox => Some("export COCO from Labelbox"),
            Self::PascalVoc => Some("export COCO with outlines from their tool"),
            Self::Supervisely => Some("export COCO from Supervisely"),
            Self::V7 => Some("export COCO from V7"),
            Self::Via | Self::ViaCsv => Some("choose `Export Annotations (COCO format)` in VIA"),
            Self::Yolo => Some("export COCO from their tool (`COCO Segmentation` in Roboflow)"),
        }
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
            (r#"[{"data_row": {}}]"#, Export::Labelbox),
            (r#"{"version": "5.0", "shapes": [], "imagePath": "a.png"}"#, Export::Labelme),
            ("<annotation>\n<filename>a.png</filename>", Export::PascalVoc),
            (r#"{"tags": [], "size": {"height": 1}, "objects": []}"#, Export::Supervisely),
            (r#"{"version": "2.0", "item": {}, "annotations": []}"#, Export::V7),
            (r#"{"_via_settings": {}, "_via_img_metadata": {}}"#, Export::Via),
            (r#"{"a.png12": {"filename": "a.png", "regions": []}}"#, Export::Via),
            ("filename,file_size,file_attributes,region_count", Export::ViaCsv),
            (r#"{"project": {}, "file": {}, "metadata": {}, "view": {}}"#, Export::Via3),
            ("0 0.5 0.5 0.2 0.1\n\n1 0.1 0.1 0.2 0.2 0.3 0.3\n", Export::Yolo),
        ];
        for (text, export) in cases {
            assert_eq!(Export::of(text), Some(export), "{text}");
        }
        for text in ["", "[]", "[[1, 2], [3, 4]]", "{}", "0 5 5 2 1", "image,class\na,b", "nil"] {
            assert_eq!(Export::of(text), None, "{text}");
        }
    }
}
