//! Dates moved by whole days.

use chrono::{Days, NaiveDate};

/// `text` (VR DA) moved back by `days`. The notation of ACR-NEMA, with dots, is also understood.
/// `None` if it is not a whole date: nothing can then be said about intervals.
pub(crate) fn shift_date(text: &str, days: u64) -> Option<String> {
    let text = text.trim_matches([' ', '\0']);
    let digits = match text.len() {
        8 => text.to_owned(),
        10 => {
            let parts: Vec<&str> = text.split('.').collect();
            let [year, month, day] = parts[..] else { return None };
            if (year.len(), month.len()) != (4, 2) {
                return None;
            }
            format!("{year}{month}{day}")
        }
        _ => return None,
    };
    if digits.len() != 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = digits.split_at(4);
    let (month, day) = rest.split_at(2);
    let date = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
    let moved = date.checked_sub_days(Days::new(days))?;
    let moved = moved.format("%Y%m%d").to_string();
    // A year before 1000, or below zero, cannot be written in eight digits.
    (moved.len() == 8 && moved.bytes().all(|b| b.is_ascii_digit())).then_some(moved)
}

/// `text` (VR DT) moved back by `days`. Its offset from UTC, which tells where it was recorded, is dropped.
/// `None` if it has no whole date.
pub(crate) fn shift_datetime(text: &str, days: u64) -> Option<String> {
    let text = text.trim_matches([' ', '\0']);
    let end = text.find(['+', '-']).unwrap_or(text.len());
    let (local, offset) = text.split_at(end);
    let is_offset = offset.is_empty() || (offset.len() == 5 && is_number(&offset[1..]));
    let (date, time) = local.split_at_checked(8)?;
    (is_offset && (time.is_empty() || is_time(time)))
        .then(|| shift_date(date, days).map(|date| date + time))?
}

/// Whether `text` is nothing but a time (VR TM), also in ACR-NEMA's notation, with colons.
pub(crate) fn is_time(text: &str) -> bool {
    let text = text.trim_end_matches([' ', '\0']);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = whole.replace(':', "");
    is_number(&whole)
        && matches!(whole.len(), 2 | 4 | 6)
        && is_number(fraction)
        && fraction.len() <= 6
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_move_over_months_and_leap_years() {
        assert_eq!(shift_date("20240301", 1).as_deref(), Some("20240229"));
        assert_eq!(shift_date("20230301", 1).as_deref(), Some("20230228"));
        assert_eq!(shift_date(" 2024.01.05 ", 10).as_deref(), Some("20231226"));
        assert_eq!(shift_date("20240101", 3652).as_deref(), Some("20140101"));
        assert_eq!(shift_date("10000102", 1).as_deref(), Some("10000101"));
    }

    #[test]
    fn what_is_not_a_date_has_no_shift() {
        for text in [
            "",
            "2024",
            "20241301",
            "20240230",
            "Mueller!",
            "2024-01-01",
            "20240101-",
            "ééé é",
            "00000101",
            "2024.1.011",
        ] {
            assert_eq!(shift_date(text, 400), None, "{text}");
        }
    }

    #[test]
    fn date_and_time_keep_their_time() {
        assert_eq!(shift_datetime("20240301123456.5+0100", 1).as_deref(), Some("20240229123456.5"));
        assert_eq!(shift_datetime("20240301", 1).as_deref(), Some("20240229"));
        for text in ["2024", "202403", "20240301Mueller", "20240301+Jo", "20240301 12", "é20240301"]
        {
            assert_eq!(shift_datetime(text, 1), None, "{text}");
        }
    }

    #[test]
    fn times() {
        for text in ["12", "1234", "123456", "123456.123456", "12:34:56 ", "12:34:56.1"] {
            assert!(is_time(text), "{text}");
        }
        for text in ["", "1", "123456.", "Mueller", "123456.1234567", "12-34"] {
            assert!(!is_time(text), "{text}");
        }
    }
}
