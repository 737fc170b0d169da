//! One line of a list: which part is the path, and which the label.

use std::{borrow::Cow, path::Path};

use crate::files::is_image;

/// One image of a list.
#[derive(Debug, PartialEq)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) path: Cow<'a, str>,
    /// One label, or several joined by commas.
    pub(super) labels: &'a str,
    /// Whether only blanks separate it from the path; then a blank in the label may also separate.
    pub(super) by_blank: bool,
}

impl Line<'_> {
    /// Its labels, if none of them is a name with a comma.
    pub(super) fn each(&self) -> impl Iterator<Item = &str> {
        self.labels.split(',').map(str::trim)
    }

    /// The first label that may be a label and something else.
    pub(super) fn unclear(&self) -> Option<&str> {
        self.each().find(|label| self.by_blank && label.contains(char::is_whitespace))
    }
}

/// The lines that are neither empty nor comments; for one that cannot be read, its number and what
/// is there in place of `path label`. A heading is passed over.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Result<Line<'_>, (usize, String)>> {
    let lines = text.lines().map(str::trim).zip(1..);
    let filled = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let read = filled.map(|(line, number)| match fields(line) {
        Ok((path, labels, by_blank)) => Ok(Line { number, path: path.into(), labels, by_blank }),
        Err(got) => Err((number, got)),
    });
    let is_heading = |(i, line): &(usize, Result<Line<'_>, _>)| {
        *i == 0 && line.as_ref().is_ok_and(|line| is_heading(&line.path, line.labels))
    };
    read.enumerate().filter(move |line| !is_heading(line)).map(|(_, line)| line)
}

fn is_heading(path: &str, label: &str) -> bool {
    let is_one_of = |name: &str, words: &[&str]| {
        let name: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
        words.contains(&&*name.to_lowercase())
    };
    const PATHS: [&str; 9] =
        ["path", "file", "files", "filename", "filepath", "image", "imagename", "imagepath", "img"];
    const LABELS: [&str; 6] = ["label", "labels", "class", "category", "target", "diagnosis"];
    is_one_of(path, &PATHS) && is_one_of(label, &LABELS)
        || is_one_of(path, &LABELS) && is_one_of(label, &PATHS)
}

fn separates(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';')
}

/// Path, labels, and whether only blanks are between them; or what is wrong with the line.
///
/// A path ends with the ending of an image, so that it may contain blanks. Without one, the label is
/// what follows the last blank.
fn fields(line: &str) -> Result<(&str, &str, bool), String> {
    if let Some((first, second)) = quoted(line) {
        let by_blank = unquoted(second) == second;
        return ordered(line, first, unquoted(second), by_blank);
    }
    if line.contains('\t') {
        let fields: Vec<&str> =
            line.split('\t').map(str::trim).filter(|field| !field.is_empty()).collect();
        let [first, second] = fields[..] else { return Err(columns(line, fields.len())) };
        return ordered(line, unquoted(first), unquoted(second), false);
    }
    let ends = |&(at, c): &(usize, char)| {
        let follows = !line[at..].trim_start_matches(separates).is_empty();
        separates(c) && follows && is_image(Path::new(&line[..at]))
    };
    if let Some((at, _)) = line.char_indices().rev().find(ends) {
        let rest = &line[at..];
        let label = rest.trim_start_matches(separates);
        let by_comma = rest[..rest.len() - label.len()].contains([',', ';']);
        if by_comma && label.contains([',', ';']) && unquoted(label) == label {
            return Err(columns(line, label.split([',', ';']).count() + 1));
        }
        let by_blank = !by_comma && unquoted(label) == label;
        return ordered(line, &line[..at], unquoted(label), by_blank);
    }
    if is_image(Path::new(line)) {
        return label_first(line);
    }
    if let Some((path, label)) = line.rsplit_once(char::is_whitespace) {
        return Ok((path.trim_end_matches(separates), label, true));
    }
    match line.split([',', ';']).collect::<Vec<_>>()[..] {
        [path, label] => Ok((path, label, false)),
        [_] => Err(format!("`{line}`")),
        ref fields => Err(columns(line, fields.len())),
    }
}

/// The quoted beginning of a line and what follows it.
fn quoted(line: &str) -> Option<(&str, &str)> {
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (first, rest) = line[1..].split_once(quote)?;
    let second = rest.trim_start_matches(separates);
    (second.len() < rest.len() && !second.is_empty()).then_some((first, second))
}

fn unquoted(field: &str) -> &str {
    let inner = |quote| field.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(field)
}

/// Path and label in whatever order: only the path has the ending of an image.
fn ordered<'a>(
    line: &str,
    first: &'a str,
    second: &'a str,
    by_blank: bool,
) -> Result<(&'a str, &'a str, bool), String> {
    match (is_image(Path::new(first)), is_image(Path::new(second))) {
        (true, true) => Err(format!("`{line}`, which has two images and no label")),
        (false, true) => Ok((second, first, by_blank)),
        _ => Ok((first, second, by_blank)),
    }
}

/// A line that ends with an image.
fn label_first(line: &str) -> Result<(&str, &str, bool), String> {
    let parts: Vec<&str> = line.split(separates).filter(|part| !part.is_empty()).collect();
    match parts[..] {
        [label, path] => Ok((path, label, false)),
        [_] => Err(format!("`{line}`, which has no label")),
        _ => Err(format!(
            "`{line}`, where the label may come first: separate path and label with a tab"
        )),
    }
}

fn columns(line: &str, count: usize) -> String {
    format!(
        "`{line}`, which has {count} fields: keep path and label, and write several labels as \
         `a.png benign,cyst`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_label_are_told_apart_however_they_are_separated() {
        for (line, path, label) in [
            ("a.png benign", "a.png", "benign"),
            ("case 1.png  benign", "case 1.png", "benign"),
            ("old.png/case 1.PNG benign", "old.png/case 1.PNG", "benign"),
            ("a.png benign,cyst", "a.png", "benign,cyst"),
            ("a.png benign, cyst", "a.png", "benign, cyst"),
            ("a.png left lobe", "a.png", "left lobe"),
            ("case 1.png\tleft lobe", "case 1.png", "left lobe"),
            ("a.png \t \t benign", "a.png", "benign"),
            ("a.png,benign", "a.png", "benign"),
            ("case 1.png, left lobe", "case 1.png", "left lobe"),
            ("a.png;0", "a.png", "0"),
            ("\"a.png\" \"left lobe\"", "a.png", "left lobe"),
            ("\"a.png\",\"benign\"", "a.png", "benign"),
            ("\"a.png\"\t\"benign\"", "a.png", "benign"),
            ("'a.png' 'benign'", "a.png", "benign"),
            ("a.png \"left lobe\"", "a.png", "left lobe"),
            ("a.png,\"benign,cyst\"", "a.png", "benign,cyst"),
            ("'a.png benign", "'a.png", "benign"),
            ("0 a.png", "a.png", "0"),
            ("benign,sub/a.png", "sub/a.png", "benign"),
            ("left lobe\tcase 1.png", "case 1.png", "left lobe"),
            ("\"left lobe\" case 1.png", "case 1.png", "left lobe"),
            // Without the ending of an image, the last blank separates.
            ("case 1 benign", "case 1", "benign"),
            ("a.dcm, benign", "a.dcm", "benign"),
            ("a,benign", "a", "benign"),
        ] {
            let read = fields(line).map(|(path, label, _)| (path, label));
            assert_eq!(read, Ok((path, label)), "{line}");
        }
        for (line, part) in [
            ("nothing", "`nothing`"),
            ("a.png", "no label"),
            ("left lobe a.png", "with a tab"),
            ("a.png b.png", "two images"),
            ("a.png\tbenign\ttrain", "3 fields"),
            ("a.png,benign,train", "3 fields"),
            ("file,label,split", "3 fields"),
        ] {
            let error = fields(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn a_heading_is_passed_over_and_unclear_labels_are_known() {
        let read = |text| lines(text).map(|line| line.unwrap().number).collect::<Vec<_>>();
        assert_eq!(read("# x\n\nimage_path,label\na.png,label\n"), [4]);
        assert_eq!(read("label\tfile\na.png\tb\n"), [2]);
        assert_eq!(read("a.png b\nimage label\n"), [1, 2]);
        let unclear = |text| lines(text).next().unwrap().unwrap().unclear().map(str::to_owned);
        assert_eq!(unclear("a.png benign,left lobe").as_deref(), Some("left lobe"));
        for clear in ["a.png benign, cyst", "a.png\tleft lobe", "a.png \"left lobe\"", "a.png,x y"]
        {
            assert_eq!(unclear(clear), None, "{clear}");
        }
    }
}
