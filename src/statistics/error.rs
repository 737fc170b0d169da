//! What cannot be computed from what was given.

/// Arguments that a figure is not defined for. What the data alone make impossible, such as an interval
/// from one patient, is part of the result instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("{what}: expected {expected} values, got {got}")]
    Length { what: &'static str, expected: usize, got: usize },
    #[error("there are no {what}")]
    Empty { what: &'static str },
    #[error("{what}: value {place} is {value}, expected {expected}")]
    Value { what: &'static str, place: usize, value: f64, expected: &'static str },
    #[error("{what}: value {place} is category {got}, but there are {categories}")]
    Category { what: &'static str, place: usize, got: usize, categories: usize },
    #[error("{key} = {value}: expected {expected}")]
    Option { key: &'static str, value: f64, expected: &'static str },
}

/// The result of a figure.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl From<Error> for sonotune_base::Error {
    /// A data error, except that a wrong option is one of the config.
    fn from(error: Error) -> Self {
        match error {
            Error::Option { .. } => Self::config(error.to_string()),
            _ => Self::data(error.to_string()),
        }
    }
}

/// Refuses slices of different lengths.
pub(crate) fn same_length(what: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::Length { what, expected, got }) }
}

/// Refuses NaN and infinity.
pub(crate) fn all_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => {
            let value = values[place];
            Err(Error::Value { what, place, value, expected: "a finite number" })
        }
        None => Ok(()),
    }
}

/// Refuses infinity; NaN is an undefined value.
pub(crate) fn none_infinite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| value.is_infinite()) {
        Some(place) => {
            let value = values[place];
            Err(Error::Value { what, place, value, expected: "a finite number or NaN" })
        }
        None => Ok(()),
    }
}

/// Refuses a level of confidence outside (0, 1).
pub(crate) fn valid_level(level: f64) -> Result<()> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(Error::Option {
        key: "level",
        value: level,
        expected: "a share between 0 and 1, such as 0.95",
    })
}
