//! Colours of categories.

/// Bright on grey, and apart from each other for most who are colour-blind: after Okabe and Ito (2008), lightened.
const FIRST: [&str; 8] =
    ["#56b4e9", "#e69f00", "#00c49a", "#f0e442", "#e377c2", "#ff6b4a", "#8c9eff", "#b6e06a"];

/// The colour of the category at this place.
pub(crate) fn colour(place: usize) -> String {
    FIRST.get(place).map_or_else(|| turned(place), |&colour| colour.to_owned())
}

/// A hue that is a golden angle from the last.
fn turned(place: usize) -> String {
    let hue = (place as f64 * 137.508) % 360.0;
    let channel = |offset: f64| {
        let k = (offset + hue / 30.0) % 12.0;
        let level = 0.62 - 0.3 * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (level * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", channel(0.0), channel(8.0), channel(4.0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_hundred_categories_have_a_hundred_colours() {
        let colours: HashSet<String> = (0..100).map(colour).collect();
        assert_eq!(colours.len(), 100);
        assert!(colours.iter().all(|c| c.len() == 7 && c.starts_with('#')));
    }
}
