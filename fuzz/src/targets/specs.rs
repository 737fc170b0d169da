//! Specs of raw datasets.

use sonotune_base::ErrorKind;
use sonotune_curation::spec::{Choice, Spec};

use super::accepted;

pub fn spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for choice in [Choice::AsIntended, Choice::AsPublished, Choice::Only(vec!["full_frame".into()])]
    {
        let spec = accepted(Spec::parse(text, "hostile.toml", &choice), ErrorKind::Config, "");
        if let Some(spec) = spec {
            let _ = spec.reader();
            let _ = sonotune_curation::readers::of(&spec);
        }
    }
}
