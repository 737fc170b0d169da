//! Who a file is about, as far as de-identification needs to know.

use dicom_core::{PrimitiveValue, Tag};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{salt::Salt, values};

/// Shorter words of a name occur in other words.
const MIN_NAME: usize = 3;
/// Shorter numbers occur in other numbers.
const MIN_ID: usize = 4;

/// Retired, and still written.
const OTHER_PATIENT_IDS: Tag = Tag(0x0010, 0x1000);

/// What the pseudonym and the shift of dates were computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownBy {
    Id,
    /// The file has no id: the name and the date of birth.
    Name,
    /// Neither: the study, so that other studies of the patient get another pseudonym.
    Study,
    /// Not even a study: the file itself.
    File,
}

/// A patient, never printed.
pub(crate) struct Patient {
    pub(crate) pseudonym: String,
    /// The patient's id as the file has it; for the mapping alone.
    pub(crate) id: String,
    /// By how many days dates move back.
    pub(crate) days: u64,
    pub(crate) known_by: KnownBy,
    /// Words that must not survive anywhere, in lower case.
    names: Vec<String>,
    ids: Vec<String>,
}

impl std::fmt::Debug for Patient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pseudonym)
    }
}

impl Patient {
    /// The patient of a file; `file` is what tells the file from others.
    pub(crate) fn of(object: &InMemDicomObject, salt: &Salt, file: &str) -> Self {
        let id = text(object, tags::PATIENT_ID);
        let name = text(object, tags::PATIENT_NAME);
        let study = text(object, tags::STUDY_INSTANCE_UID);
        // A separator that cannot be within a value, so that no two patients have the same key.
        let (known_by, key) = if !id.is_empty() {
            (KnownBy::Id, format!("id\\{id}\\{}", text(object, tags::ISSUER_OF_PATIENT_ID)))
        } else if !name.is_empty() {
            (KnownBy::Name, format!("name\\{name}\\{}", text(object, tags::PATIENT_BIRTH_DATE)))
        } else if !study.is_empty() {
            (KnownBy::Study, format!("study\\{study}"))
        } else {
            (KnownBy::File, format!("file\\{file}"))
        };
        let words = |tags: &[Tag], min: usize, split: bool| {
            let values = tags.iter().flat_map(|tag| all(object, *tag));
            let words = values.flat_map(|value| {
                let is_between = |c: char| split && !c.is_alphanumeric();
                value.split(is_between).map(|w| w.trim().to_lowercase()).collect::<Vec<_>>()
            });
            words.filter(|word| word.chars().count() >= min).collect::<Vec<_>>()
        };
        let names = [tags::PATIENT_NAME, tags::OTHER_PATIENT_NAMES, tags::PATIENT_BIRTH_NAME];
        let ids = [tags::PATIENT_ID, OTHER_PATIENT_IDS, tags::ACCESSION_NUMBER];
        Self {
            pseudonym: salt.patient(&key),
            days: salt.days(&key),
            known_by,
            names: words(&names, MIN_NAME, true),
            ids: words(&ids, MIN_ID, false),
            id,
        }
    }

    /// Whether a text contains a word of the patient's name or one of the patient's numbers.
    pub(crate) fn is_named_in(&self, value: &PrimitiveValue) -> bool {
        let names = |text: &str| {
            let mut words = text.split(|c: char| !c.is_alphanumeric());
            words.any(|word| self.names.iter().any(|name| name == word))
        };
        values::texts(value).iter().map(|text| text.to_lowercase()).any(|text| {
            let long = self.names.iter().filter(|name| name.chars().count() > MIN_ID);
            names(&text) || long.chain(&self.ids).any(|word| text.contains(word.as_str()))
        })
    }
}

/// The first value of a text, trimmed; empty without one.
pub(crate) fn text(object: &InMemDicomObject, tag: Tag) -> String {
    all(object, tag).into_iter().next().unwrap_or_default()
}

fn all(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let value = object.get(tag).and_then(|element| element.value().primitive());
    let texts = value.map(values::texts).unwrap_or_default();
    texts.iter().map(|text| text.trim_matches([' ', '\0']).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use dicom_core::VR;

    use super::*;

    fn file(elements: &[(Tag, VR, &str)]) -> InMemDicomObject {
        let mut object = InMemDicomObject::new_empty();
        for (tag, vr, text) in elements {
            object.put_str(*tag, *vr, *text);
        }
        object
    }

    fn patient(elements: &[(Tag, VR, &str)], name: &str) -> Patient {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salt");
        std::fs::write(&path, "0123456789abcdef").unwrap();
        Patient::of(&file(elements), &Salt::read(&path).unwrap(), name)
    }

    #[test]
    fn a_patient_is_known_by_the_id_first() {
        let id = (tags::PATIENT_ID, VR::LO, "4711 ");
        let a = patient(&[id, (tags::PATIENT_NAME, VR::PN, "Mueller^Anna")], "a");
        let b = patient(&[id, (tags::PATIENT_NAME, VR::PN, "MUELLER^A")], "b");
        assert_eq!((a.pseudonym.as_str(), a.days), (b.pseudonym.as_str(), b.days));
        let other = patient(&[id, (tags::ISSUER_OF_PATIENT_ID, VR::LO, "Other clinic")], "c");
        assert_ne!(a.pseudonym, other.pseudonym);
        let unknown = [patient(&[], "a"), patient(&[], "b")];
        assert_ne!(unknown[0].pseudonym, unknown[1].pseudonym);
        assert_eq!(unknown[0].known_by, KnownBy::File);
    }

    #[test]
    fn echoes_of_a_name_are_found() {
        let patient = patient(
            &[(tags::PATIENT_ID, VR::LO, "471199"), (tags::PATIENT_NAME, VR::PN, "Mueller^Eva")],
            "a",
        );
        for text in ["exam of eva", "MUELLERS knee", "id:471199x"] {
            assert!(patient.is_named_in(&text.into()), "{text}");
        }
        for text in ["Evaluation", "4711", "L12-5"] {
            assert!(!patient.is_named_in(&text.into()), "{text}");
        }
    }
}
