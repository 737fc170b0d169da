//! Writes a COCO file that was changed: one entry a line.

use sonotune_base::json::restored;

use super::{Document, Entry, ImageItem, OWN, ObjectItem, SET_ASIDE};

impl Document {
    /// The bytes of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::from("{\n");
        let lists = ["images", "annotations", "categories", OWN];
        let absent = lists.iter().filter(|list| !self.keys.iter().any(|(key, _)| **key == ***list));
        let keys = self.keys.iter().map(|(key, value)| (&**key, value.as_deref()));
        let mut is_first = true;
        for (key, value) in keys.chain(absent.map(|list| (*list, None))) {
            let content = match (key, value) {
                (_, Some(value)) => value.get().to_owned(),
                ("images", None) => list(self.listed().map(|image| &image.entry)),
                ("annotations", None) => {
                    list(self.listed_objects().into_iter().map(|object| &object.entry))
                }
                ("categories", None) => {
                    list(self.categories.iter().map(|category| &category.entry))
                }
                (_, None) => match self.own() {
                    Some(own) => own,
                    None => continue,
                },
            };
            if !std::mem::take(&mut is_first) {
                out.push_str(",\n");
            }
            out.push_str(&quoted(key));
            out.push(':');
            out.push_str(&restored(&content));
        }
        out.push_str("\n}\n");
        out.into_bytes()
    }

    fn listed(&self) -> impl Iterator<Item = &ImageItem> {
        self.images.iter().filter(|image| image.is_listed)
    }

    fn listed_objects(&self) -> Vec<&ObjectItem> {
        let mut objects: Vec<_> = self.listed().flat_map(|image| &image.objects).collect();
        objects.sort_by_key(|object| object.position);
        objects
    }

    /// What stands under our own key; `None` if that is nothing.
    fn own(&self) -> Option<String> {
        let aside: Vec<&ImageItem> = self.images.iter().filter(|image| !image.is_listed).collect();
        if aside.is_empty() && self.own.is_empty() {
            return None;
        }
        let mut out = String::from("{");
        for (key, value) in &self.own {
            out.push_str(&format!("{}:{},", quoted(key), value.get()));
        }
        let entries = aside.iter().map(|image| {
            let objects = image.objects.iter().map(|object| &object.entry);
            format!("{{\"image\":{},\"annotations\":{}}}", image.entry.text(), list(objects))
        });
        out.push_str(&format!("\"{SET_ASIDE}\":[\n{}]}}", entries.collect::<Vec<_>>().join(",\n")));
        Some(out)
    }
}

fn list<'a>(entries: impl Iterator<Item = &'a Entry>) -> String {
    let mut out = String::from("[");
    for (i, entry) in entries.enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str(entry.text());
    }
    out.push(']');
    out
}

fn quoted(key: &str) -> String {
    serde_json::Value::from(key).to_string()
}
