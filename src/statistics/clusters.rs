//! Rows that belong together.

use std::collections::HashMap;

/// Which rows are of the same patient: rows of one patient resemble each other, so patients are what
/// is drawn, swapped and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    rows: Vec<Vec<usize>>,
    cluster_of: Vec<usize>,
}

impl Clusters {
    /// From the patient of each row; patients are numbered as they first appear.
    pub fn new<S: AsRef<str>>(patients: &[S]) -> Self {
        let mut numbers = HashMap::new();
        let mut rows: Vec<Vec<usize>> = Vec::new();
        let mut cluster_of = Vec::with_capacity(patients.len());
        for (row, patient) in patients.iter().enumerate() {
            let number = *numbers.entry(patient.as_ref()).or_insert_with(|| {
                rows.push(Vec::new());
                rows.len() - 1
            });
            rows[number].push(row);
            cluster_of.push(number);
        }
        Self { rows, cluster_of }
    }

    /// Every row on its own.
    #[must_use]
    pub fn singletons(rows: usize) -> Self {
        Self { rows: (0..rows).map(|row| vec![row]).collect(), cluster_of: (0..rows).collect() }
    }

    /// Number of patients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of rows of all patients.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.cluster_of.len()
    }

    /// Rows of each patient.
    #[must_use]
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// Patient of each row.
    #[must_use]
    pub fn of_rows(&self) -> &[usize] {
        &self.cluster_of
    }

    /// Patients of some of the rows alone, which are renumbered in the order given.
    #[must_use]
    pub fn of(&self, rows: &[usize]) -> Self {
        let patients: Vec<String> =
            rows.iter().map(|&row| self.cluster_of[row].to_string()).collect();
        Self::new(&patients)
    }

    /// Sum and number of the defined values of each patient.
    pub(crate) fn sums(&self, values: &[f64]) -> Vec<Sum> {
        let sum = |rows: &Vec<usize>| {
            let defined = rows.iter().map(|&row| values[row]).filter(|value| !value.is_nan());
            defined.fold(Sum::default(), |sum, value| sum.and(&Sum { sum: value, count: 1.0 }))
        };
        self.rows.iter().map(sum).collect()
    }

    /// Mean of the defined values of each patient, so that one with many images counts as much as
    /// one with few; NaN for a patient without any.
    #[must_use]
    pub fn means(&self, values: &[f64]) -> Vec<f64> {
        self.sums(values).iter().map(Sum::mean).collect()
    }
}

/// A sum and the number of its terms.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) sum: f64,
    pub(crate) count: f64,
}

impl Sum {
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self { sum: self.sum + other.sum, count: self.count + other.count }
    }

    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_patient_stay_together_wherever_they_are() {
        let clusters = Clusters::new(&["b", "a", "b"]);
        assert_eq!(clusters.rows(), [vec![0, 2], vec![1]]);
        assert_eq!((clusters.len(), clusters.num_rows()), (2, 3));
        assert_eq!(clusters.means(&[1.0, f64::NAN, 2.0])[0], 1.5);
        assert!(clusters.means(&[1.0, f64::NAN, 2.0])[1].is_nan());
        assert_eq!(clusters.of(&[1, 2]).rows(), [vec![0], vec![1]]);
        assert_eq!(clusters.of(&[2, 0]).rows(), [vec![0, 1]]);
        assert!(Clusters::new::<&str>(&[]).is_empty());
    }
}
