//! Random draws and smooth noise that give the same bits on any machine.
//!
//! The standard library hands `sin` or `exp` to the system's mathematical library, which may round
//! differently from one system to the next; the `libm` crate is the same code everywhere.

use sonotune_base::seed::Rng;

/// Named streams of randomness: the first coordinate of every draw.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Classes,
    Patient,
    View,
    Speckle,
    Split,
}

/// A generator with the distributions a phantom draws from.
pub(super) struct Draw(Rng);

impl Draw {
    pub(super) fn at(seed: u64, kind: super::Kind, stream: Stream, coordinates: &[u64]) -> Self {
        let mut at = vec![kind as u64, stream as u64];
        at.extend_from_slice(coordinates);
        Self(Rng::at(seed, &at))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.uniform() < probability
    }

    /// Uniform in `[low, high)`.
    pub(super) fn range(&mut self, (low, high): (f64, f64)) -> f64 {
        low + (high - low) * self.0.uniform()
    }

    /// Log-uniform in `[low, high)`, both positive.
    pub(super) fn log_range(&mut self, (low, high): (f64, f64)) -> f64 {
        low * libm::exp(libm::log(high / low) * self.0.uniform())
    }

    /// Normal, truncated at 2.5 standard deviations so that no image is absurd.
    pub(super) fn normal(&mut self, (mean, deviation): (f64, f64)) -> f64 {
        // Not `Rng::normal`: it goes through the system's library.
        let radius = (-2.0 * libm::log(1.0 - self.0.uniform())).sqrt();
        let deviate = radius * libm::cos(std::f64::consts::TAU * self.0.uniform());
        mean + deviation * deviate.clamp(-2.5, 2.5)
    }

    pub(super) fn noise(&mut self) -> Noise {
        Noise(self.bits() as u32)
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }
}

/// Smooth value noise over the plane, about in [-1, 1].
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise(u32);

impl Noise {
    fn lattice(self, x: i32, z: i32) -> f32 {
        let mut h = (x as u32).wrapping_mul(0x85EB_CA6B) ^ (z as u32).wrapping_mul(0xC2B2_AE35);
        h = (h ^ self.0).wrapping_mul(0x9E37_79B1);
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        h ^= h >> 13;
        (h & 0xFFFF) as f32 / 32767.5 - 1.0
    }

    /// Noise of unit wavelength.
    pub(super) fn at(self, x: f32, z: f32) -> f32 {
        let (x0, z0) = (x.floor(), z.floor());
        let (u, v) = (smooth(x - x0), smooth(z - z0));
        let (i, j) = (x0 as i32, z0 as i32);
        let top = lerp(self.lattice(i, j), self.lattice(i + 1, j), u);
        let bottom = lerp(self.lattice(i, j + 1), self.lattice(i + 1, j + 1), u);
        lerp(top, bottom, v)
    }

    /// Octaves of halving wavelength and amplitude.
    pub(super) fn fractal(self, x: f32, z: f32, octaves: u32) -> f32 {
        let (mut sum, mut amplitude, mut scale) = (0.0, 1.0, 1.0);
        for octave in 0..octaves {
            // An offset per octave keeps the lattices from coinciding at the origin.
            let shift = octave as f32 * 17.31;
            sum += amplitude * self.at(x * scale + shift, z * scale - shift);
            amplitude *= 0.5;
            scale *= 2.0;
        }
        sum
    }

    /// Thin bright veins where the noise crosses zero: 1 on the vein, 0 beyond `width`.
    pub(super) fn vein(self, x: f32, z: f32, width: f32) -> f32 {
        let distance = (1.0 - self.fractal(x, z, 2).abs() / width).max(0.0);
        distance * distance
    }
}

pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Hermite step of `t` over [0, 1].
pub(super) fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
