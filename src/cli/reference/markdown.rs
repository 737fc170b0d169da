//! Text of doc comments and help as Markdown.

/// Text as the cell of a table: lists and paragraphs become lines, examples are left out.
pub(super) fn cell(text: &str) -> String {
    let text = text.split("```").next().unwrap_or_default().trim();
    let text = linked(text).replace('|', "\\|");
    text.replace("\n\n", "\n").replace("\n- ", "<br>• ").replace('\n', "<br>")
}

/// The first of a list in a cell has no line before it.
pub(super) fn list_cell(text: &str) -> String {
    let cell = cell(text);
    cell.strip_prefix("- ").map_or(cell.clone(), |rest| format!("• {rest}"))
}

/// `docs/page.md` and `docs/page.md#heading` as links, from a page in a folder of the book.
pub(super) fn linked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("docs/") {
        let end = after
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '#')))
            .unwrap_or(after.len());
        let target = after[..end].trim_end_matches('.');
        let page = target.split('#').next().unwrap_or_default();
        out.push_str(before);
        match page.strip_suffix(".md") {
            Some(name) => {
                let words = name.replace('-', " ");
                out.push_str(&format!("[{words}](../{target})"));
            }
            None => {
                out.push_str("docs/");
                out.push_str(target);
            }
        }
        rest = &after[target.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pages_become_links() {
        assert_eq!(
            linked("see docs/reliability.md#bad-images. Also docs/gpu.md"),
            "see [reliability](../reliability.md#bad-images). Also [gpu](../gpu.md)"
        );
        assert_eq!(linked("docs/"), "docs/");
    }

    #[test]
    fn a_cell_has_no_line_breaks_and_no_bars() {
        assert_eq!(cell("a | b\n\n- `x`: y\n- z\n\n```toml\nq\n```"), "a \\| b<br>• `x`: y<br>• z");
        assert_eq!(list_cell("- `x`: y\n- z"), "• `x`: y<br>• z");
    }
}
