//! The value of the key `device`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where to compute: `auto`, `cpu`, `cuda`, or `cuda:N` in a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first CUDA device if there is one, else the CPU; the choice is printed.
    #[default]
    Auto,
    Cpu,
    /// The CUDA device of this index, the first if none is given; an error if it is not there.
    Cuda(Option<usize>),
}

impl DeviceChoice {
    const EXPECTED: &str = "\"auto\", \"cpu\", \"cuda\" or a device such as \"cuda:1\"";

    /// Whether a CUDA device is asked for.
    #[must_use]
    pub fn is_cuda(self) -> bool {
        matches!(self, Self::Cuda(_))
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match (text, text.strip_prefix("cuda:")) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(None)),
            // libtorch counts devices in eight bits.
            (_, Some(index)) if digits(index) && index.parse::<i8>().is_ok() => {
                Ok(Self::Cuda(index.parse().ok()))
            }
            _ => Err(format!("expected {}, got {text:?}", Self::EXPECTED)),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for DeviceChoice {
    fn schema_name() -> Cow<'static, str> {
        "DeviceChoice".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "enum": ["auto", "cpu", "cuda"] },
                { "type": "string", "pattern": "^cuda:[0-9]{1,3}$" },
            ],
        })
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = DeviceChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(DeviceChoice::EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DeviceChoice, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_as_it_is_read() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(None)),
            ("cuda:0", DeviceChoice::Cuda(Some(0))),
            ("cuda:12", DeviceChoice::Cuda(Some(12))),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            let json = serde_json::to_value(choice).unwrap();
            assert_eq!(json, text);
            assert_eq!(serde_json::from_value::<DeviceChoice>(json).unwrap(), choice);
        }
    }

    #[test]
    fn other_texts_are_refused_with_what_is_expected() {
        for text in
            ["", "gpu", "CUDA", "cuda:", "cuda:+1", "cuda:-1", "cuda:1.0", "cuda:300", "cuda1"]
        {
            let message = text.parse::<DeviceChoice>().unwrap_err();
            assert!(
                message.contains("\"cuda:1\"") && message.ends_with(&format!("{text:?}")),
                "{message}"
            );
        }
    }
}
