//! What a de-identified file says about itself.

use dicom_core::{PrimitiveValue, Tag, VR, value::DataSetSequence};
use dicom_dictionary_std::tags;
use dicom_object::{InMemDicomObject, mem::InMemElement};

use super::{Dates, patient::Patient};

/// What was done to a file, as far as its attributes mention it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) dates: Dates,
    pub(crate) keep_patient_characteristics: bool,
    /// Whether pixels outside the regions were made black.
    pub(crate) blacked_out: bool,
    /// Whether the machine says that there is no text in the picture.
    pub(crate) claims_no_text: bool,
}

impl Marks {
    /// The value of PatientIdentityRemoved, which is about attributes and pixels (PS3.3, C.7.1.1): pixels that
    /// nothing was done to are not claimed to be without identity, unless the machine says so.
    pub(crate) fn identity_removed(self) -> bool {
        self.blacked_out || self.claims_no_text
    }

    /// Codes of DeidentificationMethodCodeSequence (PS3.16, CID 7050). "Clean Pixel Data Option" is not among them:
    /// text within the regions is not looked for.
    fn codes(self) -> Vec<(&'static str, &'static str)> {
        let mut codes = vec![("113100", "Basic Application Confidentiality Profile")];
        if self.dates == Dates::Shifted {
            codes
                .push(("113107", "Retain Longitudinal Temporal Information Modified Dates Option"));
        }
        if self.keep_patient_characteristics {
            codes.push(("113108", "Retain Patient Characteristics Option"));
        }
        codes
    }

    /// Adds the pseudonym and what was done.
    pub(crate) fn add(self, object: &mut InMemDicomObject, patient: &Patient) {
        let text = |tag: Tag, vr: VR, text: &str| InMemElement::new(tag, vr, text);
        object.put(text(tags::PATIENT_NAME, VR::PN, &patient.pseudonym));
        object.put(text(tags::PATIENT_ID, VR::LO, &patient.pseudonym));
        let removed = if self.identity_removed() { "YES" } else { "NO" };
        object.put(text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, removed));
        let pixels = if self.blacked_out {
            "Pixels outside ultrasound regions black, others unseen"
        } else {
            "Pixels unchanged"
        };
        let method = ["PS3.15 2024e Basic Profile, salted pseudonyms", pixels];
        let method = PrimitiveValue::Strs(method.iter().map(|part| (*part).to_owned()).collect());
        object.put(InMemElement::new(tags::DEIDENTIFICATION_METHOD, VR::LO, method));
        let items: Vec<_> =
            self.codes().into_iter().map(|(value, meaning)| code(value, meaning)).collect();
        let items = DataSetSequence::from(items);
        object.put(InMemElement::new(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, VR::SQ, items));
        let dates = match self.dates {
            Dates::Shifted => "MODIFIED",
            Dates::Removed => "REMOVED",
        };
        object.put(text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, dates));
        object.convert_to_utf8();
    }
}

fn code(value: &str, meaning: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        InMemElement::new(tags::CODE_VALUE, VR::SH, value),
        InMemElement::new(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM"),
        InMemElement::new(tags::CODE_MEANING, VR::LO, meaning),
    ])
}
