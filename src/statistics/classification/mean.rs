//! Means that leave out what is undefined, and say so.

/// A figure per category and its mean over those for which it is defined.
#[derive(Debug, Clone, PartialEq)]
pub struct Mean {
    /// NaN if the figure is defined for no category.
    pub value: f64,
    /// Of each category; NaN if undefined.
    pub of: Vec<f64>,
}

impl Mean {
    /// The mean of a figure per category.
    #[must_use]
    pub fn new(of: Vec<f64>) -> Self {
        let defined: Vec<f64> = of.iter().copied().filter(|value| !value.is_nan()).collect();
        Self { value: defined.iter().sum::<f64>() / defined.len() as f64, of }
    }

    /// Categories that are not in the mean.
    #[must_use]
    pub fn undefined(&self) -> Vec<usize> {
        (0..self.of.len()).filter(|&category| self.of[category].is_nan()).collect()
    }

    /// What a reader must know: how many categories are not in the mean, and which. `None` if all are.
    ///
    /// # Panics
    /// If there are fewer names than categories: a bug of the caller.
    #[must_use]
    pub fn note(&self, figure: &str, names: &[&str]) -> Option<String> {
        let undefined = self.undefined();
        let absent: Vec<&str> = undefined.iter().map(|&category| names[category]).collect();
        let (all, absent) = (self.of.len(), absent.join(", "));
        let used = all - undefined.len();
        (!undefined.is_empty()).then(|| {
            format!("{figure} is the mean over {used} of {all} categories: undefined for {absent}")
        })
    }
}
