//! The attributes of a file, without those that tell who the patient is.

use std::collections::BTreeMap;

use anyhow::Result;
use dicom_core::{PrimitiveValue, Tag, VR, header::Header, value::DataSetSequence};
use dicom_dictionary_std::tags;
use dicom_object::{InMemDicomObject, mem::InMemElement};
use serde::Serialize;
use sonotune_base::Error;

use super::{
    Dates, dates,
    patient::Patient,
    profile::{Action, Profile, Rule},
    salt::Salt,
    values,
};

/// Sequences nested deeper than this do not occur, and each level takes some of the stack.
pub(crate) const MAX_DEPTH: usize = 32;
/// Older patients are given this age: with the place, a higher one can tell who it is.
const MAX_AGE_YEARS: u32 = 90;
/// UIDs that the standard itself assigns.
const STANDARD_ROOT: &str = "1.2.840.10008.";

/// What happened to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Removed,
    Emptied,
    /// By a constant, a pseudonym or another UID.
    Replaced,
    /// A date, moved with all others of the patient.
    Shifted,
}

/// How often each attribute was changed, nested ones included. The old values are kept nowhere.
pub(crate) type Changes = BTreeMap<(Tag, Change), usize>;

/// What decides about an attribute besides its tag.
#[derive(Debug)]
pub(crate) struct Scrub<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) salt: &'a Salt,
    pub(crate) patient: &'a Patient,
    pub(crate) dates: Dates,
    pub(crate) keep_patient_characteristics: bool,
    pub(crate) changes: Changes,
}

impl Scrub<'_> {
    /// `object` with every attribute treated by the profile, those of its sequences included.
    ///
    /// # Errors
    /// A data error if sequences are nested deeper than 32.
    pub(crate) fn clean(&mut self, object: InMemDicomObject) -> Result<InMemDicomObject> {
        self.clean_at(object, 0)
    }

    fn clean_at(&mut self, object: InMemDicomObject, depth: usize) -> Result<InMemDicomObject> {
        if depth > MAX_DEPTH {
            return Err(Error::data(format!(
                "sequences are nested deeper than {MAX_DEPTH}; no ultrasound file needs that: check where the \
                 file is from"
            ))
            .into());
        }
        let mut kept = vec![];
        for element in object {
            kept.extend(self.element(element, depth)?);
        }
        Ok(InMemDicomObject::from_element_iter(kept))
    }

    fn element(&mut self, element: InMemElement, depth: usize) -> Result<Option<InMemElement>> {
        let tag = element.tag();
        // Lengths of groups would be wrong, and command elements have no place in a file.
        if tag.element() == 0 || tag.group() < 0x0008 {
            return Ok(self.note(tag, Change::Removed, None));
        }
        match self.profile.rule(tag) {
            Some(rule) => self.by_rule(&rule, element, depth),
            None => self.unlisted(element, depth),
        }
    }

    fn by_rule(
        &mut self,
        rule: &Rule,
        element: InMemElement,
        depth: usize,
    ) -> Result<Option<InMemElement>> {
        if rule.modified_dates
            && self.dates == Dates::Shifted
            && let Some(moved) = self.shifted(&element)
        {
            return Ok(Some(moved));
        }
        if rule.patient_characteristics && self.keep_patient_characteristics {
            return self.characteristic(element, depth);
        }
        let (tag, vr) = (element.tag(), element.vr());
        Ok(match rule.action {
            Action::Remove => self.note(tag, Change::Removed, None),
            Action::Empty => self.note(tag, Change::Emptied, Some(empty(tag, vr))),
            Action::Dummy => match values::dummy(tag, vr) {
                Some(dummy) => self.note(tag, Change::Replaced, Some(dummy)),
                None => self.uids(element),
            },
            Action::Uid => self.uids(element),
            Action::Within => return self.within(element, depth),
        })
    }

    /// An attribute that the profile does not mention stays if the standard knows it and its value can hardly
    /// identify a person.
    fn unlisted(&mut self, element: InMemElement, depth: usize) -> Result<Option<InMemElement>> {
        let tag = element.tag();
        let Some(vr) = values::expected_vr(tag, element.vr()) else {
            return Ok(self.note(tag, Change::Removed, None));
        };
        match vr {
            VR::SQ => return self.within(element, depth),
            VR::UI if is_class(tag) && is_uid(&element) => return Ok(Some(element)),
            VR::UI => return Ok(self.uids(element)),
            VR::DA | VR::DT if self.dates == Dates::Shifted => {
                let moved = self.shifted(&element);
                return Ok(moved.or_else(|| self.note(tag, Change::Removed, None)));
            }
            VR::TM if self.dates == Dates::Removed => {
                return Ok(self.note(tag, Change::Removed, None));
            }
            _ => {}
        }
        let stays = element.value().primitive().is_some_and(|value| {
            values::may_stay(tag, vr, value)
                && !(is_text(tag, vr) && self.patient.is_named_in(value))
        });
        Ok(if stays { Some(element) } else { self.note(tag, Change::Removed, None) })
    }

    fn within(&mut self, element: InMemElement, depth: usize) -> Result<Option<InMemElement>> {
        let (tag, vr) = (element.tag(), element.vr());
        let Some(items) = element.into_value().into_items() else {
            // Not a sequence, whatever it calls itself.
            return Ok(self.note(tag, Change::Removed, None));
        };
        let items = items.into_iter().map(|item| self.clean_at(item, depth + 1));
        let items = items.collect::<Result<Vec<_>>>()?;
        Ok(Some(InMemElement::new(tag, vr, DataSetSequence::from(items))))
    }

    /// Other UIDs in place of those that the standard does not assign.
    fn uids(&mut self, element: InMemElement) -> Option<InMemElement> {
        let tag = element.tag();
        let Some(value) = element.value().primitive() else {
            return self.note(tag, Change::Removed, None);
        };
        let old: Vec<String> = values::texts(value).iter().map(|uid| trimmed(uid)).collect();
        if old.iter().all(String::is_empty) {
            return Some(empty(tag, VR::UI));
        }
        let new: Vec<String> = old.iter().map(|uid| self.uid(uid)).collect();
        let element =
            InMemElement::new(tag, VR::UI, PrimitiveValue::Strs(new.iter().cloned().collect()));
        if new == old { Some(element) } else { self.note(tag, Change::Replaced, Some(element)) }
    }

    fn uid(&self, uid: &str) -> String {
        let is_standard = uid.strip_prefix(STANDARD_ROOT).is_some_and(is_known);
        if is_standard || uid.is_empty() { uid.to_owned() } else { self.salt.uid(uid) }
    }

    /// The element with its dates moved; its times stay. `None` if a value is neither.
    fn shifted(&mut self, element: &InMemElement) -> Option<InMemElement> {
        let (tag, vr) = (element.tag(), element.vr());
        let values = values::texts(element.value().primitive()?);
        let shift: fn(&str, u64) -> Option<String> = match vr {
            VR::DA => dates::shift_date,
            VR::DT => dates::shift_datetime,
            VR::TM => |text, _| dates::is_time(text).then(|| text.to_owned()),
            _ => return None,
        };
        let days = self.patient.days;
        let move_one = |text: &String| {
            if trimmed(text).is_empty() { Some(String::new()) } else { shift(text, days) }
        };
        let moved = values.iter().map(move_one).collect::<Option<Vec<_>>>()?;
        let element = InMemElement::new(tag, vr, PrimitiveValue::Strs(moved.into_iter().collect()));
        if vr == VR::TM || values.is_empty() {
            Some(element)
        } else {
            self.note(tag, Change::Shifted, Some(element))
        }
    }

    /// Age, sex, size, weight …: kept, but no age above 89 years.
    fn characteristic(
        &mut self,
        element: InMemElement,
        depth: usize,
    ) -> Result<Option<InMemElement>> {
        let tag = element.tag();
        if element.vr() != VR::AS {
            return self.unlisted(element, depth);
        }
        let age =
            element.value().primitive().and_then(|value| values::texts(value).into_iter().next());
        let age = age.map(|age| trimmed(&age)).filter(|age| values::is_age(age));
        let Some(age) = age else {
            return Ok(self.note(tag, Change::Removed, None));
        };
        let is_too_old = age
            .strip_suffix('Y')
            .and_then(|y| y.parse().ok())
            .is_some_and(|y: u32| y >= MAX_AGE_YEARS)
            || age
                .strip_suffix('M')
                .and_then(|m| m.parse().ok())
                .is_some_and(|m: u32| m >= 12 * MAX_AGE_YEARS);
        if is_too_old {
            let capped = InMemElement::new(tag, VR::AS, format!("{MAX_AGE_YEARS:03}Y"));
            return Ok(self.note(tag, Change::Replaced, Some(capped)));
        }
        Ok(Some(InMemElement::new(tag, VR::AS, age)))
    }

    fn note(
        &mut self,
        tag: Tag,
        change: Change,
        element: Option<InMemElement>,
    ) -> Option<InMemElement> {
        *self.changes.entry((tag, change)).or_default() += 1;
        element
    }
}

fn empty(tag: Tag, vr: VR) -> InMemElement {
    match vr {
        VR::SQ => InMemElement::new(tag, vr, DataSetSequence::empty()),
        _ => InMemElement::new(tag, vr, PrimitiveValue::Empty),
    }
}

fn trimmed(text: &str) -> String {
    text.trim_matches([' ', '\0']).to_owned()
}

/// What follows the standard's root in one of its own UIDs: short and numeric.
fn is_known(rest: &str) -> bool {
    rest.len() <= 32 && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a value has nothing but what UIDs are made of.
fn is_uid(element: &InMemElement) -> bool {
    let value = element.value().primitive().map(values::texts).unwrap_or_default();
    let is_part = |b: u8| b.is_ascii_digit() || b == b'.';
    value.iter().all(|uid| trimmed(uid).bytes().all(is_part))
}

/// UIDs that name a kind of file, not a file. Makers assign some of their own.
fn is_class(tag: Tag) -> bool {
    matches!(tag, tags::SOP_CLASS_UID | tags::REFERENCED_SOP_CLASS_UID)
}

/// Texts of a person's or a machine's making. Those of the pixel module are fixed words.
fn is_text(tag: Tag, vr: VR) -> bool {
    matches!(vr, VR::LO | VR::SH | VR::CS)
        && tag.group() != 0x0028
        && !matches!(tag, tags::MODALITY | tags::SPECIFIC_CHARACTER_SET)
}
