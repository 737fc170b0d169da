//! No attribute tells who the patient is.

use std::fs;

use dicom_core::{Tag, VR, header::Header};
use dicom_object::InMemDicomObject;
use sonotune_deidentify::{
    Dates, Options,
    profile::{Action, Profile},
};

use crate::support::{Folder, contains, files, open, text, written};

/// What every made-up value of the fixtures contains.
const SECRETS: [&str; 9] = [
    "secret",
    "SECRET",
    "1.3.6.1.4.1.99999",
    "98765",
    "093Y",
    "+0130",
    "lower case",
    "CREATOR",
    "scan of",
];

/// Every date of the fixtures.
const DATES: [&str; 3] = ["19680514", "19680603", "20240229"];

#[test]
fn no_original_value_survives_in_the_bytes() {
    for dates in [Dates::Shifted, Dates::Removed] {
        let folder = Folder::with(&["everything.dcm", "follow_up.dcm", "no_region.dcm"]);
        let options = Options { dates, allow_unblacked: true, ..folder.options() };
        let report = folder.run(&options);
        assert_eq!((report.files.len(), report.refused.len()), (3, 0), "{:?}", report.refused);
        let found = files(&folder.at("out"));
        assert_eq!(found.len(), 4);
        for path in found {
            let bytes = fs::read(&path).unwrap();
            for secret in SECRETS.iter().chain(&DATES) {
                assert!(!contains(&bytes, secret.as_bytes()), "{secret} in {}", path.display());
                assert!(!path.to_str().unwrap().contains(secret));
            }
            // Numbers of the fixtures, as they are stored.
            for number in [
                54321_u16.to_le_bytes().as_slice(),
                &987_654_321_u32.to_le_bytes(),
                &98765.25_f32.to_le_bytes(),
            ] {
                let is_header = path.extension().is_some_and(|e| e == "dcm");
                let end = bytes.windows(4).position(|w| w == [0xe0, 0x7f, 0x10, 0]).unwrap_or(0);
                assert!(!is_header || !contains(&bytes[..end], number), "{number:?}");
            }
        }
    }
}

/// Walks through an object and its sequences.
fn each(object: &InMemDicomObject, test: &mut impl FnMut(&dicom_object::mem::InMemElement)) {
    for element in object {
        test(element);
        for item in element.items().unwrap_or_default() {
            each(item, test);
        }
    }
}

#[test]
fn every_attribute_of_the_profile_is_treated_by_its_action() {
    let folder = Folder::with(&["everything.dcm"]);
    let report = folder.run(&Options { dates: Dates::Removed, ..folder.options() });
    let object = open(&written(&report, &folder.at("out"), "everything.dcm"));
    let original = open(&folder.at("in/everything.dcm"));
    let profile = Profile::read().unwrap();
    let mut kept = 0;
    each(&object, &mut |element| {
        let tag = element.tag();
        assert!(
            tag.group() % 2 == 0
                && tag.group() & 0xff00 != 0x5000
                && tag.group() & 0xff00 != 0x6000,
            "{tag}"
        );
        let Some(rule) = profile.rule(tag) else { return };
        let pseudonyms = [Tag(0x10, 0x10), Tag(0x10, 0x20)];
        kept += 1;
        match rule.action {
            Action::Remove => panic!("{tag} is still there"),
            Action::Empty if !pseudonyms.contains(&tag) => {
                assert!(
                    element.to_str().map_or(true, |text| text.is_empty()),
                    "{tag} is not empty"
                );
            }
            Action::Dummy if element.vr() != VR::SQ => {
                let old = original.get(tag).unwrap();
                assert_ne!(old.to_bytes().ok(), element.to_bytes().ok(), "{tag}");
            }
            Action::Uid => assert!(element.to_str().unwrap().starts_with("2.25."), "{tag}"),
            _ => {}
        }
    });
    // At the top and in the sequence.
    assert!(kept > 2 * 150, "{kept}");
    // What the profile does not mention stays, as long as it is what it says.
    assert_eq!(text(&object, 0x0008, 0x0060), "US");
    assert_eq!(text(&object, 0x0008, 0x0070), "Maker");
    assert_eq!(text(&object, 0x0020, 0x0062), "L");
    assert!(object.get(Tag(0x0018, 0x7777)).is_none() && object.get(Tag(0x0018, 0x5010)).is_none());
    assert_eq!(object.get(Tag(0x0018, 0x6011)).unwrap().items().unwrap().len(), 2);
}

#[test]
fn a_file_says_what_was_done_and_no_more() {
    let folder = Folder::with(&["everything.dcm", "no_region.dcm"]);
    let report = folder.run(&Options { allow_unblacked: true, ..folder.options() });
    let black = open(&written(&report, &folder.at("out"), "everything.dcm"));
    let same = open(&written(&report, &folder.at("out"), "no_region.dcm"));
    assert_eq!(text(&black, 0x0012, 0x0062), "YES");
    assert_eq!(text(&black, 0x0028, 0x0303), "MODIFIED");
    // The machine says that there is text; what is within the region was not looked at.
    assert_eq!(text(&black, 0x0028, 0x0301), "YES");
    let codes = black.get(Tag(0x0012, 0x0064)).unwrap().items().unwrap();
    let codes: Vec<_> = codes.iter().map(|item| text(item, 0x0008, 0x0100)).collect();
    assert_eq!(codes, ["113100", "113107"]);
    assert_eq!(text(&same, 0x0012, 0x0062), "NO");
    assert!(same.get(Tag(0x0028, 0x0301)).is_none());
    assert!(
        report
            .files
            .iter()
            .any(|file| file.notes.iter().any(|note| note.contains("no pixel was made black")))
    );
}

#[test]
fn patient_characteristics_stay_if_asked_but_no_age_above_89() {
    let folder = Folder::with(&["follow_up.dcm"]);
    let report = folder.run(&folder.options());
    let object = open(&written(&report, &folder.at("out"), "follow_up.dcm"));
    assert!(object.get(Tag(0x0010, 0x1010)).is_none());
    assert_eq!(text(&object, 0x0010, 0x0040), "");
    let keep = Options { keep_patient_characteristics: true, ..folder.options() };
    let report = folder.try_run("kept", &keep).unwrap();
    let object = open(&written(&report, &folder.at("kept"), "follow_up.dcm"));
    assert_eq!(text(&object, 0x0010, 0x1010), "090Y");
    assert_eq!(text(&object, 0x0010, 0x0040), "F");
    assert_eq!(text(&object, 0x0010, 0x0030), "");
    let codes = object.get(Tag(0x0012, 0x0064)).unwrap().items().unwrap();
    assert_eq!(text(&codes[2], 0x0008, 0x0100), "113108");
}

#[test]
fn the_report_names_attributes_and_no_values() {
    let folder = Folder::with(&["everything.dcm"]);
    let report = folder.run(&folder.options());
    let changes = &report.files[0].changes;
    let name = changes.iter().find(|c| c.tag == "(0010,0010)").unwrap();
    // One at the top, one in the sequence, one in each sequence of either that is treated item by item.
    assert!(name.name == "PatientName" && name.count >= 2, "{name:?}");
    let json = fs::read_to_string(folder.at("out/report.json")).unwrap();
    assert!(json.contains("(0010,0010)") && !json.contains("everything"));
    let page = fs::read_to_string(folder.at("out.check.html")).unwrap();
    assert!(page.contains("everything.dcm") && page.contains("data:image/jpeg;base64,"));
    assert!(!page.contains("SECRET"), "a value on the page");
}
