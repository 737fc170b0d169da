//! Images with their predictions, within the page.

use maud::{Markup, html};
use sonotune_base::words;

use super::Picture;

/// Pictures side by side; `score_name` is what they were ranked by.
#[must_use]
pub fn row(pictures: &[Picture], score_name: &str) -> Markup {
    html! {
        @if pictures.is_empty() { p.none { "too few images" } }
        div.pictures {
            @for picture in pictures {
                @let name = picture.path.file_name().unwrap_or(picture.path.as_os_str()).to_string_lossy();
                figure {
                    (image(picture, &format!("{name} with its prediction")))
                    figcaption {
                        b title=(picture.path.display()) { (name) }
                        span { (score_name) " " (score(picture.score)) }
                        @for line in &picture.lines { span { (line) } }
                    }
                }
            }
        }
    }
}

/// A picture within the page; `alt` says what it shows.
#[must_use]
pub fn image(picture: &Picture, alt: &str) -> Markup {
    html! {
        img src=(format!("data:image/jpeg;base64,{}", picture.jpeg)) width=(picture.width)
            height=(picture.height) alt=(alt);
    }
}

/// A metric's value as `sonotune eval` prints it; a huge one in few characters.
pub(super) fn score(value: f64) -> String {
    if value.abs() < 1e5 { words::score(value) } else { words::short(value) }
}
