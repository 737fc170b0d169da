//! Correction for several tests.

/// Holm's step-down correction (1979): p-values so adjusted that testing each at a level keeps the
/// chance of any false finding below that level. In the order given.
///
/// An undefined (NaN) p-value stays undefined, and counts as a test that was made. Same as statsmodels'
/// `multipletests(p, method="holm")`.
#[must_use]
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    // NaN comes last.
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut largest = 0.0_f64;
    for (place, &test) in order.iter().enumerate() {
        if p_values[test].is_nan() {
            continue;
        }
        let remaining = (p_values.len() - place) as f64;
        largest = largest.max((remaining * p_values[test]).min(1.0));
        adjusted[test] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_by_hand() {
        let close = |got: Vec<f64>, expected: [f64; 3]| {
            let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-12;
            assert!(got.iter().zip(expected).all(near), "{got:?}");
        };
        close(holm(&[0.04, 0.01, 0.03]), [0.06, 0.03, 0.06]);
        close(holm(&[0.9, 0.5, 0.02]), [1.0, 1.0, 0.06]);
        let undefined = holm(&[f64::NAN, 0.02]);
        assert!(undefined[0].is_nan() && undefined[1] == 0.04);
        assert!(holm(&[]).is_empty());
    }
}
