//! NaN and Infinity in JSON.
//!
//! A reader of JSON stops at them, wherever they are. As texts in a spelling that no tool writes they pass
//! it: a reader refuses them where it needs a number, and what is kept unread is written as it was.

use std::borrow::Cow;

/// A word, and the text that stands for it.
const WORDS: [(&str, &str); 3] = [
    ("NaN", r#""\u004e\u0061\u004e""#),
    ("-Infinity", r#""\u002d\u0049nfinity""#),
    ("Infinity", r#""\u0049nfinity""#),
];

/// The file with each NaN and Infinity as a text.
#[must_use]
pub fn quoted_nan(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted: Vec<u8> = Vec::new();
    let (mut at, mut copied, mut in_text) = (0, 0, false);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => in_text = !in_text,
            // An escaped quote does not end a text.
            b'\\' if in_text => at += 1,
            b'N' | b'I' | b'-' if !in_text => {
                let word = WORDS.iter().find(|(word, _)| bytes[at..].starts_with(word.as_bytes()));
                if let Some((word, text)) = word {
                    quoted.extend_from_slice(&bytes[copied..at]);
                    quoted.extend_from_slice(text.as_bytes());
                    copied = at + word.len();
                    at = copied - 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    quoted.extend_from_slice(&bytes[copied..]);
    Cow::Owned(quoted)
}

/// What [`quoted_nan`] was given, or part of it, from what it made of it.
#[must_use]
pub fn restored(json: &str) -> Cow<'_, str> {
    let mut json = Cow::Borrowed(json);
    for (word, text) in WORDS {
        if json.contains(text) {
            json = Cow::Owned(json.replace(text, word));
        }
    }
    json
}

/// Whether [`quoted_nan`] wrote into a value.
#[must_use]
pub fn spells_nan(json: &str) -> bool {
    WORDS.iter().any(|(_, text)| json.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_texts_and_words_again_and_texts_stay() {
        let json = r#"{"a": NaN, "NaN \" NaN": [-Infinity, Infinity, -1, "NaN"], "b\\": NaN}"#;
        let quoted = String::from_utf8(quoted_nan(json.as_bytes()).into_owned()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&quoted).unwrap();
        let expected = serde_json::json!({
            "a": "NaN", "NaN \" NaN": ["-Infinity", "Infinity", -1, "NaN"], "b\\": "NaN"
        });
        assert_eq!(value, expected);
        assert_eq!(restored(&quoted), json);
        assert!(spells_nan(&quoted) && !spells_nan(json));
        assert!(matches!(quoted_nan(br#"{"a": "NaN", "b": -1}"#), Cow::Borrowed(_)));
        assert_eq!(&*quoted_nan(b"\"\\"), b"\"\\");
    }
}
