//! Counts and lists.

use std::fmt::Display;

/// `1 image`, `2 images`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `1,234,567`.
#[must_use]
pub fn with_commas(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `93.7 M`, `12.3 k`: a count whose last digits do not matter.
#[must_use]
pub fn abbreviated(count: u64) -> String {
    scaled(count, 1000.0, &["", "k", "M", "G", "T"]).trim_end().to_owned()
}

/// One decimal in the largest unit that leaves at least 1; each unit is `step` of the one before.
pub(super) fn scaled(count: u64, step: f64, units: &[&str]) -> String {
    let (mut size, mut unit) = (count as f64, 0);
    // Closer to the next unit, one decimal would show 1000.0.
    while size >= step - 0.05 && unit + 1 < units.len() {
        size /= step;
        unit += 1;
    }
    let decimals = usize::from(unit > 0);
    format!("{size:.decimals$} {}", units[unit])
}

/// `a, b and 3 more`: the first `most` items, and how many others there are.
pub fn listed<T: Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(most).map(|item| item.to_string()).collect();
    let more = items.count();
    let shown = shown.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "image")), ["0 images", "1 image", "2 images"]);
        assert_eq!(counted(1_usize, "core"), "1 core");
    }

    #[test]
    fn large_counts_read_well() {
        assert_eq!([0, 999, 1000].map(with_commas), ["0", "999", "1,000"]);
        assert_eq!(with_commas(1_234_567), "1,234,567");
        assert_eq!([12, 999, 1000].map(abbreviated), ["12", "999", "1.0 k"]);
        assert_eq!([93_735_472, 999_960_000].map(abbreviated), ["93.7 M", "1.0 G"]);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed(["a", "b", "c"], 3), "a, b, c");
        assert_eq!(listed(["a", "b", "c", "d"], 2), "a, b and 2 more");
        assert_eq!(listed(Vec::<String>::new(), 3), "");
    }
}
