//! The secret that a client shows.

use std::fmt;

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sonotune_base::Error;
use subtle::ConstantTimeEq;

/// Bytes of a new token.
const NUM_BYTES: usize = 32;
/// Characters of a token that a user chose.
const MIN_CHARACTERS: usize = 16;

/// A secret that lets a client in.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A new one: 32 random bytes in URL-safe base64.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new() -> Result<Self> {
        let mut bytes = [0; NUM_BYTES];
        getrandom::fill(&mut bytes).context("the system gives no random numbers for a token")?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that the user chose.
    ///
    /// # Errors
    /// Kind config if it is shorter than 16 characters, or has any that an address or a cookie would need to escape.
    pub fn chosen(text: &str) -> Result<Self> {
        let text = text.trim();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if text.len() < MIN_CHARACTERS || !text.bytes().all(is_plain) {
            return Err(Error::config(format!(
                "the token must have at least {MIN_CHARACTERS} characters, all of them letters and digits of ASCII \
                 or - _ . ~; `openssl rand -hex 32` makes a good one"
            ))
            .into());
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether `shown` is the same; takes the same time wherever they differ.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    /// Its text, for the user who started the server.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Keeps it out of logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tokens_are_long_differ_and_stay_out_of_logs() {
        let (a, b) = (Token::new().unwrap(), Token::new().unwrap());
        assert_eq!(a.reveal().len(), 43);
        assert!(a.matches(a.reveal()) && !a.matches(b.reveal()) && !a.matches(""));
        assert!(!format!("{a:?}").contains(a.reveal()));
    }

    #[test]
    fn a_weak_token_is_refused() {
        assert!(Token::chosen("0123456789abcdef").is_ok());
        for weak in [
            "",
            "secret",
            "0123456789abcde ",
            "0123456789 abcdef",
            "0123456789abcdéf",
            "0123456789;abcdef",
        ] {
            let error = Token::chosen(weak).unwrap_err();
            assert_eq!(sonotune_base::error::exit_code(&error), 2);
            assert!(error.to_string().contains("16 characters"), "{error}");
        }
    }
}
