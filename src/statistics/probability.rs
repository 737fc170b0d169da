//! Distributions, to full double precision.
//!
//! The normal distribution function is that of `libm`: `statrs` computes it to eleven digits only.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal, StudentsT};

/// Share of the standard normal distribution below `z`.
pub(crate) fn normal_below(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// Share of the standard normal distribution that is at least as far from 0 as `z`.
pub(crate) fn normal_two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2)
}

/// Where `share` of the standard normal distribution is below; infinite at 0 and 1.
pub(crate) fn normal_quantile(share: f64) -> f64 {
    match share {
        0.0 => f64::NEG_INFINITY,
        1.0 => f64::INFINITY,
        share => Normal::standard().inverse_cdf(share),
    }
}

/// Share of the χ² distribution with one degree of freedom above `x`.
pub(crate) fn chi_squared_above(x: f64) -> f64 {
    normal_two_sided(x.max(0.0).sqrt())
}

/// Where `share` of Student's t distribution is below; NaN without degrees of freedom.
pub(crate) fn t_quantile(share: f64, degrees_of_freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, degrees_of_freedom).map_or(f64::NAN, |t| t.inverse_cdf(share))
}

/// Probability of at most `successes` in `trials` fair ones.
pub(crate) fn fair_at_most(successes: u64, trials: u64) -> f64 {
    Binomial::new(0.5, trials).map_or(f64::NAN, |binomial| binomial.cdf(successes))
}
