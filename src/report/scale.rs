//! Axes: ranges, ticks and how numbers are written on them.

use sonotune_base::words::short;

/// From values to `0..=1` along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    /// An axis that holds all `values` (finite ones). Logarithmic if all are positive and the largest is
    /// a hundred times the smallest; otherwise nearly constant values get some space around them.
    pub fn of(values: impl Iterator<Item = f64> + Clone, may_be_log: bool) -> Option<Self> {
        let finite = values.filter(|v| v.is_finite());
        let low = finite.clone().reduce(f64::min)?;
        let high = finite.reduce(f64::max)?;
        if may_be_log && low > 0.0 && high / low >= 100.0 {
            return Some(Self { low: low.log10(), high: high.log10(), log: true });
        }
        let size = low.abs().max(high.abs());
        let air = if size == 0.0 { 1.0 } else { 0.01 * size };
        if high - low < 0.1 * air {
            // Values that are never negative get no axis below 0.
            let below = if low >= 0.0 { (low - air).max(0.0) } else { low - air };
            return Some(Self { low: below, high: high + air, log: false });
        }
        // Half values first: the range of two huge values of opposite sign would overflow.
        let margin = 0.04 * (high / 2.0 - low / 2.0) * 2.0;
        let low = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
        Some(Self { low, high: high + margin, log: false })
    }

    /// Steps from the first to the last; a single one is in the middle.
    pub fn steps(first: u64, last: u64) -> Self {
        let (low, high) = (first as f64, last as f64);
        if first == last {
            Self { low: low - 1.0, high: high + 1.0, log: false }
        } else {
            Self { low, high, log: false }
        }
    }

    /// Whether it is logarithmic.
    #[must_use]
    pub fn is_log(self) -> bool {
        self.log
    }

    /// Position of a value; the ends are 0 and 1.
    #[must_use]
    pub fn place(self, value: f64) -> f64 {
        let value = if self.log { value.log10() } else { value };
        (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)
    }

    /// At most about six values with their labels, ascending, all within the axis.
    #[must_use]
    pub fn ticks(self) -> Vec<(f64, String)> {
        if self.log { self.log_ticks() } else { self.linear_ticks(0.0) }
    }

    /// Same as [`ticks`](Self::ticks), with whole numbers from 0 only.
    pub fn whole_ticks(self) -> Vec<(f64, String)> {
        let mut ticks = self.linear_ticks(1.0);
        ticks.retain(|(value, _)| *value >= 0.0);
        ticks
    }

    fn linear_ticks(self, least_step: f64) -> Vec<(f64, String)> {
        let rough = (self.high / 5.6 - self.low / 5.6).max(f64::MIN_POSITIVE);
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
        let step = step.into_iter().find(|s| *s >= rough * 0.999).unwrap_or(rough);
        let step = step.max(least_step);
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        if !(first.is_finite() && last.is_finite() && last - first <= 20.0) {
            return Vec::new();
        }
        let values = (0..=(last - first) as u64).map(|i| (first + i as f64) * step);
        values.map(|v| (v, label(v, step))).collect()
    }

    fn log_ticks(self) -> Vec<(f64, String)> {
        let decades = self.high - self.low;
        let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
        let every = ((decades / 5.0).ceil() as i32).max(1);
        let within = |v: f64| (0.0..=1.0).contains(&self.place(v));
        let mantissas: &[f64] = if decades < 3.0 { &[1.0, 3.0] } else { &[1.0] };
        (first..=last)
            .filter(|power| power.rem_euclid(every) == 0)
            .flat_map(|power| mantissas.iter().map(move |m| m * 10f64.powi(power)))
            .filter(|&v| within(v))
            .map(|v| (v, short(v)))
            .collect()
    }
}

/// A tick's label, with the digits that tell it from its neighbours `step` away.
fn label(value: f64, step: f64) -> String {
    let largest = value.abs();
    if largest >= 1e4 || (step < 1e-4 && largest < 1e-2) {
        if largest < step / 2.0 {
            return "0".to_owned();
        }
        let digits = (largest.log10().floor() - step.log10().floor()).clamp(0.0, 4.0) as usize;
        if (1e4..1e15).contains(&largest) && step >= 100.0 {
            return thousands(value, step);
        }
        return format!("{value:.digits$e}");
    }
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').trim_matches(['0', '.']).is_empty() {
        "0".to_owned()
    } else {
        text
    }
}

/// `20k`, `1.5M`.
fn thousands(value: f64, step: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (size, unit) =
        UNITS.into_iter().find(|(size, _)| value.abs() >= *size).unwrap_or((1.0, ""));
    let decimals = (-(step / size).log10().floor()).clamp(0.0, 3.0) as usize;
    format!("{:.decimals$}{unit}", value / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], may_be_log: bool) -> Vec<String> {
        let scale = Scale::of(values.iter().copied(), may_be_log).unwrap();
        let ticks = scale.ticks();
        assert!(ticks.iter().all(|(v, _)| (-1e-9..=1.0 + 1e-9).contains(&scale.place(*v))));
        ticks.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_tell_their_values_apart() {
        assert_eq!(
            labels(&[0.0, 1.0], false),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"].map(String::from)
        );
        assert_eq!(
            labels(&[0.3, 3e4], true),
            ["1", "10", "100", "1000", "10000"].map(String::from)
        );
        assert_eq!(labels(&[1e-5, 2e-5], false).first().unwrap(), "1.0e-5");
        for values in [
            [0.99991, 0.99993],
            [1.0, 1.0],
            [0.0, 0.0],
            [1e-9, 1e-9],
            [-5.0, 120.0],
            [1e300, -1e300],
            [99_990.0, 100_010.0],
        ] {
            let labels = labels(&values, true);
            let mut unique = labels.clone();
            unique.dedup();
            assert_eq!(labels, unique);
            assert!(labels.len() <= 8 && labels.iter().all(|l| l.len() <= 9), "{labels:?}");
        }
        assert!(Scale::of([f64::NAN].into_iter(), true).is_none());
    }

    #[test]
    fn steps_are_whole_and_short() {
        let of = |first, last| -> Vec<_> {
            Scale::steps(first, last).whole_ticks().into_iter().map(|(_, l)| l).collect()
        };
        assert_eq!(of(1, 1), ["0", "1", "2"]);
        assert_eq!(of(1, 3), ["1", "2", "3"]);
        assert_eq!(of(1, 100_000), ["20k", "40k", "60k", "80k", "100k"]);
        assert_eq!(of(1, 2000), ["500", "1000", "1500", "2000"]);
    }
}
