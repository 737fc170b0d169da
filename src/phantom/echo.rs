//! From tissue to echoes: the grid of beams and depths before scan conversion.
//!
//! Each cell holds a cluster of unresolved scatterers whose echoes add up to a circular complex
//! Gaussian amplitude, scaled by the backscatter there and by what attenuation above has left.
//! Interfaces add a coherent echo where the beam meets them squarely. The point spread function
//! (beam profile across, pulse along) sums the amplitudes with their phases: speckle. The model is
//! the usual one of linear, shift-variant imaging (Bamber and Dickinson 1980; Jensen's Field II
//! computes the response that is Gaussian here).

use super::{
    decibel::Decibels,
    draw::{Draw, Noise},
    patient::{Machine, View},
    probe::Probe,
    scene::{Grid, Medium},
};

/// Echo of a unit step of impedance against the mean of the speckle.
const SPECULAR: f32 = 6.0;
/// Loss next to tangential walls, dB per unit step of impedance from line to line.
const REFRACTION_DB: f32 = 0.4;
/// How much of its neighbours' shadow a beam takes on with each sample, since the aperture is wide.
const SHADOW_SPREAD: f32 = 0.02;

/// Grey, 0 to 1, on the grid of beams and depths.
pub(super) fn grey(view: &View, lines: usize, samples: usize, mut speckle: Draw) -> Grid<f32> {
    let db = Decibels::new();
    let (probe, machine) = (&view.probe, &view.machine);
    let media = view.scene.sample(probe, lines, samples);
    let (ring, roughness) = (speckle.noise(), speckle.noise());
    let sight = Sight { probe, machine, db, media: &media };
    let amplitudes = sight.amplitudes();
    let coherent = sight.specular(&amplitudes, roughness);
    let psf = PointSpread::new(probe, lines, samples);
    let mut envelope = vec![0.0f32; lines * samples];
    let share = 1.0 / machine.looks as f32;
    for _ in 0..machine.looks {
        let mut signal = scatter(&amplitudes, &coherent, &mut speckle);
        psf.across(&mut signal, lines, db.amplitude(machine.clutter_db as f32));
        sight.add_electronic_noise(&mut signal, &mut speckle);
        psf.along(&mut signal, lines);
        for (sum, [re, im]) in envelope.iter_mut().zip(signal.iter_pairs()) {
            *sum += share * (re * re + im * im).sqrt();
        }
    }
    sight.add_ring(&mut envelope, ring);
    sight.compress(&mut envelope);
    Grid { lines, samples, cells: envelope }
}

/// In-phase and quadrature parts, kept apart so that loops over them vectorise.
struct Signal {
    re: Vec<f32>,
    im: Vec<f32>,
}

impl Signal {
    fn iter_pairs(&self) -> impl Iterator<Item = [f32; 2]> {
        self.re.iter().zip(&self.im).map(|(&re, &im)| [re, im])
    }
}

/// One circular Gaussian number of unit power from 56 of 64 random bits; the sum of four uniform
/// parts is close enough, as the point spread function sums many.
fn circular(bits: u64) -> [f32; 2] {
    let sum = |shift: u32| (0..4).map(|i| (bits >> (shift + 7 * i)) & 127).sum::<u64>();
    // Four uniform integers of 0..128 have a variance of 4 (128² - 1) / 12.
    const SCALE: f32 = 0.009_568;
    [(sum(0) as f32 - 254.0) * SCALE, (sum(28) as f32 - 254.0) * SCALE]
}

fn scatter(amplitudes: &[f32], coherent: &[f32], speckle: &mut Draw) -> Signal {
    let mut signal = Signal { re: vec![0.0; amplitudes.len()], im: vec![0.0; amplitudes.len()] };
    for (i, (&amplitude, &wall)) in amplitudes.iter().zip(coherent).enumerate() {
        let bits = speckle.bits();
        let [re, im] = circular(bits);
        // A few strong single scatterers keep tissue from looking like pure noise.
        let amplitude = if bits >> 57 == 0 { 2.5 * amplitude } else { amplitude };
        // Half of a wall's echo is coherent along it; its roughness makes speckle of the rest.
        let amplitude = amplitude + 0.7 * wall.abs();
        signal.re[i] = amplitude * re + 0.5 * wall;
        signal.im[i] = amplitude * im;
    }
    signal
}

/// What the steps of one picture share.
struct Sight<'a> {
    probe: &'a Probe,
    machine: &'a Machine,
    db: Decibels,
    media: &'a Grid<Medium>,
}

impl Sight<'_> {
    /// Two-way loss per dB/cm/MHz and sample.
    fn loss_per_sample(&self) -> f32 {
        let step_cm = self.probe.depth_mm / self.media.samples as f64 / 10.0;
        (2.0 * step_cm * self.probe.frequency_mhz) as f32
    }

    /// Gain of the time-gain compensation at a sample, dB.
    fn compensation_db(&self, sample: usize) -> f32 {
        let uneven = self.machine.slider_db as f32
            * self.machine.sliders.at(sample as f32 / self.media.samples as f32 * 5.0, 0.5);
        self.machine.compensated as f32 * self.loss_per_sample() * sample as f32 + uneven
    }

    /// Amplitude of each cell's scatterers after attenuation and compensation.
    fn amplitudes(&self) -> Vec<f32> {
        let Grid { lines, samples, ref cells } = *self.media;
        let loss = self.loss_per_sample();
        let mut amplitudes = Vec::with_capacity(cells.len());
        let mut attenuation = self.lost_contact(lines);
        let mut spread = attenuation.clone();
        for sample in 0..samples {
            let row = &cells[sample * lines..(sample + 1) * lines];
            let gain = self.compensation_db(sample);
            for line in 0..lines {
                let (left, right) = (line.saturating_sub(1), (line + 1).min(lines - 1));
                let neighbours = attenuation[left] + attenuation[right];
                let refracted = (row[right].impedance - row[left].impedance).abs();
                spread[line] = attenuation[line] * (1.0 - 2.0 * SHADOW_SPREAD)
                    + SHADOW_SPREAD * neighbours
                    + loss * row[line].attenuation
                    + REFRACTION_DB * refracted;
                amplitudes.push(self.db.amplitude(row[line].echo_db + gain - spread[line]));
            }
            std::mem::swap(&mut attenuation, &mut spread);
        }
        amplitudes
    }

    /// Loss at the probe's edges where they lack contact, dB.
    fn lost_contact(&self, lines: usize) -> Vec<f32> {
        let (left, right) = self.machine.lost_contact;
        let loss = |share: f64, from_edge: f64| {
            if share > 0.0 { 18.0 * (1.0 - from_edge / share).max(0.0) } else { 0.0 }
        };
        (0..lines)
            .map(|line| {
                let at = (line as f64 + 0.5) / lines as f64;
                (loss(left, at) + loss(right, 1.0 - at)) as f32
            })
            .collect()
    }

    /// Echoes of interfaces: the step of impedance along the beam.
    fn specular(&self, amplitudes: &[f32], roughness: Noise) -> Vec<f32> {
        let Grid { lines, samples, ref cells } = *self.media;
        let depth_step = self.probe.depth_mm / samples as f64;
        let mut walls = vec![0.0; cells.len()];
        for sample in 1..samples - 1 {
            let spacing = self.probe.line_spacing_mm(sample as f64 * depth_step, lines);
            let slant = (depth_step / spacing) as f32;
            for line in 1..lines - 1 {
                let i = sample * lines + line;
                let step = cells[i + lines].impedance - cells[i - lines].impedance;
                if step == 0.0 {
                    continue;
                }
                let aside = (cells[i + 1].impedance - cells[i - 1].impedance) * slant;
                let square = step * step / (step * step + aside * aside);
                // The scatterers' amplitude without their own backscatter is what arrives.
                let arrives = amplitudes[i] * self.db.amplitude(-cells[i].echo_db);
                let patchy = 0.55 + 0.6 * roughness.at(line as f32 * 0.09, sample as f32 * 0.013);
                walls[i] = SPECULAR * step * square * square * arrives * patchy.max(0.0);
            }
        }
        walls
    }

    /// White across the lines, as each is received on its own; amplified with depth.
    fn add_electronic_noise(&self, signal: &mut Signal, speckle: &mut Draw) {
        let Grid { lines, samples, .. } = *self.media;
        let end = self.compensation_db(samples);
        for sample in 0..samples {
            let level = self.machine.noise_db as f32 + self.compensation_db(sample) - end;
            let level = self.db.amplitude(level.max(-70.0));
            for i in sample * lines..(sample + 1) * lines {
                let [re, im] = circular(speckle.bits());
                signal.re[i] += level * re;
                signal.im[i] += level * im;
            }
        }
    }

    /// Reverberation between probe and skin: bright stripes that die away within millimetres.
    fn add_ring(&self, envelope: &mut [f32], unevenness: Noise) {
        let Grid { lines, samples, .. } = *self.media;
        let step = self.probe.depth_mm / samples as f64;
        for sample in 0..samples {
            let repeats = (sample as f64 + 0.5) * step / self.machine.ring_mm;
            let level = self.machine.ring_db - 7.0 * repeats;
            if level < -60.0 {
                return;
            }
            let stripe = 0.25 + 0.75 * libm::pow(libm::cos(std::f64::consts::PI * repeats), 2.0);
            let level = self.db.amplitude(level as f32) * stripe as f32;
            for line in 0..lines {
                let uneven = 1.0 + 0.35 * unevenness.at(line as f32 * 0.11, sample as f32 * 0.02);
                envelope[sample * lines + line] += level * uneven;
            }
        }
    }

    /// Envelope to grey: logarithm, dynamic range, gain.
    fn compress(&self, envelope: &mut [f32]) {
        let per_db = (1.0 / self.machine.dynamic_range_db) as f32;
        let mean = self.machine.mean_grey as f32;
        for value in envelope {
            let grey = (mean + self.db.of(*value) * per_db).clamp(0.0, 1.0);
            // Scanners' grey maps steepen the middle.
            *value = 0.45 * grey + 0.55 * grey * grey * (3.0 - 2.0 * grey);
        }
    }
}

/// Point spread function, separable, with unit power: across the beams it widens off focus.
struct PointSpread {
    /// Per depth sample.
    across: Vec<Vec<f32>>,
    along: Vec<f32>,
}

impl PointSpread {
    fn new(probe: &Probe, lines: usize, samples: usize) -> Self {
        let step = probe.depth_mm / samples as f64;
        let across = (0..samples)
            .map(|sample| {
                let depth = (sample as f64 + 0.5) * step;
                let sigma = probe.beam_sigma_mm(depth) / probe.line_spacing_mm(depth, lines);
                gaussian(sigma.clamp(0.7, 12.0))
            })
            .collect();
        // A pulse of about two cycles: its two-way width at half maximum is about a wavelength.
        let pulse_sigma_mm = 1.1 * probe.wavelength_mm() / 2.355;
        Self { across, along: gaussian((pulse_sigma_mm / step).clamp(0.8, 12.0)) }
    }

    fn across(&self, signal: &mut Signal, lines: usize, clutter: f32) {
        let mut padded = Vec::new();
        for (sample, kernel) in self.across.iter().enumerate() {
            let row = sample * lines..(sample + 1) * lines;
            for part in [&mut signal.re[row.clone()], &mut signal.im[row]] {
                filter_row(part, kernel, clutter, &mut padded);
            }
        }
    }

    fn along(&self, signal: &mut Signal, lines: usize) {
        for part in [&mut signal.re, &mut signal.im] {
            let source = std::mem::replace(part, vec![0.0; part.len()]);
            let (samples, half) = (source.len() / lines, self.along.len() / 2);
            for (sample, out) in part.chunks_exact_mut(lines).enumerate() {
                for (tap, &weight) in self.along.iter().enumerate() {
                    let from = (sample + tap).saturating_sub(half).min(samples - 1);
                    let row = &source[from * lines..(from + 1) * lines];
                    for (o, &s) in out.iter_mut().zip(row) {
                        *o += weight * s;
                    }
                }
            }
        }
    }
}

/// Gaussian whose squares add up to 1, so that it keeps the power of white noise.
fn gaussian(sigma: f64) -> Vec<f32> {
    let half = (2.5 * sigma).ceil() as i32;
    let raw: Vec<f64> =
        (-half..=half).map(|i| libm::exp(-0.5 * f64::from(i * i) / (sigma * sigma))).collect();
    let norm = raw.iter().map(|k| k * k).sum::<f64>().sqrt();
    raw.iter().map(|k| (k / norm) as f32).collect()
}

/// The beam's main lobe, and side lobes as a wide, even haze `clutter` times as strong.
fn filter_row(row: &mut [f32], kernel: &[f32], clutter: f32, padded: &mut Vec<f32>) {
    let half = kernel.len() / 2;
    padded.clear();
    padded.resize(half, 0.0);
    padded.extend_from_slice(row);
    padded.resize(row.len() + 2 * half, 0.0);
    let wide = row.len() / 10;
    let weight = clutter / ((2 * wide + 1) as f32).sqrt();
    let mut sum: f32 = row[..wide.min(row.len())].iter().sum();
    for line in 0..row.len() {
        if line + wide < row.len() {
            sum += padded[half + line + wide];
        }
        if line > wide {
            sum -= padded[half + line - wide - 1];
        }
        row[line] = weight * sum;
    }
    for (tap, &k) in kernel.iter().enumerate() {
        for (out, &value) in row.iter_mut().zip(&padded[tap..]) {
            *out += k * value;
        }
    }
}
