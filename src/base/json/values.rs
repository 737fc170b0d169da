//! Numbers and names.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};
use serde_json::value::RawValue;

use super::spells_nan;

/// A finite number, also as a text: `"12.5"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

/// An integer, also where a table that passed through floating point wrote `640.0`, and as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer(pub i64);

/// An [`Integer`] of at least 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned(pub u64);

/// A text, also where a tool wrote a number: `0` is `"0"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, x: f64) -> Result<Number, E> {
                Ok(Number(x))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Number, E> {
                Ok(Number(n as f64))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Number, E> {
                Ok(Number(n as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                finite(text).map(Number).ok_or_else(|| not_a_number(text, &self))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole { expected: "an integer of up to 64 bits", signed: true };
        deserializer.deserialize_any(whole).map(|n| Self(n as i64))
    }
}

impl<'de> Deserialize<'de> for Unsigned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Whole { expected: "an integer of at least 0", signed: false };
        deserializer.deserialize_any(whole).map(|n| Self(n as u64))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The digits of a number count as they are written.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let json = raw.get();
        if json.starts_with('"') && !spells_nan(json) {
            return serde_json::from_str(json).map(Self).map_err(de::Error::custom);
        }
        if json.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Ok(Self(json.to_owned()));
        }
        let shown: String = super::restored(json).chars().take(40).collect();
        Err(de::Error::custom(format!("expected a text, got {shown}")))
    }
}

/// Reads what an `i64` (signed) or a `u64` can hold.
struct Whole {
    expected: &'static str,
    signed: bool,
}

impl Whole {
    fn of_float(&self, x: f64) -> Option<i128> {
        // 2⁵³: beyond it, floating point no longer tells neighbours apart.
        let whole = x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0;
        (whole && (x >= 0.0 || self.signed)).then_some(x as i128)
    }
}

impl Visitor<'_> for Whole {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<i128, E> {
        if n >= 0 || self.signed {
            return Ok(n.into());
        }
        Err(E::invalid_type(Unexpected::Signed(n), &self))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<i128, E> {
        if !self.signed || i64::try_from(n).is_ok() {
            return Ok(n.into());
        }
        Err(E::invalid_value(Unexpected::Unsigned(n), &self))
    }

    fn visit_f64<E: de::Error>(self, x: f64) -> Result<i128, E> {
        self.of_float(x).ok_or_else(|| E::invalid_value(Unexpected::Float(x), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i128, E> {
        let digits = text.trim();
        match (digits.parse::<i64>(), digits.parse::<u64>()) {
            (Ok(n), _) => self.visit_i64(n),
            (_, Ok(n)) => self.visit_u64(n),
            _ => {
                let whole = finite(text).and_then(|x| self.of_float(x));
                whole.ok_or_else(|| not_a_number(text, &self))
            }
        }
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|x: &f64| x.is_finite())
}

fn not_a_number<E: de::Error>(text: &str, expected: &dyn de::Expected) -> E {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return E::invalid_value(Unexpected::Other(text), expected);
    }
    E::invalid_type(Unexpected::Str(text), expected)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::json::quoted_nan;

    fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
        let error = |e: serde_json::Error| {
            let text = e.to_string();
            text.split(" at line").next().unwrap_or_default().to_owned()
        };
        serde_json::from_slice(&quoted_nan(json.as_bytes())).map_err(error)
    }

    #[test]
    fn numbers_may_be_texts() {
        for (json, number) in
            [("1", 1.0), ("-1", -1.0), ("2.5", 2.5), ("\"2.5\"", 2.5), ("\" 1e2 \"", 100.0)]
        {
            assert_eq!(read(json), Ok(Number(number)), "{json}");
        }
        assert_eq!(read("\"640.0\""), Ok(Integer(640)));
        assert_eq!(read("\"-9223372036854775808\""), Ok(Integer(i64::MIN)));
        assert_eq!(read("\"18446744073709551615\""), Ok(Unsigned(u64::MAX)));
        for (json, error) in [
            ("NaN", "invalid value: NaN, expected a number"),
            ("-Infinity", "invalid value: -Infinity, expected a number"),
            ("\"inf\"", "invalid type: string \"inf\", expected a number"),
            ("\"1,5\"", "invalid type: string \"1,5\", expected a number"),
            ("\"\"", "invalid type: string \"\", expected a number"),
            ("true", "invalid type: boolean `true`, expected a number"),
        ] {
            assert_eq!(read::<Number>(json), Err(error.to_owned()), "{json}");
        }
        for json in ["\"-1\"", "\"2.5\"", "\"64px\"", "\"1e300\"", "NaN", "\"\""] {
            let error = read::<Unsigned>(json).unwrap_err();
            assert!(error.ends_with("expected an integer of at least 0"), "{error}");
        }
    }

    #[test]
    fn texts_may_be_numbers() {
        for (json, text) in
            [("\"b\\u00e9nin\"", "bénin"), ("0", "0"), ("-1.50", "-1.50"), ("\"\"", "")]
        {
            assert_eq!(read(json), Ok(Text(text.to_owned())), "{json}");
        }
        for (json, got) in [("NaN", "NaN"), ("[1]", "[1]"), ("true", "true"), ("null", "null")] {
            assert_eq!(read::<Text>(json), Err(format!("expected a text, got {got}")));
        }
    }
}
