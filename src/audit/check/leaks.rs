//! What splits share: images, patients, clips.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    near::components,
    print::{Print, Turn},
};

use super::{
    Looked,
    look::{Look, Seen},
};
use sonotune_base::names::quoted;
use sonotune_dataset::Split;
use sonotune_dataset::findings::{Audit, AuditedImage, Code, Findings, Place};

/// An image that was looked at.
#[derive(Clone, Copy)]
struct Member<'a> {
    /// Index into the audits.
    split: usize,
    audit: &'a Audit,
    image: &'a AuditedImage,
    /// Properties of its pixels, if they were decoded.
    seen: Option<&'a Seen>,
    /// Index of its file.
    file: usize,
}

impl Member<'_> {
    fn place(&self) -> Place {
        self.audit.place(self.image)
    }

    fn shown(&self) -> String {
        self.image.image_file().to_string()
    }

    /// Names of the classes of the image and of its objects; `None` if they could not be read.
    fn classes(&self) -> Option<BTreeSet<&str>> {
        let objects = self.image.objects.iter().map(|o| o.object.category);
        let indices = self.image.image_labels.iter().copied().chain(objects);
        let name = |index| self.audit.categories.get(index as usize).map(|c| &*c.name);
        let classes: BTreeSet<&str> = indices.filter_map(name).collect();
        (!classes.is_empty() || self.image.without_objects).then_some(classes)
    }

    /// How the classes of two images with equal pixels contradict each other.
    fn contradicts(&self, other: &Self) -> Option<String> {
        // A file that is listed twice in one split has a finding of its own.
        if self.file == other.file && self.split == other.split {
            return None;
        }
        let (own, others) = (self.classes()?, other.classes()?);
        let shown = |classes: BTreeSet<&str>| match classes.into_iter().collect::<Vec<_>>() {
            none if none.is_empty() => "no class".to_owned(),
            classes => quoted(&classes),
        };
        (own != others).then(|| {
            let (own, others, path) = (shown(own), shown(others), other.shown());
            format!("labelled {own}, but {path} with the same pixels is labelled {others}")
        })
    }
}

/// Reports what is in several splits (to `across`), and images that are in one split twice (to that
/// split's findings).
pub(super) fn check(
    audits: &[(Split, Audit)],
    looked: &Looked,
    distance: u32,
    findings: &mut [Findings],
    across: &mut Findings,
) {
    let members: Vec<Member<'_>> = audits
        .iter()
        .enumerate()
        .flat_map(|(split, (_, audit))| {
            audit.images.iter().filter_map(move |image| {
                let file = looked.index(image)?;
                let seen = match &looked.looks[file] {
                    Look::Present => None,
                    // Blank images are all alike, and are reported as such.
                    Look::Decoded(seen) if !seen.is_constant() => Some(&**seen),
                    _ => return None,
                };
                Some(Member { split, audit, image, seen, file })
            })
        })
        .collect();
    let names: Vec<Split> = audits.iter().map(|(split, _)| *split).collect();
    let shared = identical(&members, &names, findings, across);
    near(&members, &shared, &names, distance, across);
    groups(audits, Code::SharedPatient, "patient", |image| image.patient.as_deref(), across);
    let clip = |image: &AuditedImage| {
        image.clip.as_deref().filter(|_| image.patient.is_none()).map(ToOwned::to_owned)
    };
    groups(audits, Code::SharedClip, "clip", clip, across);
    // A key that says less than the patient, or possibly nothing.
    let images = audits.iter().flat_map(|(_, audit)| &audit.images);
    let keys: BTreeSet<&str> =
        images.flat_map(|image| &image.parts).map(|(key, _)| &**key).collect();
    for key in keys {
        let value = |image: &AuditedImage| {
            let told = image.patient.is_some() || image.clip.is_some();
            let (_, value) = image.parts.iter().find(|(other, _)| !told && **other == *key)?;
            Some(String::from(&**value))
        };
        groups(audits, Code::SharedKey, key, value, across);
    }
}

/// Images with equal pixels; returns the positions of those that an earlier split also has.
fn identical(
    members: &[Member<'_>],
    names: &[Split],
    findings: &mut [Findings],
    across: &mut Findings,
) -> HashSet<usize> {
    #[derive(PartialEq, Eq, Hash)]
    enum Content {
        Pixels([u8; 32]),
        File(usize),
    }
    let mut groups: HashMap<Content, Vec<usize>> = HashMap::new();
    let mut shared = HashSet::new();
    for (i, member) in members.iter().enumerate() {
        let content = match member.seen {
            Some(seen) => Content::Pixels(seen.print.pixels),
            None => Content::File(member.file),
        };
        let earlier = groups.entry(content).or_default();
        let in_same = earlier.iter().map(|&j| &members[j]).find(|m| m.split == member.split);
        // A file that is listed twice has a finding of its own.
        if let Some(first) = in_same.filter(|first| first.file != member.file) {
            let got = format!("the same pixels as {}", first.shown());
            findings[member.split].add(Code::IdenticalImages, member.place(), got);
        }
        let contradiction = |&j: &usize| Some((members[j].split, member.contradicts(&members[j])?));
        if let Some((split, got)) = earlier.iter().find_map(contradiction) {
            let of_split = (split == member.split).then(|| &mut findings[split]);
            of_split.unwrap_or(&mut *across).add(Code::ContradictingLabels, member.place(), got);
        }
        let elsewhere = earlier.iter().map(|&j| &members[j]).find(|m| m.split != member.split);
        if let Some(first) = elsewhere {
            let (here, there) = (names[member.split], names[first.split]);
            let got = if first.file == member.file {
                format!("this file of {here} is also in {there}")
            } else {
                format!("in {here}, with the same pixels as {} of {there}", first.shown())
            };
            across.add(Code::SharedImage, member.place(), got);
            shared.insert(i);
        }
        earlier.push(i);
    }
    shared
}

/// Images that look like one of an earlier split.
fn near(
    members: &[Member<'_>],
    shared: &HashSet<usize>,
    names: &[Split],
    distance: u32,
    across: &mut Findings,
) {
    let seen: Vec<(usize, Print)> = members
        .iter()
        .enumerate()
        .filter_map(|(i, member)| Some((i, member.seen?.print.clone())))
        .collect();
    let (positions, prints): (Vec<usize>, Vec<Print>) = seen.into_iter().unzip();
    let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
    let component = components(&prints, distance);
    for (k, &group) in component.iter().enumerate() {
        groups.entry(group).or_default().push(k);
    }
    for (k, group) in component.iter().enumerate() {
        let (i, group) = (positions[k], &groups[group]);
        if group.len() == 1 || shared.contains(&i) {
            continue;
        }
        let member = &members[i];
        let like = |&other: &usize| {
            let earlier = members[positions[other]].split < member.split;
            let like = earlier.then(|| prints[other].looks_like(&prints[k], distance))?;
            like.map(|(turn, bits)| (bits, positions[other], turn))
        };
        if let Some((bits, other, turn)) = group.iter().filter_map(like).min_by_key(|l| (l.0, l.1))
        {
            let turned = if turn == Turn::None { "" } else { turn.name() };
            let comma = if turned.is_empty() { "" } else { ", " };
            let got = format!(
                "in {}, looks like {} of {}{comma}{turned} ({bits} of 63 bits differ)",
                names[member.split],
                members[other].shown(),
                names[members[other].split]
            );
            across.add(Code::NearDuplicate, member.place(), got);
        }
    }
}

/// Patients or clips that an earlier split also has.
fn groups<'a, K: Into<String>>(
    audits: &'a [(Split, Audit)],
    code: Code,
    noun: &str,
    key: impl Fn(&'a AuditedImage) -> Option<K>,
    across: &mut Findings,
) {
    // By key, the first split and the number of its images.
    let mut first: HashMap<String, (Split, usize)> = HashMap::new();
    for (split, audit) in audits {
        // In the order of the file.
        let mut here: Vec<(String, &AuditedImage, usize)> = Vec::new();
        let mut position: HashMap<String, usize> = HashMap::new();
        for image in &audit.images {
            let Some(key) = key(image).map(Into::into) else { continue };
            let at = *position.entry(key.clone()).or_insert_with(|| {
                here.push((key, image, 0));
                here.len() - 1
            });
            here[at].2 += 1;
        }
        for (key, image, count) in here {
            if let Some((other, there)) = first.get(&key) {
                let got = format!("{noun} {key}: {there} images in {other}, {count} in {split}");
                across.add(code, audit.place(image), got);
            } else {
                first.insert(key, (*split, count));
            }
        }
    }
}
