//! Rust files as tokens, and as the prose in their comments and strings.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

use super::{
    prose::{self, Prose},
    tree::Tree,
};

/// Files here are what programs are fed or are compared with; nobody maintains them as source.
pub(super) const FIXTURES: &str = "tests/fixtures";

pub(super) struct Source {
    /// Relative to the repository's root.
    pub(super) path: PathBuf,
    pub(super) tokens: Vec<Token>,
    pub(super) prose: Vec<Prose>,
}

/// A name, a literal as it is written, or one character of punctuation or bracket.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
}

/// # Errors
/// When a file cannot be read, or is not Rust.
pub(super) fn read_all(tree: &Tree) -> Result<Vec<Source>> {
    let rust = tree.files().filter(|file| file.extension() == Some("rs".as_ref()));
    let sources = rust.filter(|file| !file.starts_with(FIXTURES));
    sources.map(|file| parse(file, &tree.text(file)?)).collect()
}

/// # Errors
/// When `text` is not Rust.
pub(super) fn parse(path: &Path, text: &str) -> Result<Source> {
    let stream = TokenStream::from_str(text).map_err(|error| {
        let line = error.span().start().line;
        anyhow!("{}:{line}: cannot be read as Rust: {error}", path.display())
    })?;
    let mut reader = Reader::new(text);
    reader.stream(stream);
    reader.comments(text.len());
    // Every span would otherwise keep its file's text in memory.
    proc_macro2::extra::invalidate_current_thread_spans();
    let Reader { tokens, prose, .. } = reader;
    Ok(Source { path: path.to_path_buf(), tokens, prose })
}

struct Reader<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    /// Where the last token ended: what lies between it and the next is space and comments.
    end: usize,
    tokens: Vec<Token>,
    prose: Vec<Prose>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Self { text, line_starts, end: 0, tokens: Vec::new(), prose: Vec::new() }
    }

    fn stream(&mut self, stream: TokenStream) {
        for tree in stream {
            // A doc comment comes as an attribute whose parts all have the comment's span.
            let range = tree.span().byte_range();
            if self.text[range.clone()].starts_with("//")
                || self.text[range.clone()].starts_with("/*")
            {
                continue;
            }
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = brackets(group.delimiter());
                    self.token(open, group.span_open());
                    self.stream(group.stream());
                    self.token(close, group.span_close());
                }
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    let line = self.line(range.start);
                    self.token(&text, literal.span());
                    self.prose.extend(prose::of_string(&text, line));
                }
                TokenTree::Ident(ident) => self.token(&ident.to_string(), ident.span()),
                TokenTree::Punct(punct) => self.token(&punct.to_string(), punct.span()),
            }
        }
    }

    fn token(&mut self, text: &str, span: Span) {
        let Range { start, end } = span.byte_range();
        self.comments(start);
        self.end = end;
        self.tokens.push(Token { text: text.to_owned(), line: self.line(start) });
    }

    /// Collects the comments between the last token and `next`.
    fn comments(&mut self, next: usize) {
        let gap = &self.text[self.end..next];
        if gap.contains('/') {
            self.prose.extend(prose::of_comments(gap, self.line(self.end)));
        }
    }

    /// The line, from 1, that a byte is in.
    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}
