//! Round numbers for axes, and how numbers are written.

use sonotune_base::words::{two_decimals, with_commas};

/// Round numbers from 0 to at least `most`, six at most; only whole ones if `whole`. An axis from 0 to
/// 1 if `most` is not positive or not finite.
#[must_use]
pub fn ticks(most: f64, whole: bool) -> Vec<f64> {
    let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
    let rough = most / 5.0;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|s| s * decade).find(|s| *s >= rough);
    let mut step = step.unwrap_or(10.0 * decade);
    if whole {
        step = step.ceil().max(1.0);
    }
    (0..=(most / step - 1e-9).ceil() as usize).map(|i| i as f64 * step).collect()
}

/// 10 to the power `decade` in few characters: `100`, `10k`, `1M`.
#[must_use]
pub fn power_of_ten(decade: u32) -> String {
    let unit = ["", "k", "M", "G", "T"].get(decade as usize / 3);
    let digits = 10u32.pow(decade % 3);
    unit.map_or_else(|| format!("1e{decade}"), |unit| format!("{digits}{unit}"))
}

/// A number that is not negative, with at most two decimals: `12,000`, `0.25`.
#[must_use]
pub fn number(x: f64) -> String {
    if x >= 1000.0 && x.fract() == 0.0 {
        return with_commas(x as u64);
    }
    two_decimals(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_end() {
        assert_eq!(ticks(10.0, true), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(1.0, true), [0.0, 1.0]);
        assert_eq!(ticks(43.0, true), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(ticks(f64::NAN, true), [0.0, 1.0]);
        for most in [0.3, 1.0, 7.0, 999.0, 1e6] {
            let ticks = ticks(most, false);
            assert!(ticks.len() <= 6 && *ticks.last().unwrap() >= most, "{most}: {ticks:?}");
        }
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        let powers: Vec<String> = [0, 2, 4, 6, 15].into_iter().map(power_of_ten).collect();
        assert_eq!(powers, ["1", "100", "10k", "1M", "1e15"]);
        assert_eq!((number(12_000.0), number(0.25)), ("12,000".into(), "0.25".into()));
    }
}
