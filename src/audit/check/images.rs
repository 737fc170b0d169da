//! What can be wrong with an image as a file.

use std::path::Path;

use super::{
    Looked,
    look::{Look, Seen},
    objects::sized,
};
use sonotune_base::image_io::{ExifTurn, Peaks};
use sonotune_dataset::{
    Split,
    findings::{Audit, AuditedImage, Code, Example, Findings},
    image_names::{Elsewhere, sibling},
};

/// Adds the 16-bit images of all splits if all of them are dark as those of a device with fewer bits.
pub(super) fn check_bits(audits: &[(Split, Audit)], looked: &Looked, findings: &mut [Findings]) {
    let mut peaks = Peaks::default();
    for look in &looked.looks {
        if let Look::Decoded(seen) = look {
            peaks.add(seen.stored);
        }
    }
    let Some(bits) = peaks.bits() else { return };
    for ((_, audit), findings) in audits.iter().zip(findings) {
        for image in &audit.images {
            let Some(Look::Decoded(seen)) = looked.look(image) else { continue };
            if let Some(peak) = seen.stored.peak {
                let got = format!("its values reach {peak}; {}", peaks.words(bits));
                let expected = Some("values up to nearly 65535".into());
                findings
                    .push(Code::UnusedBits, Example { place: audit.place(image), expected, got });
            }
        }
    }
}

/// Everything that is wrong with the file of an image that was looked at.
pub(super) fn check(audit: &Audit, image: &AuditedImage, look: &Look) -> Vec<(Code, Example)> {
    let place = audit.place(image);
    let one = |code, expected: Option<String>, got: String| {
        vec![(code, Example { place: place.clone(), expected, got })]
    };
    match look {
        Look::Missing => {
            one(Code::MissingImage, None, missing(&image.path, audit.elsewhere.as_ref()))
        }
        Look::Empty => one(Code::EmptyFile, None, "a file of 0 bytes".into()),
        Look::NotAnImage(got) => one(Code::NotAnImage, Some("an image".into()), got.clone()),
        Look::Unreadable(why) => {
            // The place says which file it is.
            let prefix = format!("image {}: ", image.path.display());
            one(Code::UnreadableImage, None, why.replacen(&prefix, "", 1))
        }
        Look::Present => Vec::new(),
        Look::Decoded(seen) => {
            let mut found: Vec<_> = check_size(image, seen)
                .into_iter()
                .flat_map(|(code, expected, got)| one(code, expected, got))
                .collect();
            if seen.header.pages > 1 {
                let got =
                    format!("{} pages or frames, of which the first is used", seen.header.pages);
                found.extend(one(Code::SeveralPages, Some("one image".into()), got));
            }
            if seen.is_constant() {
                let got = format!("every pixel is {:?}", seen.pixels.lowest);
                found.extend(one(Code::ConstantImage, None, got));
            } else if seen.is_two_tone() {
                let (low, high) = (seen.pixels.lowest, seen.pixels.highest);
                let got = format!("its only values are {low:?} and {high:?}");
                found.extend(one(Code::TwoToneImage, None, got));
            }
            found
        }
    }
}

/// Millimetres a pixel of any ultrasound image: a microscope of 50 MHz is above the least, a whole abdomen in 100 pixels
/// below the most.
const PLAUSIBLE_MM: std::ops::RangeInclusive<f64> = 0.005..=5.0;

/// What the annotations say of an image that cannot be so, whatever its file is.
pub(super) fn check_spacing(audit: &Audit, image: &AuditedImage) -> Option<(Code, Example)> {
    let [row, column] = image.spacing?;
    if [row, column].iter().all(|side| PLAUSIBLE_MM.contains(side)) {
        return None;
    }
    let got = format!("`pixel_spacing` is [{row}, {column}]");
    let (low, high) = (PLAUSIBLE_MM.start(), PLAUSIBLE_MM.end());
    let expected = Some(format!("{low} to {high} mm a pixel"));
    Some((Code::ImplausibleSpacing, Example { place: audit.place(image), expected, got }))
}

fn check_size(image: &AuditedImage, seen: &Seen) -> Option<(Code, Option<String>, String)> {
    let got = (seen.height, seen.width);
    let how = if seen.transposed { "as rotated by EXIF" } else { "as stored" };
    let quarter = seen.header.orientation == ExifTurn::Quarter;
    match image.size {
        Some(size) if size != got => {
            let code = if quarter && size == (got.1, got.0) {
                Code::ExifRotated
            } else {
                Code::SizeMismatch
            };
            let expected = format!("{} (height x width, as annotated)", sized(size));
            let how = if quarter { format!(" {how}") } else { String::new() };
            Some((code, Some(expected), format!("{}{how}", sized(got))))
        }
        // Height and width tell which way it was annotated.
        Some(_) if quarter && got.0 != got.1 => None,
        _ if seen.has_orientation() => {
            let what =
                if quarter { "a rotation by 90 degrees" } else { "a mirrored or inverted image" };
            let used = if seen.follows_exif { "is" } else { "is not" };
            let got = format!("EXIF specifies {what}, which {used} applied (preprocess.exif)");
            Some((Code::ExifOrientation, None, got))
        }
        _ => None,
    }
}

/// Why the file is missing, and where it may be.
fn missing(path: &Path, elsewhere: Option<&Elsewhere>) -> String {
    if path.is_dir() {
        return "a folder, not a file".into();
    }
    if let Some(hint) = elsewhere.and_then(|elsewhere| elsewhere.hint(path)) {
        return format!("there is no such file, but {hint}");
    }
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return format!("there is no folder {}", parent.display());
    }
    match sibling(path).as_deref().and_then(Path::file_name) {
        Some(name) => format!("there is no such file, but there is {}", name.display()),
        None => "there is no such file".into(),
    }
}
