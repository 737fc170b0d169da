//! Scores, shares and other real numbers.

const UNDEFINED: &str = "n/a";

/// A metric's value: four decimals, `n/a` if undefined.
#[must_use]
pub fn score(value: f64) -> String {
    if value.is_nan() { UNDEFINED.to_owned() } else { format!("{value:.4}") }
}

/// A number as a table cell: one decimal, `n/a` if undefined.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_nan() { UNDEFINED.to_owned() } else { format!("{value:.1}") }
}

/// A fraction as a table cell in percent; the header has the sign.
#[must_use]
pub fn percent(fraction: f64) -> String {
    number(100.0 * fraction)
}

/// `94 %`: a fraction within a sentence.
#[must_use]
pub fn share(fraction: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * fraction)
}

/// Four significant digits, trailing zeros included: `0.5000`, `12.35`, `1e-4`.
#[must_use]
pub fn significant(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    if !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.3e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    let decimals = (3.0 - size.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}

/// Four significant digits in as few characters as they take, `n/a` if not finite.
#[must_use]
pub fn short(value: f64) -> String {
    if !value.is_finite() {
        return UNDEFINED.to_owned();
    }
    let text = significant(value);
    if text.contains('e') { text } else { trimmed(&text).to_owned() }
}

/// Two decimals at most: `0.25`, `3`.
#[must_use]
pub fn two_decimals(value: f64) -> String {
    ((value * 100.0).round() / 100.0).to_string()
}

/// Without trailing zeros in its fraction.
fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_and_cells_tell_what_is_undefined() {
        assert_eq!([0.81235, -0.5, f64::NAN].map(score), ["0.8124", "-0.5000", "n/a"]);
        assert_eq!([0.81235, f64::NAN].map(percent), ["81.2", "n/a"]);
        assert_eq!([3.25, 12.0].map(number), ["3.2", "12.0"]);
        assert_eq!((share(0.937, 0), share(0.3571, 1)), ("94 %".into(), "35.7 %".into()));
    }

    #[test]
    fn four_digits_are_kept() {
        let values = [0.0, 1e-4, 0.512345, 1.0, 12.3456, 1234.5, 2e7, f64::NAN, -0.001234567];
        let texts = ["0", "1e-4", "0.5123", "1.000", "12.35", "1234", "2e7", "NaN", "-0.001235"];
        assert_eq!(values.map(significant), texts);
    }

    #[test]
    fn short_numbers_end_in_no_zero() {
        let values =
            [0.0, 1.0, 0.12345, 123.456, 0.0001, 1.5e-7, 123_456.0, f64::NAN, -0.5, 1200.0];
        let texts =
            ["0", "1", "0.1235", "123.5", "1e-4", "1.5e-7", "1.235e5", "n/a", "-0.5", "1200"];
        assert_eq!(values.map(short), texts);
    }

    #[test]
    fn decimals_are_rounded() {
        assert_eq!([0.256, 3.0, 12.5].map(two_decimals), ["0.26", "3", "12.5"]);
    }
}
