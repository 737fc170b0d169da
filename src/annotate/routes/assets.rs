//! The page itself, which the program carries within it.

use axum::{
    extract::Path,
    http::header,
    response::{IntoResponse, Response},
};

use super::reply::Failed;

/// Name and content of each file of the page.
const ASSETS: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/assets.rs"));

pub(super) async fn index() -> Response {
    named("index.html")
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    named(&name)
}

fn named(name: &str) -> Response {
    let found = ASSETS.iter().find(|(known, _)| *known == name);
    let Some((name, content)) = found else {
        return Failed::not_found("the page has no such file").into_response();
    };
    ([(header::CONTENT_TYPE, media_type(name))], *content).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there() {
        assert!(ASSETS.iter().any(|(name, content)| *name == "index.html" && !content.is_empty()));
        assert!(ASSETS.iter().all(|(name, _)| media_type(name) != "application/octet-stream"));
    }
}
