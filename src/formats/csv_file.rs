//! Tables with whatever separator a spreadsheet puts between their columns.

use anyhow::{Result, bail, ensure};
use sonotune_base::{Error, words::did_you_mean};

use crate::text::{GARBLED, decode};

/// In the order in which they are preferred.
const SEPARATORS: [u8; 4] = *b",;\t|";

/// A table in memory.
#[derive(Debug)]
pub struct CsvFile {
    path: String,
    header: Vec<String>,
    /// Each row with its line in the file, from 1.
    pub rows: Vec<(u64, Vec<String>)>,
}

impl CsvFile {
    /// Reads CSV. `columns`: names of the columns; if there are none, the first line has them. The
    /// separator is the one that gives most of the columns `needed`.
    ///
    /// # Errors
    /// Kind data: the file is not text, or a row has too few or too many entries.
    pub fn read(bytes: &[u8], path: &str, columns: &[String], needed: &[&str]) -> Result<Self> {
        let text = decode(bytes, path)?;
        let (told, text, skipped) = separator_line(&text);
        let separator = told.unwrap_or_else(|| separator(text, columns, needed));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(columns.is_empty())
            .trim(csv::Trim::All)
            .delimiter(separator)
            .from_reader(text.as_bytes());
        let fail = |error: csv::Error| Error::data(format!("{path}: {error}"));
        let header = match columns {
            [] => reader.headers().map_err(fail)?.iter().map(str::to_owned).collect(),
            columns => columns.to_vec(),
        };
        let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 + skipped };
        let rows = reader.records().map(|record| {
            let record = record.map_err(fail)?;
            let line = lines.at(record.position().map_or(0, csv::Position::byte));
            Ok((line, record.iter().map(str::to_owned).collect()))
        });
        Ok(Self { path: path.to_owned(), rows: rows.collect::<Result<_>>()?, header })
    }

    /// Reads lines of words that blanks separate.
    ///
    /// # Errors
    /// Kind data: the file is not text.
    pub fn of_words(bytes: &[u8], path: &str, columns: &[String]) -> Result<Self> {
        let text = decode(bytes, path)?;
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows = (1..).zip(text.lines().map(words)).filter(|(_, row)| !row.is_empty());
        Ok(Self { path: path.to_owned(), rows: rows.collect(), header: columns.to_vec() })
    }

    /// Position of a column.
    ///
    /// # Errors
    /// Kind data: there is none of this name, or two; lists those that there are.
    pub fn column(&self, name: &str) -> Result<usize> {
        let path = &self.path;
        let mut places = self.header.iter().enumerate().filter(|(_, known)| *known == name);
        let Some((place, _)) = places.next() else {
            let near = did_you_mean(name, self.header.iter().map(String::as_str));
            let known = self.header.join(", ");
            bail!(Error::data(format!("{path}: no column `{name}`{near}; it has {known}")));
        };
        ensure!(
            places.next().is_none(),
            Error::data(format!("{path}: two columns are called `{name}`; rename one of them"))
        );
        Ok(place)
    }

    /// An entry; `None` for an empty one.
    ///
    /// # Errors
    /// Kind data: its encoding is unknown.
    pub fn entry<'a>(&self, line: u64, row: &'a [String], at: usize) -> Result<Option<&'a str>> {
        let entry = row.get(at).map(String::as_str).filter(|entry| !entry.is_empty());
        if let Some(garbled) = entry.filter(|entry| entry.contains(GARBLED)) {
            bail!(Error::data(format!(
                "{}, line {line}: `{garbled}` is not UTF-8; save the table as CSV in UTF-8",
                self.path
            )));
        }
        Ok(entry)
    }
}

/// Counts lines; the parser's own count is one too low where lines end in `\r\n`.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the row that begins at this byte or after the ends of lines there.
    fn at(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX).clamp(self.at, self.text.len());
        let ends = self.text[byte..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let passed = &self.text[self.at..byte + ends];
        self.line += passed.iter().filter(|b| **b == b'\n').count() as u64;
        self.at = byte + ends;
        self.line
    }
}

/// The separator that a first line `sep=;` tells a spreadsheet, the text after it, and its lines.
fn separator_line(text: &str) -> (Option<u8>, &str, u64) {
    let told = text.split_once('\n').and_then(|(first, rest)| match first.trim_end().as_bytes() {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', separator] => Some((*separator, rest)),
        _ => None,
    });
    told.map_or((None, text, 0), |(separator, rest)| (Some(separator), rest, 1))
}

/// The separator that gives most of the columns `needed`, or with `columns`, as many.
fn separator(text: &str, columns: &[String], needed: &[&str]) -> u8 {
    let score = |separator: u8| {
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).trim(csv::Trim::All).delimiter(separator);
        let first = reader.from_reader(text.as_bytes()).into_records().next();
        let Some(Ok(first)) = first else { return (0, 0) };
        let found = match columns {
            [] => needed.iter().filter(|name| first.iter().any(|entry| entry == **name)).count(),
            columns => usize::from(first.len() == columns.len()),
        };
        (found, first.len())
    };
    // The last of equals wins.
    SEPARATORS.into_iter().rev().max_by_key(|&separator| score(separator)).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_separator_is_told_from_the_columns() {
        let cases = [
            "image,class\na,1;5",
            "image;class\na;1,5",
            "image\tclass\na\t\"x\ty\"",
            "image|class\na|b",
            "sep=;\r\nimage;class\r\na;b",
            "note,s;image;class\n1,2;a;b",
        ];
        for text in cases {
            let file = CsvFile::read(text.as_bytes(), "t.csv", &[], &["image", "class"]).unwrap();
            let (line, row) = &file.rows[0];
            assert_eq!(*line, 2 + u64::from(text.starts_with("sep")), "{text}");
            let image = file.entry(*line, row, file.column("image").unwrap()).unwrap();
            assert_eq!(image, Some("a"), "{text}");
            assert!(file.column("class").is_ok(), "{text}");
        }
        let columns = ["image", "class"].map(str::to_owned);
        for text in ["a,b", "a;b", "a\tb"] {
            let file = CsvFile::read(text.as_bytes(), "t.csv", &columns, &["image"]).unwrap();
            assert_eq!(file.rows, [(1, vec!["a".to_owned(), "b".to_owned()])], "{text}");
        }
        let one = CsvFile::read(b"image\na", "t.csv", &[], &["image"]).unwrap();
        assert_eq!(one.rows, [(2, vec!["a".to_owned()])]);
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let read = |bytes: &[u8]| CsvFile::read(bytes, "t.csv", &[], &["image"]);
        let twice = read(b"image;image\na;b").unwrap().column("image").unwrap_err().to_string();
        assert_eq!(twice, "t.csv: two columns are called `image`; rename one of them");
        let none = read(b"Image;class\na;b").unwrap().column("image").unwrap_err().to_string();
        let known = "t.csv: no column `image` (did you mean \"Image\"?); it has Image, class";
        assert_eq!(none, known);
        let file = read(b"image\ngr\xf6n").unwrap();
        let (line, row) = &file.rows[0];
        let garbled = file.entry(*line, row, 0).unwrap_err().to_string();
        assert!(garbled.starts_with("t.csv, line 2: `gr\u{fffd}n` is not UTF-8; "), "{garbled}");
    }
}
