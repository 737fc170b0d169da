//! Random choices as pure functions: each derives from the run's seed and the coordinates of
//! the decision (epoch, step, index), so a resumed run repeats an uninterrupted one.

/// First coordinate of a decision: the order of an epoch's images.
pub const SHUFFLE: u64 = 1;
/// First coordinate of a decision: how a training image is changed.
pub const AUGMENT: u64 = 2;
/// First coordinate of a decision: the seed that a batch carries.
pub const BATCH: u64 = 3;
/// First coordinate of a decision: which image replaces one that cannot be used.
pub const REPLACE: u64 = 4;

/// A small counter-based generator (SplitMix64): the same coordinates give the same draws, on any
/// machine and thread.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Generator for one decision, e.g. `Rng::at(seed, &[AUGMENT, step, index])`.
    #[must_use]
    pub fn at(seed: u64, coordinates: &[u64]) -> Self {
        Self(coordinates.iter().fold(mix(seed), |state, &c| mix(state ^ mix(c ^ GOLDEN))))
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Goes on as if `draws` numbers of 64 bits had been drawn.
    pub fn skip(&mut self, draws: u64) {
        self.0 = self.0.wrapping_add(GOLDEN.wrapping_mul(draws));
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Fills `values` with uniform numbers in `[0, 1)`, 24 bits each, two per draw.
    pub fn fill_uniform(&mut self, values: &mut [f32]) {
        let to_unit = |bits: u64| bits as f32 / (1u32 << 24) as f32;
        for pair in values.chunks_mut(2) {
            let bits = self.next_u64();
            for (value, bits) in pair.iter_mut().zip([bits >> 40, (bits >> 8) & 0xFF_FFFF]) {
                *value = to_unit(bits);
            }
        }
    }

    /// Uniform integer in `0..bound` without modulo bias.
    ///
    /// # Panics
    /// If `bound` is 0, which is a bug of the caller.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no elements to draw");
        // Lemire's multiply-shift with rejection.
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if (product as u64) >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// Standard normal deviate (Box-Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Fisher-Yates shuffle in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_every_coordinate_and_nothing_else() {
        let draw = |seed, at: &[u64]| Rng::at(seed, at).next_u64();
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
        assert_ne!(draw(1, &[2, 3]), draw(1, &[3, 2]));
        assert_ne!(draw(1, &[2, 3]), draw(2, &[2, 3]));
        assert_ne!(draw(1, &[2]), draw(1, &[2, 0]));
    }

    #[test]
    fn skipped_draws_are_those_that_would_have_come() {
        let (mut all, mut part) = (Rng::at(7, &[1]), Rng::at(7, &[1]));
        for _ in 0..5 {
            all.next_u64();
        }
        part.skip(5);
        assert_eq!(part.next_u64(), all.next_u64());
    }

    #[test]
    fn filled_numbers_are_uniform_and_below_one() {
        let mut values = [f32::NAN; 40_001];
        Rng::at(7, &[]).fill_uniform(&mut values);
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        // Standard deviation of the mean: 0.0014.
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let halves = [0, 1].map(|i| values.iter().skip(i).step_by(2).filter(|v| **v < 0.1).count());
        assert!(halves.iter().all(|n| (1_800..2_200).contains(n)), "{halves:?}");
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut rng = Rng::at(7, &[]);
        let mut counts = [0u32; 5];
        for _ in 0..50_000 {
            counts[rng.below(5) as usize] += 1;
        }
        // 10,000 expected each, standard deviation 89.
        assert!(counts.iter().all(|&c| (9_500..10_500).contains(&c)), "{counts:?}");
    }
}
