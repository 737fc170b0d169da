//! What every page has: head, title, sections, foot.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
/// Nothing is fetched from anywhere, whatever a name in the data may try.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page that needs nothing else, about a folder.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Its heading.
    pub name: &'a str,
    /// What kind of page it is.
    pub kind: &'a str,
    /// What it was made from.
    pub folder: &'a Path,
}

impl Document<'_> {
    /// The page: `lead` below its heading, then the sections.
    #[must_use]
    pub fn page(&self, lead: Markup, sections: Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta name="generator" content={ "sonotune " (env!("CARGO_PKG_VERSION")) };
                    title { (self.name) " – " (self.kind) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.name) }
                        (lead)
                    }
                    main { (sections) }
                    footer {
                        "Made by Sonotune " (env!("CARGO_PKG_VERSION")) " from " code { (self.folder.display()) }
                    }
                }
            }
        }
    }
}

/// A table in its own box, which scrolls if the page is narrow.
#[must_use]
pub fn scrolled(table: Markup) -> Markup {
    html! { div.scrolled tabindex="0" { (table) } }
}

/// A part of a page that links can name.
#[must_use]
pub fn section(id: &str, title: &str, content: Markup) -> Markup {
    html! { section id=(id) { h2 { (title) } (content) } }
}
