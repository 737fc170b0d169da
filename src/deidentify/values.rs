//! Values by their value representation: dummies, and which may stay.

use dicom_core::{
    DataDictionary, PrimitiveValue, Tag, VR,
    dictionary::{DataDictionaryEntry, VirtualVr},
    value::C,
};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::{InMemDicomObject, mem::InMemElement};

use super::dates;

/// What is written instead of a text that must not be empty.
pub(crate) const REMOVED: &str = "REMOVED";

/// How the standard's dictionary names an attribute.
pub(crate) fn name(tag: Tag) -> String {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => entry.alias().to_owned(),
        None if tag.group() % 2 == 1 => "private".to_owned(),
        None => "unknown".to_owned(),
    }
}

/// The value representation that the standard prescribes, if the one of the file agrees with it.
pub(crate) fn expected_vr(tag: Tag, found: VR) -> Option<VR> {
    let agrees = match StandardDataDictionary.by_tag(tag)?.vr() {
        VirtualVr::Exact(VR::OB | VR::OW) | VirtualVr::Ox | VirtualVr::Px => {
            matches!(found, VR::OB | VR::OW)
        }
        VirtualVr::Exact(vr) => vr == found,
        VirtualVr::Xs => matches!(found, VR::US | VR::SS),
        VirtualVr::Lt => matches!(found, VR::US | VR::OW | VR::SS),
        _ => false,
    };
    agrees.then_some(found)
}

/// A constant in place of a value that must not be empty. `None` for UIDs, which are replaced one by one.
pub(crate) fn dummy(tag: Tag, vr: VR) -> Option<InMemElement> {
    let primitive = match vr {
        VR::SQ => return Some(dummy_sequence(tag)),
        VR::UI => return None,
        VR::DA => "19000101".into(),
        VR::TM => "000000".into(),
        VR::DT => "19000101000000".into(),
        VR::AS => "000Y".into(),
        VR::DS | VR::IS => "0".into(),
        VR::US => 0_u16.into(),
        VR::SS => 0_i16.into(),
        VR::UL => 0_u32.into(),
        VR::SL => 0_i32.into(),
        VR::FL => 0_f32.into(),
        VR::FD => 0_f64.into(),
        VR::UV => 0_u64.into(),
        VR::SV => 0_i64.into(),
        VR::AT => Tag(0, 0).into(),
        VR::OB | VR::UN => PrimitiveValue::U8(C::from_slice(&[0, 0])),
        VR::OW => PrimitiveValue::U16(C::from_slice(&[0])),
        VR::OF => PrimitiveValue::F32(C::from_slice(&[0.0])),
        VR::OD => PrimitiveValue::F64(C::from_slice(&[0.0])),
        VR::OL => PrimitiveValue::U32(C::from_slice(&[0])),
        VR::OV => PrimitiveValue::U64(C::from_slice(&[0])),
        VR::AE | VR::CS | VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UR | VR::UT => {
            REMOVED.into()
        }
    };
    Some(InMemElement::new(tag, vr, primitive))
}

/// One item with a code that says that something was removed.
fn dummy_sequence(tag: Tag) -> InMemElement {
    use dicom_dictionary_std::tags;
    let item = InMemDicomObject::from_element_iter([
        InMemElement::new(tags::CODE_VALUE, VR::SH, REMOVED),
        InMemElement::new(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "99SONOTUNE"),
        InMemElement::new(tags::CODE_MEANING, VR::LO, REMOVED),
    ]);
    InMemElement::new(tag, VR::SQ, dicom_core::value::DataSetSequence::from(vec![item]))
}

/// Whether a value of an attribute that the profile does not mention may stay: it must be what its value
/// representation promises, and that must not be one for free text, names, addresses or unknown bytes.
pub(crate) fn may_stay(tag: Tag, vr: VR, value: &PrimitiveValue) -> bool {
    let every = |test: fn(&str) -> bool| {
        texts(value).iter().all(|text| test(text.trim_matches([' ', '\0'])))
    };
    match vr {
        VR::US | VR::SS | VR::UL | VR::SL | VR::FL | VR::FD | VR::UV | VR::SV | VR::AT => true,
        VR::LO | VR::SH => true,
        VR::CS => every(is_code),
        VR::DS | VR::IS => every(is_number),
        VR::AS => every(|text| is_age(text) || text.is_empty()),
        VR::TM => every(|text| text.is_empty() || dates::is_time(text)),
        // Palettes and lookup tables.
        VR::OB | VR::OW => tag.group() == 0x0028 && tag != dicom_dictionary_std::tags::ICC_PROFILE,
        _ => false,
    }
}

/// The values of a text, one by one; those of numbers as text.
pub(crate) fn texts(value: &PrimitiveValue) -> Vec<String> {
    match value {
        PrimitiveValue::Empty => vec![],
        PrimitiveValue::Str(text) => text.split('\\').map(str::to_owned).collect(),
        PrimitiveValue::Strs(texts) => texts.to_vec(),
        other => other.to_multi_str().into_owned(),
    }
}

/// A code string: upper case letters, digits, spaces, underscores, at most 16.
fn is_code(text: &str) -> bool {
    let is_allowed =
        |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b' ' | b'_');
    text.len() <= 16 && text.bytes().all(is_allowed)
}

fn is_number(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    text.len() <= 16 && text.bytes().all(is_allowed)
}

/// Three digits and a unit.
pub(crate) fn is_age(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 4
        && bytes[..3].iter().all(u8::is_ascii_digit)
        && matches!(bytes[3], b'D' | b'W' | b'M' | b'Y')
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;

    #[test]
    fn only_what_its_representation_promises_may_stay() {
        let stays = |tag, vr, text: &str| may_stay(tag, vr, &text.into());
        assert!(stays(tags::MODALITY, VR::CS, "US"));
        assert!(!stays(tags::MODALITY, VR::CS, "Mueller"));
        assert!(stays(tags::RECOMMENDED_DISPLAY_FRAME_RATE, VR::IS, "30 "));
        assert!(!stays(tags::RECOMMENDED_DISPLAY_FRAME_RATE, VR::IS, "Anna"));
        assert!(!stays(tags::TEXT_VALUE, VR::UT, "anything"));
        assert!(!stays(tags::ICC_PROFILE, VR::OB, "anything"));
    }

    #[test]
    fn a_representation_that_the_standard_does_not_know_is_not_believed() {
        assert_eq!(expected_vr(tags::ROWS, VR::US), Some(VR::US));
        assert_eq!(expected_vr(tags::ROWS, VR::LO), None);
        assert_eq!(expected_vr(tags::SMALLEST_IMAGE_PIXEL_VALUE, VR::SS), Some(VR::SS));
        assert_eq!(expected_vr(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, VR::OW), Some(VR::OW));
        assert_eq!(expected_vr(Tag(0x0008, 0x7777), VR::LO), None);
    }

    #[test]
    fn every_representation_has_a_dummy_that_is_not_empty() {
        for vr in [VR::LO, VR::DA, VR::OB, VR::OW, VR::US, VR::UT, VR::FD, VR::AS] {
            let element = dummy(tags::ROWS, vr).unwrap();
            assert!(element.value().primitive().unwrap().calculate_byte_len() > 0, "{vr}");
        }
        assert_eq!(
            dummy(tags::VERIFYING_OBSERVER_SEQUENCE, VR::SQ).unwrap().items().unwrap().len(),
            1
        );
    }
}
