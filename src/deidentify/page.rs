//! The page that a person reads before files are passed on. It shows originals, so it must not be passed on itself.

use std::path::Path;

use maud::{Markup, html};
use sonotune_report::document::{Document, scrolled, section};

use super::{
    pictures::Small,
    report::{Left, NOT_LOOKED_AT, Report, Written},
    scrub::Change,
};

/// A file's first frame, before and after.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// Its place in [`Report::files`].
    pub(crate) file: usize,
    pub(crate) before: Small,
    pub(crate) after: Small,
}

/// The page of a run that read from `input`.
pub(crate) fn page(report: &Report, pairs: &[Pair], input: &Path) -> String {
    let sections = html! {
        (section("todo", "What a person must check", todo()))
        (section("pictures", "First frame, before and after", pictures(report, pairs)))
        (section("files", "Files", files(report)))
        (section("refused", "Refused", left(&report.refused)))
        (section("not-copied", "Not copied: not DICOM", left(&report.not_copied)))
    };
    let document = Document {
        name: "De-identified files",
        kind: "Sonotune: check before passing on",
        folder: input,
    };
    document.page(lead(report), sections).into_string()
}

fn lead(report: &Report) -> Markup {
    let summary = &report.summary;
    html! {
        p.status.bad { b { "This page shows the originals. Keep it with them and do not pass it on." } }
        dl {
            dt { "written" } dd { (summary.written) " files of " (summary.patients) " patients" }
            dt { "refused" } dd { (summary.refused) }
            dt { "not copied" } dd { (summary.not_copied) }
            dt { "profile" } dd { (summary.profile) }
            dt { "dates" } dd { (summary.dates.words()) }
            @if let Some(salt) = &report.beside.salt {
                dt { "salt" }
                dd { code { (salt.display()) } ": keep it secret and apart from the files; with it, anyone can compute \
                    which patient a pseudonym is" }
            }
        }
    }
}

fn todo() -> Markup {
    html! {
        p { "Look at the pictures: nothing outside the outline may be left, and nothing within it may tell who the \
            patient is. This program did not look at:" }
        ul.items { @for what in NOT_LOOKED_AT { li { (what) } } }
    }
}

fn pictures(report: &Report, pairs: &[Pair]) -> Markup {
    let shown = |picture: &Small, what: &str| {
        html! {
            img src=(format!("data:image/jpeg;base64,{}", picture.jpeg)) width=(picture.width)
                height=(picture.height) alt=(what);
        }
    };
    html! {
        p.hint { (pairs.len()) " of " (report.files.len()) " files. Other frames of a file are black in the same places." }
        @for pair in pairs {
            @if let (Some(file), Some(original)) = (report.files.get(pair.file), report.originals.get(pair.file)) {
                h3 { code { (file.file) } }
                p.hint { (original.display()) ": " (blacked_out(file)) }
                div.pairs {
                    figure { (shown(&pair.before, "before")) figcaption { "before" } }
                    figure { (shown(&pair.after, "after")) figcaption { "after" } }
                }
            }
        }
    }
}

fn blacked_out(file: &Written) -> String {
    if file.kept_regions.is_empty() {
        return "nothing was made black".into();
    }
    let regions: Vec<String> = file.kept_regions.iter().map(ToString::to_string).collect();
    format!("{:.1} % made black, {} stays", 100.0 * file.blacked_out, regions.join(" and "))
}

fn files(report: &Report) -> Markup {
    scrolled(html! {
        table {
            thead { tr { th { "original" } th { "written" } th.n { "frames" } th { "picture" } th { "attributes" } th { "notes" } } }
            tbody {
                @for (file, original) in report.files.iter().zip(&report.originals) {
                    tr {
                        th { (original.display()) }
                        td.words { code { (file.file) } }
                        td.n { (file.frames) }
                        td.words { (blacked_out(file)) }
                        td.words { (attributes(file)) }
                        td.words { @for note in &file.notes { p { (note) } } }
                    }
                }
            }
        }
    })
}

fn attributes(file: &Written) -> Markup {
    let kinds = [
        (Change::Removed, "removed"),
        (Change::Emptied, "emptied"),
        (Change::Replaced, "replaced"),
        (Change::Shifted, "shifted"),
    ];
    html! {
        details {
            summary { (file.changes.len()) " changed" }
            @for (kind, word) in kinds {
                @let of_kind: Vec<_> = file.changes.iter().filter(|changed| changed.change == kind).collect();
                @if !of_kind.is_empty() {
                    p { b { (word) } ": "
                        @for changed in of_kind {
                            (changed.tag) " " (changed.name) @if changed.count > 1 { " ×" (changed.count) } "; "
                        }
                    }
                }
            }
        }
    }
}

fn left(files: &[Left]) -> Markup {
    html! {
        @if files.is_empty() { p.none { "None." } }
        ul.items { @for file in files { li { code { (file.path.display()) } ": " (file.reason) } } }
    }
}
