//! Where the image of a task is.

use std::sync::Arc;

use crate::{
    app::{App, Asked},
    rest::form,
    server::Failure,
};

/// Where Label Studio serves files of its local storage from.
const LOCAL_FILES: &str = "/data/local-files/";

/// The image that an address in a task stands for.
///
/// Nothing is fetched: a server that follows addresses can be made to read what only it can reach. An address
/// of Label Studio itself stands for a file, which is looked for in the folders that may be read.
pub(super) async fn image(app: &Arc<App>, address: &str) -> Result<Asked, Failure> {
    if address.starts_with("data:") {
        return app.uploaded(form::inline(app, address.to_owned()).await?, None).await;
    }
    let name = file_of(address).ok_or_else(|| {
        Failure::unprocessable(format!(
            "this server does not fetch {address}; use local file storage and start it with --images and that folder"
        ))
    })?;
    app.local(&name, None).await
}

/// The name of the file that an address of Label Studio stands for.
fn file_of(address: &str) -> Option<String> {
    let path = match address.split_once("://") {
        None => address,
        Some(("http" | "https", rest)) => &rest[rest.find("/data/")?..],
        Some(_) => return None,
    };
    if let Some(rest) = path.strip_prefix(LOCAL_FILES) {
        let query = rest.strip_prefix('?')?;
        let name = query.split('&').find_map(|pair| pair.strip_prefix("d="))?;
        return Some(decoded(name));
    }
    // An upload: /data/upload/… is a file of the media folder.
    Some(decoded(path.strip_prefix("/data/").unwrap_or(path)))
}

/// Percent-encoded bytes decoded; what is not UTF-8 then names no file.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut decoded, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(i) {
        let digits = bytes.get(i + 1..i + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped =
            digits.filter(|_| byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(escaped.unwrap_or(byte));
        i += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_label_studio_stand_for_files() {
        for (address, file) in [
            ("/data/local-files/?d=scans/a%20b.png", Some("scans/a b.png")),
            ("http://localhost:8080/data/local-files/?d=a.png&x=1", Some("a.png")),
            ("/data/upload/3/a.png", Some("upload/3/a.png")),
            ("scans/a.png", Some("scans/a.png")),
            ("100%.png", Some("100%.png")),
            ("http://169.254.169.254/latest", None),
            ("s3://bucket/a.png", None),
            ("file:///etc/passwd", None),
            ("/data/local-files/?x=1", None),
        ] {
            assert_eq!(file_of(address).as_deref(), file, "{address}");
        }
    }
}
