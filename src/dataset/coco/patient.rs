//! Which keys of an image entry name its patient, in the files of other tools.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Extra;

/// Keys that name a patient, in lower case without separators; the first that an image has counts.
const PATIENT: [&str; 17] = [
    "patient",
    "patientid",
    "patientuid",
    "patientcode",
    "patientno",
    "patientnumber",
    "patientname",
    "idpatient",
    "pid",
    "mrn",
    "subject",
    "subjectid",
    "subjectno",
    "subjectnumber",
    "subjectname",
    "participant",
    "participantid",
];

/// Keys whose values may belong to a patient, or to a part of what a patient's images show.
const PARTS: [&str; 25] = [
    "case",
    "caseid",
    "caseno",
    "casenumber",
    "casename",
    "study",
    "studyid",
    "studyuid",
    "studyinstanceuid",
    "exam",
    "examid",
    "examination",
    "examinationid",
    "visitid",
    "sessionid",
    "scanid",
    "seriesid",
    "seriesinstanceuid",
    "sequenceid",
    "video",
    "videoid",
    "videoname",
    "clipid",
    "volumeid",
    "personid",
];

/// What tools write for a patient that they do not know, in lower case.
const UNKNOWN: [&str; 16] = [
    "",
    "-",
    "?",
    "unknown",
    "n/a",
    "na",
    "none",
    "null",
    "nan",
    "undefined",
    "missing",
    "not available",
    "anon",
    "anonymous",
    "anonymized",
    "anonymised",
];

/// The patient of an image entry with these keys, whatever tool wrote it. A text such as `unknown` does
/// not name one.
#[must_use]
pub fn patient_of(keys: &Extra) -> Option<Cow<'_, str>> {
    let ranked = keys.0.iter().filter_map(|(key, value)| {
        let key = folded(key);
        let rank = PATIENT.iter().position(|patient| *patient == key)?;
        Some((rank, known(text(value)?)?))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, name)| name)
}

/// Keys other than the patient's that may group images, with their values.
pub fn parts_of(keys: &Extra) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    keys.0
        .iter()
        .filter(|(key, _)| may_group(key))
        .filter_map(|(key, value)| Some((&**key, known(text(value)?)?)))
}

/// Whether a key names the patient.
#[must_use]
pub fn names_patient(key: &str) -> bool {
    PATIENT.contains(&&*folded(key))
}

fn may_group(key: &str) -> bool {
    PARTS.contains(&&*folded(key))
}

/// The name, unless it says that nobody knows it.
#[must_use]
pub fn known(name: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let is_unknown = UNKNOWN.contains(&&*name.trim().to_lowercase());
    (!is_unknown).then_some(name)
}

/// The value of a key as a name: a text or a number.
#[must_use]
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let raw = value.get();
    match raw.bytes().next()? {
        b'"' => serde_json::from_str::<String>(raw).ok().map(Cow::Owned),
        // 12.0 is what pandas makes of 12 if another value is missing.
        b'0'..=b'9' | b'-' => Some(Cow::Borrowed(raw.strip_suffix(".0").unwrap_or(raw))),
        _ => None,
    }
}

fn folded(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient(json: &str) -> Option<String> {
        let super::super::Object(keys): super::super::Object<Extra> =
            serde_json::from_str(json).unwrap();
        patient_of(&keys).map(Cow::into_owned)
    }

    #[test]
    fn the_patient_is_found_under_the_names_that_tools_use() {
        for (json, name) in [
            (r#"{"patient": "p1"}"#, Some("p1")),
            (r#"{"patient_id": 17}"#, Some("17")),
            (r#"{"PatientID": "A-3"}"#, Some("A-3")),
            (r#"{"patientId": 12.0}"#, Some("12")),
            (r#"{"Subject ID": "s\u00e9"}"#, Some("s\u{e9}")),
            (r#"{"subject": "s", "patient_id": "p"}"#, Some("p")),
            (r#"{"patient": "", "patient_id": "p"}"#, Some("p")),
            (r#"{"patient": null, "subject": 0}"#, Some("0")),
            (r#"{"patient": " "}"#, None),
            (r#"{"patient": "Unknown"}"#, None),
            (r#"{"patient": "N/A", "PatientName": "ANONYMOUS"}"#, None),
            (r#"{"patient": ["p"], "patients": "p", "case_id": 4}"#, None),
        ] {
            assert_eq!(patient(json).as_deref(), name, "{json}");
        }
        assert!(may_group("case_id") && may_group("StudyInstanceUID") && !may_group("patient_id"));
        assert!(names_patient("patient-id") && !names_patient("inpatient"));
    }
}
