//! What the names of files and folders say: mask or image, which split, which patient.

use sonotune_dataset::Split;

/// Words for annotations, in lower case.
const MASK_WORDS: [&str; 17] = [
    "mask",
    "masks",
    "seg",
    "segs",
    "segmentation",
    "segmentations",
    "segmented",
    "label",
    "labels",
    "gt",
    "gts",
    "groundtruth",
    "groundtruths",
    "truth",
    "annotation",
    "annotations",
    "annotated",
];

/// Words for images, in lower case.
const IMAGE_WORDS: [&str; 8] =
    ["image", "images", "img", "imgs", "original", "originals", "raw", "pictures"];

/// Words that name a patient if a number follows.
const PATIENT_WORDS: [&str; 7] = ["patient", "pat", "subject", "subj", "sub", "case", "pid"];

/// The folders of a path with `/`, and the name without its ending.
pub(crate) fn parts(path: &str) -> (Vec<&str>, &str) {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let stem =
        name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem });
    (folders.split('/').filter(|folder| !folder.is_empty()).collect(), stem)
}

/// Whether a folder or the name itself says that this is an annotation.
pub(crate) fn says_mask(path: &str) -> bool {
    let (folders, stem) = parts(path);
    folders.into_iter().chain([stem]).any(|part| find(part, &MASK_WORDS).is_some())
}

/// The split that a folder is named after, as in `train`, `training_set`, `valid`.
pub(crate) fn split_of(folder: &str) -> Option<Split> {
    let mut words = words(folder).map(|(start, end)| folder[start..end].to_lowercase());
    let first = words.next()?;
    let rest_is_plain = words.all(|word| {
        matches!(&*word, "set" | "data" | "split" | "dataset")
            || IMAGE_WORDS.contains(&&*word)
            || MASK_WORDS.contains(&&*word)
    });
    match &*first {
        _ if !rest_is_plain => None,
        "train" | "training" | "trainset" => Some(Split::Train),
        "val" | "valid" | "validation" | "dev" | "valset" => Some(Split::Val),
        "test" | "testing" | "testset" => Some(Split::Test),
        _ => None,
    }
}

/// The split that any of the folders is named after, or the start of a file's name.
pub(crate) fn split_of_path(path: &str) -> Option<Split> {
    parts(path).0.into_iter().rev().find_map(split_of)
}

/// A folder's name without words for images and annotations: `train_masks` and `train_images` are both `train`.
pub(crate) fn plain_folder(folder: &str) -> String {
    let without = without(folder, &MASK_WORDS);
    let plain = self::without(&without, &IMAGE_WORDS);
    if plain.eq_ignore_ascii_case("ground") { String::new() } else { plain }
}

/// What pairs an annotation with its image: the folders and the name without words for annotations, and without
/// the number that counts the masks of one image (`case_mask_1`).
pub(crate) fn key(path: &str, is_mask: bool) -> String {
    let (folders, stem) = parts(path);
    let mut key = folder_key(&folders);
    key.push_str(&if is_mask { mask_stem(stem) } else { stem.to_owned() });
    key
}

/// Same as [`key`] with the last number of the name in place of the name: `Test_Image_7` and `mask_7`.
pub(crate) fn number_key(path: &str) -> Option<String> {
    let (folders, stem) = parts(path);
    let end = stem.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = stem[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + stem[at..].chars().next().map_or(1, char::len_utf8));
    let number = stem[start..end].trim_start_matches('0');
    Some(format!("{}{}", folder_key(&folders), if number.is_empty() { "0" } else { number }))
}

fn folder_key(folders: &[&str]) -> String {
    let plain = folders.iter().map(|folder| plain_folder(folder)).filter(|f| !f.is_empty());
    plain.map(|folder| folder + "/").collect()
}

fn mask_stem(stem: &str) -> String {
    let Some((start, end)) = find(stem, &MASK_WORDS) else { return stem.to_owned() };
    let (before, after) = (trimmed(&stem[..start]), trimmed(&stem[end..]));
    let counts = after.chars().all(|c| c.is_ascii_digit());
    match (before.is_empty(), after.is_empty()) {
        (true, _) => after.to_owned(),
        (false, true) => before.to_owned(),
        (false, false) if counts => before.to_owned(),
        (false, false) => format!("{before}_{after}"),
    }
}

/// The patient that a word followed by a number names, in the folders or the name: `patient12`, `case-007`.
pub(crate) fn named_patient(path: &str) -> Option<String> {
    let (folders, stem) = parts(path);
    folders.into_iter().chain([stem]).find_map(|part| {
        let (_, end) = find(part, &PATIENT_WORDS)?;
        let rest = part[end..].trim_start_matches(separates);
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        (digits > 0).then(|| rest[..digits].to_owned())
    })
}

/// The number that a name begins with, if more follows: `010_2HC` is of 010.
pub(crate) fn leading_number(path: &str) -> Option<&str> {
    let (_, stem) = parts(path);
    let digits = stem.len() - stem.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let follows = stem[digits..].starts_with(['_', '-']) && stem.len() > digits + 1;
    (digits > 0 && follows).then(|| &stem[..digits])
}

fn separates(c: char) -> bool {
    matches!(c, '_' | '-' | ' ' | '.')
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(separates)
}

/// Where each run of letters is; `maskRCNN` and `Mask2` begin with `mask`, capitals start a word.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(char::is_alphabetic)?;
        let mut end = text.len();
        let mut was_lower = false;
        for (i, c) in text[start..].char_indices() {
            if !c.is_alphabetic() || (was_lower && c.is_uppercase()) {
                end = start + i;
                break;
            }
            was_lower = c.is_lowercase();
        }
        at = end;
        Some((start, end))
    })
}

/// The last of `among` in the text.
fn find(text: &str, among: &[&str]) -> Option<(usize, usize)> {
    let is_one =
        |&(start, end): &(usize, usize)| among.contains(&&*text[start..end].to_lowercase());
    words(text).filter(is_one).last()
}

/// The text without any of `among`.
fn without(text: &str, among: &[&str]) -> String {
    let mut text = text.to_owned();
    while let Some((start, end)) = find(&text, among) {
        let (before, after) = (trimmed(&text[..start]), trimmed(&text[end..]));
        let gap = if before.is_empty() || after.is_empty() { "" } else { "_" };
        text = format!("{before}{gap}{after}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_images_of_known_conventions_share_a_key() {
        for (image, mask) in [
            ("benign/benign (1).png", "benign/benign (1)_mask.png"),
            ("benign/benign (1).png", "benign/benign (1)_mask_1.png"),
            ("benign/images/benign (1).png", "benign/mask/benign (1)_mask.png"),
            ("training_set/010_2HC.png", "training_set/010_2HC_Annotation.png"),
            ("images/a.jpg", "masks/a.png"),
            ("train_images/a.jpg", "train_masks/a.png"),
            ("imgs/a.jpg", "ground_truth/a.png"),
            ("a/x.png", "a/GroundTruth/x.png"),
            ("x.bmp", "xMask.bmp"),
        ] {
            assert!(!says_mask(image), "{image}");
            assert!(says_mask(mask), "{mask}");
            assert_eq!(key(image, false), key(mask, true), "{image}, {mask}");
        }
        assert_eq!(number_key("Hospital/Test_Image_07.png"), number_key("Hospital/mask_7.png"));
        assert_eq!(number_key("é9ü.png").as_deref(), Some("9"));
        assert_eq!(number_key("none.png"), None);
    }

    #[test]
    fn folders_name_splits() {
        for (folder, split) in [
            ("train", Some(Split::Train)),
            ("training_set", Some(Split::Train)),
            ("Validation", Some(Split::Val)),
            ("test images", Some(Split::Test)),
            ("testicular", None),
            ("train station", None),
            ("12", None),
        ] {
            assert_eq!(split_of(folder), split, "{folder}");
        }
    }

    #[test]
    fn names_tell_patients() {
        assert_eq!(named_patient("benign/patient_012/a.png").as_deref(), Some("012"));
        assert_eq!(named_patient("Case-7_left.png").as_deref(), Some("7"));
        assert_eq!(named_patient("benign (1).png"), None);
        assert_eq!(leading_number("a/010_2HC.png"), Some("010"));
        assert_eq!(leading_number("10.png"), None);
    }
}
