//! Reads the output of a side, and combines the rounds.

use serde::Deserialize;

/// One line of output; see `benches/peers/README.md`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measurement {
    pub(crate) name: String,
    #[serde(default = "sonotune")]
    pub(crate) peer: String,
    pub(crate) seconds_min: Option<f64>,
    pub(crate) seconds_median: Option<f64>,
    pub(crate) peak_mib: Option<f64>,
    pub(crate) images_per_second: Option<f64>,
    pub(crate) skipped: Option<String>,
    pub(crate) aim: Option<Aim>,
}

/// Sonotune's goals in a case.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Aim {
    /// Maximum ratio of the minimum time to that of the fastest peer.
    pub(crate) time_ratio: Option<f64>,
    /// Maximum ratio of the peak memory to that of `memory_peer`.
    pub(crate) memory_ratio: Option<f64>,
    pub(crate) memory_peer: Option<String>,
    /// Maximum of the minimum time, seconds.
    pub(crate) seconds: Option<f64>,
    /// Maximum peak memory, MiB.
    pub(crate) mib: Option<f64>,
}

pub(crate) const SONOTUNE: &str = "sonotune";

fn sonotune() -> String {
    SONOTUNE.to_owned()
}

impl std::fmt::Display for Measurement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}:", self.name, self.peer)?;
        if let Some(why) = &self.skipped {
            return write!(f, " skipped, {why}");
        }
        if let (Some(min), Some(median)) = (self.seconds_min, self.seconds_median) {
            write!(f, " least {min:.4} s, median {median:.4} s")?;
        }
        if let Some(peak) = self.peak_mib {
            write!(f, ", peak {peak:.0} MiB")?;
        }
        if let Some(speed) = self.images_per_second {
            write!(f, ", {speed:.1} images/s")?;
        }
        Ok(())
    }
}

/// A case with the results of all its sides.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// In the order of their first turn.
    pub(crate) sides: Vec<Side>,
    pub(crate) aim: Aim,
}

/// One package's results over all rounds.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) peer: String,
    rounds: Vec<Measurement>,
}

impl Case {
    pub(crate) fn new(name: String) -> Self {
        Self { name, sides: Vec::new(), aim: Aim::default() }
    }

    pub(crate) fn add(&mut self, measured: Measurement) {
        if let Some(aim) = &measured.aim {
            self.aim = aim.clone();
        }
        match self.sides.iter_mut().find(|side| side.peer == measured.peer) {
            Some(side) => side.rounds.push(measured),
            None => {
                self.sides.push(Side { peer: measured.peer.clone(), rounds: vec![measured] });
            }
        }
    }

    pub(crate) fn ours(&self) -> Option<&Side> {
        self.sides.iter().find(|side| side.peer == SONOTUNE)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Side> {
        self.sides.iter().filter(|side| side.peer != SONOTUNE)
    }

    /// Our minimum time over that of the fastest peer.
    pub(crate) fn time_ratio(&self) -> Option<f64> {
        let best = self.peers().filter_map(Side::seconds_min).reduce(f64::min)?;
        Some(self.ours()?.seconds_min()? / best)
    }

    /// Our peak memory over the lowest of all peers, or of the one that the aim names.
    pub(crate) fn memory_ratio(&self) -> Option<f64> {
        let named = self.aim.memory_peer.as_deref();
        let best = self
            .peers()
            .filter(|side| named.is_none_or(|name| side.peer == name))
            .filter_map(Side::peak_mib)
            .reduce(f64::min)?;
        Some(self.ours()?.peak_mib()? / best)
    }
}

impl Side {
    pub(crate) fn seconds_min(&self) -> Option<f64> {
        self.rounds.iter().filter_map(|m| m.seconds_min).reduce(f64::min)
    }

    /// Median over the rounds of their medians.
    pub(crate) fn seconds_median(&self) -> Option<f64> {
        let mut medians: Vec<f64> = self.rounds.iter().filter_map(|m| m.seconds_median).collect();
        medians.sort_by(f64::total_cmp);
        let middle = medians.len() / 2;
        match medians.len() {
            0 => None,
            n if n % 2 == 1 => Some(medians[middle]),
            _ => Some((medians[middle - 1] + medians[middle]) / 2.0),
        }
    }

    /// Peak memory of the round that used most.
    pub(crate) fn peak_mib(&self) -> Option<f64> {
        self.rounds.iter().filter_map(|m| m.peak_mib).reduce(f64::max)
    }

    pub(crate) fn images_per_second(&self) -> Option<f64> {
        self.rounds.iter().filter_map(|m| m.images_per_second).reduce(f64::max)
    }

    pub(crate) fn skipped(&self) -> Option<&str> {
        self.rounds.iter().find_map(|m| m.skipped.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(lines: &[&str]) -> Case {
        let mut case = Case::new("x".into());
        for line in lines {
            case.add(serde_json::from_str(line).unwrap());
        }
        case
    }

    #[test]
    fn ratios_take_the_least_time_and_the_best_peer() {
        let case = case(&[
            r#"{"name":"x","seconds_min":3,"seconds_median":4,"peak_mib":100,
                "aim":{"time_ratio":0.75,"memory_ratio":0.34,"memory_peer":"a"}}"#,
            r#"{"name":"x","peer":"a","seconds_min":8,"seconds_median":9,"peak_mib":400}"#,
            r#"{"name":"x","peer":"b","seconds_min":6,"seconds_median":9,"peak_mib":50}"#,
            r#"{"name":"x","seconds_min":2,"seconds_median":8,"peak_mib":90}"#,
            r#"{"name":"x","peer":"b","seconds_min":5,"seconds_median":9,"peak_mib":50}"#,
        ]);
        assert_eq!(case.time_ratio(), Some(2.0 / 5.0));
        assert_eq!(case.memory_ratio(), Some(100.0 / 400.0));
        assert_eq!(case.ours().unwrap().seconds_median(), Some(6.0));
    }

    #[test]
    fn without_peers_there_is_no_ratio() {
        let case = case(&[r#"{"name":"x","seconds_min":3,"seconds_median":4}"#]);
        assert_eq!((case.time_ratio(), case.memory_ratio()), (None, None));
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let line = r#"{"name":"x","second_min":3}"#;
        assert!(serde_json::from_str::<Measurement>(line).is_err());
    }
}
