//! Sentences that people read: out of comments, string literals and documents.

/// Lines that belong together, so that a phrase may run over the end of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prose {
    /// The first line, from 1.
    pub(super) line: usize,
    /// Its line breaks are those of the file, so that a phrase's line can be counted.
    pub(super) text: String,
}

/// What opens a line of a comment, longest first.
const COMMENT_MARKS: [&str; 8] = ["///", "//!", "//", "/**", "/*!", "/*", "*/", "*"];

/// Comments in the space between two tokens, which begins in line `line`.
pub(super) fn of_comments(gap: &str, line: usize) -> Vec<Prose> {
    blocks(gap, line, &COMMENT_MARKS)
}

/// Paragraphs of a document, or of any file whose comments begin with `#` or `//`.
pub(super) fn of_document(text: &str) -> Vec<Prose> {
    blocks(text, 1, &["///", "//", "#"])
}

/// A string literal as it is written; `None` for one character and for numbers.
pub(super) fn of_string(literal: &str, line: usize) -> Option<Prose> {
    let (start, end) = (literal.find('"')?, literal.rfind('"')?);
    if !literal[..start].chars().all(|c| "rbc#".contains(c)) || end <= start {
        return None;
    }
    // An escape would otherwise be glued to the word after it.
    let text = literal[start + 1..end].replace("\\n", " ").replace("\\\n", "\n");
    Some(Prose { line, text })
}

/// Runs of lines that open with the same mark; an empty line ends one.
fn blocks(text: &str, first: usize, marks: &[&'static str]) -> Vec<Prose> {
    let mut blocks: Vec<Prose> = Vec::new();
    let mut before = None;
    for (line, content) in (first..).zip(text.split('\n')) {
        let content = content.trim();
        let mark = marks.iter().copied().find(|mark| content.starts_with(mark)).unwrap_or("");
        let content = content[mark.len()..].trim_end_matches("*/").trim();
        if content.is_empty() {
            before = None;
            continue;
        }
        match blocks.last_mut().filter(|_| before == Some(mark)) {
            Some(block) => {
                block.text.push('\n');
                block.text.push_str(content);
            }
            None => blocks.push(Prose { line, text: content.to_owned() }),
        }
        before = Some(mark);
    }
    blocks
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::gate::source;

    fn prose(line: usize, text: &str) -> Prose {
        Prose { line, text: text.to_owned() }
    }

    #[test]
    fn a_rust_file_gives_its_comments_and_strings_with_their_lines() {
        let text = "//! About\n//! the file.\n\n/// Doc.\n// Reason.\nfn f<'a>(x: &'a str) {\n    \
                    g(\"two \\\n       lines\", '\"', br#\"raw \"one\"\"#, 'x'); // trailing\n    /* block\n     \
                    * of lines */\n}\n";
        let source = source::parse(Path::new("a.rs"), text).unwrap();
        let expected = [
            prose(1, "About\nthe file."),
            prose(4, "Doc."),
            prose(5, "Reason."),
            prose(7, "two \n       lines"),
            prose(8, "raw \"one\""),
            prose(8, "trailing"),
            prose(9, "block"),
            prose(10, "of lines"),
        ];
        assert_eq!(source.prose, expected);
    }

    #[test]
    fn a_document_gives_paragraphs() {
        let expected = [prose(1, "Title"), prose(3, "one\ntwo"), prose(6, "comment")];
        assert_eq!(of_document("# Title\n\none\ntwo\n\n# comment\n"), expected);
    }
}
