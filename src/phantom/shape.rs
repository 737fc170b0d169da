//! Outlines of lesions, vessels and other inclusions.

use super::{
    draw::{Draw, Noise},
    traits::Margin,
};

/// A closed outline around the origin, or a winding tube.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// Radius over the direction, in units of the half-axes, at equal angles.
    Contour(Vec<f32>),
    /// Along the first axis, bent by `bend` half-widths over its length.
    Tube { bend: f32, phase: f32 },
}

const DIRECTIONS: usize = 256;

impl Shape {
    /// An ellipse whose radius is bent, wrinkled and spiked as `margin` says.
    pub(super) fn contour(draw: &mut Draw, margin: &MarginDraw) -> Self {
        let mut harmonics = Vec::new();
        for k in 2..=5u32 {
            let amplitude = draw.normal((0.0, margin.lobulation / f64::from(k - 1)));
            harmonics.push((f64::from(k), amplitude, draw.range((0.0, std::f64::consts::TAU))));
        }
        for k in 6..=17u32 {
            let amplitude = draw.normal((0.0, margin.roughness / 2.5));
            harmonics.push((f64::from(k), amplitude, draw.range((0.0, std::f64::consts::TAU))));
        }
        let spikes: Vec<_> = (0..margin.spikes)
            .map(|_| {
                let direction = draw.range((0.0, std::f64::consts::TAU));
                (
                    direction,
                    draw.log_range((0.05, 0.3)),
                    margin.spike_height * draw.range((0.1, 1.0)),
                )
            })
            .collect();
        let radius = |i: usize| {
            let angle = i as f64 / DIRECTIONS as f64 * std::f64::consts::TAU;
            let wave: f64 = harmonics.iter().map(|&(k, a, p)| a * libm::cos(k * angle + p)).sum();
            let spike = spikes.iter().fold(0.0f64, |highest, &(direction, width, height)| {
                let mut off = (angle - direction).abs();
                off = off.min(std::f64::consts::TAU - off);
                let rest = (1.0 - off / width).max(0.0);
                highest.max(height * rest * rest)
            });
            (1.0 + wave + spike).clamp(0.35, 2.0) as f32
        };
        Self::Contour((0..DIRECTIONS).map(radius).collect())
    }

    pub(super) fn tube(draw: &mut Draw) -> Self {
        Self::Tube { bend: draw.range((-2.5, 2.5)) as f32, phase: draw.range((0.0, 3.0)) as f32 }
    }

    /// Farthest reach along the first and second axis, in half-axes.
    pub(super) fn reach(&self) -> (f32, f32) {
        match self {
            Self::Contour(radii) => {
                let reach = radii.iter().fold(0.0f32, |a, &b| a.max(b));
                (reach, reach)
            }
            Self::Tube { bend, .. } => (1.0, 1.0 + bend.abs()),
        }
    }

    /// How far a point, in half-axes, lies outside (negative: inside), in half-axes.
    pub(super) fn outside(&self, u: f32, v: f32) -> f32 {
        match self {
            Self::Contour(radii) => {
                let distance = (u * u + v * v).sqrt();
                let turn = libm::atan2f(v, u) / std::f32::consts::TAU;
                let at = (turn + if turn < 0.0 { 1.0 } else { 0.0 }) * DIRECTIONS as f32;
                let i = at as usize % DIRECTIONS;
                let (a, b) = (radii[i], radii[(i + 1) % DIRECTIONS]);
                distance - (a + (b - a) * (at - at.floor()))
            }
            Self::Tube { bend, phase } => {
                // A parabola instead of a sine: the tube is short.
                let along = u * 1.3 + phase - 1.5;
                let axis = bend * (along * along - 0.7);
                let taper = (1.0 - u * u * u * u).max(0.0).sqrt();
                ((v - axis).abs() - taper).max((u.abs() - 1.0) * 4.0)
            }
        }
    }
}

/// The margin of one lesion.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MarginDraw {
    pub(super) lobulation: f64,
    pub(super) roughness: f64,
    pub(super) spikes: usize,
    pub(super) spike_height: f64,
}

impl MarginDraw {
    pub(super) fn draw(draw: &mut Draw, margin: &Margin) -> Self {
        let spiculated = draw.chance(margin.spiculated);
        Self {
            lobulation: draw.range(margin.lobulation),
            roughness: draw.range(margin.roughness),
            spikes: if spiculated { 4 + draw.below(8) } else { 0 },
            spike_height: draw.range((0.15, 0.5)),
        }
    }
}

/// One inclusion in the tissue; lengths in mm, levels in dB relative to the organ's mean echo.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) x: f32,
    pub(super) z: f32,
    /// Half-axes along and across.
    pub(super) axes: (f32, f32),
    /// `(cos, sin)` of the first axis' angle to the horizontal.
    pub(super) tilt: (f32, f32),
    pub(super) shape: Shape,
    /// Width of the transition at the margin.
    pub(super) edge_mm: f32,
    pub(super) echo_db: f32,
    /// Amplitude of the texture inside, and its wavelength.
    pub(super) texture_db: f32,
    pub(super) texture_mm: f32,
    /// Echo of the rim outside the margin, on top of the tissue there.
    pub(super) halo_db: f32,
    pub(super) halo_mm: f32,
    /// Impedance relative to the tissue: specular echo where the beam meets the margin squarely.
    pub(super) impedance: f32,
    /// dB/cm/MHz, instead of the tissue's.
    pub(super) attenuation: f32,
    pub(super) noise: Noise,
    /// Index of its class, if it is a lesion.
    pub(super) class: Option<usize>,
}

impl Blob {
    /// Radius of a circle that holds it, without its halo.
    pub(super) fn bound_mm(&self) -> f32 {
        let (u, v) = self.shape.reach();
        let (a, b) = (self.axes.0 * u, self.axes.1 * v);
        match self.shape {
            Shape::Contour(_) => a.max(b),
            Shape::Tube { .. } => (a * a + b * b).sqrt(),
        }
    }

    /// Distance outside the margin in mm, about; negative inside.
    pub(super) fn outside_mm(&self, x: f32, z: f32) -> f32 {
        let (dx, dz) = (x - self.x, z - self.z);
        let u = (dx * self.tilt.0 + dz * self.tilt.1) / self.axes.0;
        let v = (dz * self.tilt.0 - dx * self.tilt.1) / self.axes.1;
        let scale = match self.shape {
            Shape::Contour(_) => (self.axes.0 * self.axes.1).sqrt(),
            Shape::Tube { .. } => self.axes.1,
        };
        self.shape.outside(u, v) * scale
    }

    pub(super) fn contains(&self, x: f32, z: f32) -> bool {
        self.outside_mm(x, z) < 0.0
    }
}
