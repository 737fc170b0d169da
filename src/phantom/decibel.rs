//! Decibels and amplitudes by table: fast, and the same bits on any machine.

use std::sync::LazyLock;

const LOW_DB: f32 = -160.0;
const HIGH_DB: f32 = 80.0;
const STEPS_PER_DB: f32 = 8.0;

static AMPLITUDES: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let steps = ((HIGH_DB - LOW_DB) * STEPS_PER_DB) as usize + 2;
    (0..steps)
        .map(|i| {
            let db = f64::from(LOW_DB) + i as f64 / f64::from(STEPS_PER_DB);
            libm::exp(db * std::f64::consts::LN_10 / 20.0) as f32
        })
        .collect()
});

const MANTISSA_BITS: u32 = 10;

/// `20 log10` of the mantissas 1 to 2.
static MANTISSAS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let n = 1usize << MANTISSA_BITS;
    (0..=n).map(|i| (20.0 * libm::log10(1.0 + i as f64 / n as f64)) as f32).collect()
});

/// Both directions, with the tables looked up once.
#[derive(Clone, Copy)]
pub(super) struct Decibels {
    amplitudes: &'static [f32],
    mantissas: &'static [f32],
}

impl Decibels {
    pub(super) fn new() -> Self {
        Self { amplitudes: &AMPLITUDES, mantissas: &MANTISSAS }
    }

    /// Amplitude of `db`, clamped to [-160, 80] dB.
    pub(super) fn amplitude(self, db: f32) -> f32 {
        let at = (db.clamp(LOW_DB, HIGH_DB) - LOW_DB) * STEPS_PER_DB;
        let i = at as usize;
        let (a, b) = (self.amplitudes[i], self.amplitudes[i + 1]);
        a + (b - a) * (at - i as f32)
    }

    /// Decibels of a positive, normal `amplitude`; error below 1e-5 dB.
    pub(super) fn of(self, amplitude: f32) -> f32 {
        const OCTAVE_DB: f32 = 6.020_6;
        let bits = amplitude.max(1e-30).to_bits();
        let exponent = (bits >> 23) as i32 - 127;
        let shift = 23 - MANTISSA_BITS;
        let i = ((bits & 0x7F_FFFF) >> shift) as usize;
        let rest = (bits & ((1 << shift) - 1)) as f32 / (1 << shift) as f32;
        let (a, b) = (self.mantissas[i], self.mantissas[i + 1]);
        exponent as f32 * OCTAVE_DB + a + (b - a) * rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_agree_with_the_formulas() {
        let db = Decibels::new();
        for i in -1200..600 {
            let x = i as f32 / 10.0 + 0.037;
            let exact = 10f64.powf(f64::from(x) / 20.0);
            // Chord of an exponential over an eighth of a decibel.
            assert!((f64::from(db.amplitude(x)) / exact - 1.0).abs() < 4e-5, "{x}");
            assert!((db.of(exact as f32) - x).abs() < 1e-4, "{x}: {}", db.of(exact as f32));
        }
        assert!(db.amplitude(1e9).is_finite() && db.amplitude(-1e9) > 0.0);
        assert!(db.of(0.0) < -500.0);
    }
}
