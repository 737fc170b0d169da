//! What errors cost, if some are worse than others.

use super::Counts;
use crate::error::{Error, Result, same_length};

/// Expected cost of a classification.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Mean cost of a row.
    pub expected: f64,
    /// Relative to the best of the systems that always predict the same category: 1 is no better than that, 0
    /// is perfect. NaN if that costs nothing.
    pub normalized: f64,
}

/// Expected cost (Metrics Reloaded; Ferrer 2022). `costs` are `[truth][predicted]`, at least 0, in any unit; priors
/// are those of the labels. With cost 1 for every error it is 1 − accuracy.
///
/// # Errors
/// If the costs are not a square of the categories' size, or one is negative or not finite.
pub fn expected_cost(counts: &Counts, costs: &[Vec<f64>]) -> Result<Cost> {
    same_length("costs", counts.categories(), costs.len())?;
    for row in costs {
        same_length("costs of a category", counts.categories(), row.len())?;
        if let Some(place) = row.iter().position(|cost| !(cost.is_finite() && *cost >= 0.0)) {
            let expected = "a finite number of at least 0";
            return Err(Error::Value { what: "costs", place, value: row[place], expected });
        }
    }
    let total = counts.total();
    let of_row = |(counts, costs): (&Vec<u64>, &Vec<f64>)| -> f64 {
        counts.iter().zip(costs).map(|(&count, cost)| count as f64 * cost).sum()
    };
    let expected = counts.table().iter().zip(costs).map(of_row).sum::<f64>() / total;
    let always = |prediction: usize| -> f64 {
        (0..counts.categories()).map(|k| counts.of_label(k) * costs[k][prediction]).sum()
    };
    let naive = (0..counts.categories()).map(always).fold(f64::INFINITY, f64::min) / total;
    let normalized = if naive > 0.0 { expected / naive } else { f64::NAN };
    Ok(Cost { expected, normalized })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_cancer_costs_ten_biopsies() {
        let costs = [vec![0.0, 1.0], vec![10.0, 0.0]];
        let counts = Counts::new(&[0, 0, 0, 1], &[0, 1, 0, 0], 2).unwrap();
        // One false alarm, one miss; calling everything malignant would cost three.
        let cost = expected_cost(&counts, &costs).unwrap();
        assert_eq!((cost.expected, cost.normalized), (11.0 / 4.0, 11.0 / 3.0));
        let unit = [vec![0.0, 1.0], vec![1.0, 0.0]];
        assert_eq!(expected_cost(&counts, &unit).unwrap().expected, 1.0 - counts.accuracy());
        let benign = Counts::new(&[0], &[0], 2).unwrap();
        assert!(expected_cost(&benign, &costs).unwrap().normalized.is_nan());
        assert!(expected_cost(&counts, &costs[..1]).is_err());
        assert!(expected_cost(&counts, &[vec![0.0, -1.0], vec![1.0, 0.0]]).is_err());
    }
}
