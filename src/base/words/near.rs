//! Suggestions for misspelt names.

/// Least similarity of a suggestion. Typos score well above it, and so does a name that shares its
/// beginning with the right one (`deep` and `depth`: 0.83); unrelated words score below 0.7.
const THRESHOLD: f64 = 0.8;

/// The candidate most similar to `word`, if any is similar enough; with ties, the last.
///
/// Jaro-Winkler, because people rarely get the beginning of a name wrong. Case, `_`, `-` and blanks
/// do not count: `weightDecay` finds `weight_decay`.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = fold(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &fold(candidate)), candidate))
        .filter(|(similarity, _)| *similarity >= THRESHOLD)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// ` (did you mean "benign"?)`: for a value in the data, within a sentence. Empty if no candidate is
/// near.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map(aside).unwrap_or_default()
}

/// ` (did you mean "benign"?)`, for a name that is known to be the right one.
#[must_use]
pub fn aside(name: &str) -> String {
    format!(" (did you mean \"{name}\"?)")
}

/// ``did you mean `lr`?``: for a key or a name that someone wrote into a file or a command.
pub fn question<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, candidates).map(|near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        for (word, near) in [
            ("bening", "benign"),
            ("Benign", "benign"),
            ("weightDecay", "weight_decay"),
            ("atleast", "at_least"),
            ("pnd", "pond"),
            ("lrr", "lr"),
            ("deep", "depth"),
            ("high", "highest"),
            ("patient_017_left", "patient_17_left"),
            ("mmdet_resnt", "mmdet_resnet"),
            ("lesion_area", "lesion_percent"),
        ] {
            assert_eq!(closest(word, ["malignant", near, "other"]), Some(near), "{word}");
        }
        assert_eq!(
            closest("classes.1.weigth", ["classes.0.weight", "classes.1.weight"]),
            Some("classes.1.weight")
        );
    }

    #[test]
    fn an_unrelated_name_finds_none() {
        for word in ["cyst", "gestational_age", "normal", "", "x"] {
            assert_eq!(closest(word, ["malign", "benign", "regression"]), None, "{word}");
        }
        assert_eq!(closest("benign", []), None);
    }

    #[test]
    fn the_forms_of_the_question() {
        let known = ["benign", "malignant"];
        assert_eq!(did_you_mean("bening", known), " (did you mean \"benign\"?)");
        assert_eq!(did_you_mean("cyst", known), "");
        assert_eq!(question("bening", known).unwrap(), "did you mean `benign`?");
        assert_eq!(question("cyst", known), None);
    }
}
