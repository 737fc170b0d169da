//! Numbers of the image entries, by keys that the config names.

use sonotune_base::words::did_you_mean;
use std::path::Path;

use crate::coco::{Extra, Fields, Number, Pair, from_slice, join::entry};
use anyhow::{Context, Result};
use serde::de::MapAccess;

use crate::Record;
use sonotune_base::{Error, json::restored, names::quoted};

/// The file once more, for its image entries alone: whole entries as trees would cost a dataset
/// without numbers memory and time.
#[derive(Default)]
struct ImagesOnly {
    images: Option<Vec<Extra>>,
}

impl Fields for ImagesOnly {
    const EXPECTED: &'static str = "a COCO file: an object with the list `images`";

    fn take<'de, A: MapAccess<'de>>(&mut self, pair: Pair<'_, A>) -> Result<(), A::Error> {
        match pair.key {
            "images" => pair.list(&mut self.images),
            _ => pair.skip(),
        }
    }
}

/// Adds the numbers under `keys` to `records`, which are the images of the file `bytes` in its order.
///
/// # Errors
/// Names the file, the image and the key that is missing or not a finite number.
pub(super) fn add(
    records: &mut [Record],
    keys: &[String],
    bytes: &[u8],
    path: &Path,
) -> Result<()> {
    let images = from_slice::<ImagesOnly>(bytes, path)?.images.unwrap_or_default();
    for (i, (record, image)) in records.iter_mut().zip(images).enumerate() {
        for key in keys {
            let value = number(&image, key).with_context(|| {
                let place = entry("images", i, Some(&record.image_id));
                Error::data(format!("{}: {place}, {}", path.display(), record.name().display()))
            })?;
            record.values.insert(key.clone(), value);
        }
    }
    Ok(())
}

fn number(image: &Extra, key: &str) -> Result<f64> {
    let Some(value) = image.get(key) else {
        let keys: Vec<&str> = image.0.iter().map(|(key, _)| &**key).collect();
        anyhow::bail!(
            "`{key}` is missing, but dataset.values asks for it{}; its keys are {}",
            did_you_mean(key, keys.iter().copied()),
            quoted(&keys)
        );
    };
    let number: Option<Number> = serde_json::from_str(value.get()).ok();
    number.map(|Number(number)| number).with_context(|| {
        format!(
            "`{key}` is {}: expected a number; leave the image out with dataset.exclude, or fix the file",
            restored(value.get())
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(images: &str, keys: &[&str]) -> Result<Vec<Record>> {
        let bytes = format!(r#"{{"images": [{images}], "annotations": [], "categories": []}}"#);
        let mut records = vec![Record::new(4.into(), "a.png".into())];
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        add(&mut records, &keys, bytes.as_bytes(), Path::new("train.json"))?;
        Ok(records)
    }

    fn error(images: &str) -> String {
        format!("{:#}", values(images, &["ga_weeks"]).unwrap_err())
    }

    #[test]
    fn numbers_of_every_spelling_are_read() {
        let image = r#"{"id": 4, "ga_weeks": "21", "hc_mm": 1.5e2, "site": NaN}"#;
        let records = values(image, &["ga_weeks", "hc_mm"]).unwrap();
        let values: Vec<_> = records[0].values.iter().map(|(k, &v)| (k.as_str(), v)).collect();
        assert_eq!(values, [("ga_weeks", 21.0), ("hc_mm", 150.0)]);
    }

    #[test]
    fn what_is_no_number_is_refused_with_file_image_and_key() {
        assert_eq!(
            error(r#"{"id": 4, "ga_week": 21}"#),
            "train.json: images[0] (id 4), a.png: `ga_weeks` is missing, but dataset.values asks \
             for it (did you mean \"ga_week\"?); its keys are \"id\", \"ga_week\""
        );
        for given in ["null", "\"21w\"", "[21]", "NaN", "-Infinity", "1e999"] {
            assert_eq!(
                error(&format!(r#"{{"id": 4, "ga_weeks": {given}}}"#)),
                format!(
                    "train.json: images[0] (id 4), a.png: `ga_weeks` is {given}: expected a number; \
                     leave the image out with dataset.exclude, or fix the file"
                )
            );
        }
    }
}
