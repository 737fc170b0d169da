//! Whether a task that learns masks finds any.

use sonotune_base::words::counted;

use sonotune_dataset::findings::{Audit, AuditedObject, Code, Findings, Place};

/// Adds what a split lacks for a task that learns masks.
pub(super) fn check(audit: &Audit, findings: &mut Findings) {
    if audit.images.is_empty() {
        return;
    }
    let mut add = |code, got: String| findings.add(code, Place::file(&audit.source), got);
    let objects =
        || audit.images.iter().flat_map(|image| image.objects.iter().map(move |o| (image, o)));
    let learnt = || objects().filter(|(_, o)| !o.object.is_crowd);
    let is_box = |o: &AuditedObject| o.object.is_box_only();
    let (all, crowds) = (learnt().count(), objects().count() - learnt().count());
    let boxes = learnt().filter(|(_, o)| is_box(o)).count();
    if all == 0 {
        let crowds =
            if crowds > 0 { format!(", {}", counted(crowds, "crowd")) } else { String::new() };
        add(
            Code::NothingToLearn,
            format!("{}, no object{crowds}", counted(audit.images.len(), "image")),
        );
    } else if boxes == all {
        add(Code::NoMasks, format!("no mask for any of {}", counted(all, "object")));
    } else if all > 1 && learnt().all(|(_, o)| o.object.is_outlined_by_its_box()) {
        add(Code::MasksAreBoxes, format!("all {}", counted(all, "mask")));
    } else {
        for (image, object) in learnt().filter(|(_, o)| is_box(o)) {
            findings.add(Code::BoxWithoutMask, audit.object_place(image, object), "only a box");
        }
    }
}
