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

/// Why two different names probably mean the same, as a clause: `differ only in letter case`. `None`
/// for names that may well be two: numbers and single letters tell classes apart (`cyst 1` and
/// `cyst 2`), and so does a sign (`HER2+` and `HER2-`).
#[must_use]
pub fn likeness(a: &str, b: &str) -> Option<&'static str> {
    if a == b {
        return None;
    }
    let without_space = |name: &str| name.split_whitespace().collect::<String>();
    let (lower_a, lower_b) = (a.to_lowercase(), b.to_lowercase());
    let (words_a, words_b) = (words(a), words(b));
    if lower_a == lower_b {
        Some("differ only in letter case")
    } else if without_space(a) == without_space(b) && words_a.concat() == words_b.concat() {
        Some("differ only in white space")
    } else if words_a.concat() == words_b.concat() {
        Some("differ only in letter case, white space or punctuation")
    } else if words_a.len() == words_b.len() {
        let mut differing = words_a.iter().zip(&words_b).filter(|(a, b)| a != b);
        let typo = differing.next().is_some_and(|(a, b)| is_typo(a, b));
        (typo && differing.next().is_none()).then_some("are nearly equal")
    } else {
        None
    }
}

/// The words and numbers of a name in lower case, without what separates them. A sign at the
/// beginning or the end is a word, and so is what separates two digits: `1.5` is not `15`.
fn words(name: &str) -> Vec<String> {
    let kind = |c: char| match c {
        _ if c.is_whitespace() || matches!(c, '_' | '-' | '.' | '\'' | '"' | '`') => 0,
        _ if c.is_numeric() => 1,
        _ if c.is_alphabetic() => 2,
        _ => 3,
    };
    let characters: Vec<char> = name.trim().to_lowercase().chars().collect();
    let mut words: Vec<String> = Vec::new();
    for (i, run) in characters.chunk_by(|a, b| kind(*a) == kind(*b)).scan(0, |at, run| {
        *at += run.len();
        Some((*at, run))
    }) {
        let (before, after) = (characters.get((i - run.len()).wrapping_sub(1)), characters.get(i));
        let is_digit = |c: Option<&char>| c.is_some_and(|c| c.is_numeric());
        let is_sign = run.contains(&'-')
            && (before.is_none() && is_digit(after) || after.is_none() && before.is_some());
        if kind(run[0]) != 0 || is_sign || is_digit(before) && is_digit(after) {
            words.push(run.iter().collect());
        }
    }
    words
}

/// Whether two words differ as a slip of the keyboard does. Short words that differ in a letter are
/// often two (`ileum`, `ilium`).
fn is_typo(a: &str, b: &str) -> bool {
    let (short, long) = if a.chars().count() <= b.chars().count() { (a, b) } else { (b, a) };
    let length = short.chars().count();
    if short.chars().any(char::is_numeric) || long.chars().any(char::is_numeric) {
        return false;
    }
    if strsim::osa_distance(a, b) != 1 || short.chars().next() != long.chars().next() {
        return false;
    }
    let is_plural = long.strip_suffix('s') == Some(short);
    if long.chars().count() > length {
        return length >= if is_plural { 4 } else { 5 };
    }
    let is_swap = strsim::levenshtein(a, b) > 1;
    if is_swap { length >= 5 } else { length >= 6 && a.chars().last() == b.chars().last() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_class_are_alike_and_names_of_two_are_not() {
        for (a, b, how) in [
            ("benign", "Benign", "differ only in letter case"),
            ("benign", " benign ", "differ only in white space"),
            ("left lobe", "left  lobe", "differ only in white space"),
            ("benign", "benign\u{a0}", "differ only in white space"),
            ("benign", "benign_", "differ only in letter case, white space or punctuation"),
            ("BI-RADS 2", "birads2", "differ only in letter case, white space or punctuation"),
            ("Left_Lobe", "left lobe", "differ only in letter case, white space or punctuation"),
            ("bening", "benign", "are nearly equal"),
            ("begign", "benign", "are nearly equal"),
            ("benig", "benign", "are nearly equal"),
            ("malignant tumour", "Malignent tumour", "are nearly equal"),
            ("cyst", "cysts", "are nearly equal"),
        ] {
            assert_eq!((likeness(a, b), likeness(b, a)), (Some(how), Some(how)), "{a:?} {b:?}");
        }
        for (a, b) in [
            ("benign", "malignant"),
            ("cyst 1", "cyst 2"),
            ("cyst 1", "cyst 12"),
            ("left", "left2"),
            ("BI-RADS 2", "BI-RADS 3"),
            ("BI-RADS 4a", "BI-RADS 4b"),
            ("1.5", "15"),
            ("grade 1-2", "grade 12"),
            ("HER2+", "HER2-"),
            ("HER2", "HER2-"),
            ("1", "-1"),
            ("nodule A", "nodule B"),
            ("stage ii", "stage iii"),
            ("mass", "mask"),
            ("ileum", "ilium"),
            ("medial", "median"),
            ("anterior", "interior"),
            ("left ventricle", "right ventricle"),
            ("normal", "abnormal"),
            ("left", "left"),
            ("", "a"),
        ] {
            assert_eq!((likeness(a, b), likeness(b, a)), (None, None), "{a:?} {b:?}");
        }
    }

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
