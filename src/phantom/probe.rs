//! Probes: where beams run in tissue, and where tissue lies in the picture.

use serde::Serialize;

/// Shape of the transducer's face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Face {
    Linear {
        width_mm: f64,
    },
    /// Beams fan out from the centre of a circle, up to `half_angle` (radians, below a right
    /// angle) to each side.
    Convex {
        radius_mm: f64,
        half_angle: f64,
    },
}

/// The probe's name in the annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeType {
    /// Parallel beams, a rectangular picture.
    Linear,
    /// Diverging beams, a fan.
    Convex,
}

/// A probe with its settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) face: Face,
    pub(super) depth_mm: f64,
    pub(super) frequency_mhz: f64,
    pub(super) focus_mm: f64,
    /// Depth of focus (Rayleigh length) of the beam, mm.
    pub(super) focal_zone_mm: f64,
    /// Focal length over aperture.
    pub(super) f_number: f64,
}

/// A place in tissue, mm: `x` to the right, `z` down from the middle of the probe's face.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) x: f32,
    pub(super) z: f32,
    /// Along the beam from the face.
    pub(super) depth: f32,
    /// Along the face from its middle.
    pub(super) arc: f32,
}

impl Probe {
    pub(super) fn kind(&self) -> ProbeType {
        match self.face {
            Face::Linear { .. } => ProbeType::Linear,
            Face::Convex { .. } => ProbeType::Convex,
        }
    }

    /// Wavelength in tissue, mm, at 1540 m/s.
    pub(super) fn wavelength_mm(&self) -> f64 {
        1.54 / self.frequency_mhz
    }

    /// Standard deviation of the beam's profile across, mm: narrowest at the focus.
    pub(super) fn beam_sigma_mm(&self, depth_mm: f64) -> f64 {
        let off = (depth_mm - self.focus_mm) / self.focal_zone_mm;
        // Width at half maximum is about wavelength times f-number.
        self.wavelength_mm() * self.f_number / 2.355 * (1.0 + off * off).sqrt()
    }

    /// Distance between neighbours of `lines` beams, mm.
    pub(super) fn line_spacing_mm(&self, depth_mm: f64, lines: usize) -> f64 {
        match self.face {
            Face::Linear { width_mm } => width_mm / lines as f64,
            Face::Convex { radius_mm, half_angle } => {
                (radius_mm + depth_mm) * 2.0 * half_angle / lines as f64
            }
        }
    }

    /// Directions of `lines` beams.
    pub(super) fn beams(&self, lines: usize) -> Vec<Beam> {
        (0..lines).map(|line| self.beam(2.0 * (line as f64 + 0.5) / lines as f64 - 1.0)).collect()
    }

    /// The beam at `across` of the face, -1 to 1.
    pub(super) fn beam(&self, across: f64) -> Beam {
        match self.face {
            Face::Linear { width_mm } => {
                let x = (across * width_mm / 2.0) as f32;
                Beam { start: (x, 0.0), direction: (0.0, 1.0), arc: x }
            }
            Face::Convex { radius_mm, half_angle } => {
                let angle = across * half_angle;
                let (sin, cos) = (libm::sin(angle), libm::cos(angle));
                Beam {
                    start: ((radius_mm * sin) as f32, (radius_mm * (cos - 1.0)) as f32),
                    direction: (sin as f32, cos as f32),
                    arc: (radius_mm * angle) as f32,
                }
            }
        }
    }

    /// `(across, depth_mm)` of a place, which may lie outside the field of view.
    pub(super) fn locate(&self, x: f64, z: f64) -> (f64, f64) {
        match self.face {
            Face::Linear { width_mm } => (2.0 * x / width_mm, z),
            Face::Convex { radius_mm, half_angle } => {
                let down = z + radius_mm;
                (libm::atan2(x, down) / half_angle, (x * x + down * down).sqrt() - radius_mm)
            }
        }
    }

    /// Bounds of the field of view: `(half width, top, bottom)`, mm.
    fn extent_mm(&self) -> (f64, f64, f64) {
        match self.face {
            Face::Linear { width_mm } => (width_mm / 2.0, 0.0, self.depth_mm),
            Face::Convex { radius_mm, half_angle } => {
                let top = radius_mm * (libm::cos(half_angle) - 1.0);
                ((radius_mm + self.depth_mm) * libm::sin(half_angle), top, self.depth_mm)
            }
        }
    }
}

/// A straight line of sight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beam {
    start: (f32, f32),
    direction: (f32, f32),
    arc: f32,
}

impl Beam {
    pub(super) fn place(&self, depth: f32) -> Place {
        Place {
            x: self.start.0 + depth * self.direction.0,
            z: self.start.1 + depth * self.direction.1,
            depth,
            arc: self.arc,
        }
    }
}

/// The picture's frame: square, `size` pixels a side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    pub(super) size: u32,
    pub(super) mm_per_pixel: f64,
    left_mm: f64,
    top_mm: f64,
}

impl Canvas {
    /// Fits the field of view, magnified by `zoom` (beyond 1 its sides are cut off), `shift` of the
    /// picture's width to the right.
    pub(super) fn new(probe: &Probe, size: u32, zoom: f64, shift: f64) -> Self {
        const FILL: f64 = 0.95;
        let (half_width, top, bottom) = probe.extent_mm();
        let height = bottom - top;
        let side = (2.0 * half_width / zoom).max(height) / FILL;
        let middle = (top + bottom) / 2.0;
        Self {
            size,
            mm_per_pixel: side / f64::from(size),
            left_mm: -side * (0.5 + shift),
            top_mm: middle - side / 2.0,
        }
    }

    /// Middle of a pixel, fractions allowed, as `(x, z)` in mm.
    pub(super) fn to_mm(self, row: f64, column: f64) -> (f64, f64) {
        let scale = self.mm_per_pixel;
        (self.left_mm + (column + 0.5) * scale, self.top_mm + (row + 0.5) * scale)
    }

    /// `(row, column)` of a place in mm.
    pub(super) fn to_pixel(self, x: f64, z: f64) -> (f64, f64) {
        let scale = self.mm_per_pixel;
        ((z - self.top_mm) / scale - 0.5, (x - self.left_mm) / scale - 0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locating_inverts_the_beams() {
        for face in
            [Face::Linear { width_mm: 40.0 }, Face::Convex { radius_mm: 11.0, half_angle: 1.2 }]
        {
            let probe = Probe {
                face,
                depth_mm: 60.0,
                frequency_mhz: 6.0,
                focus_mm: 30.0,
                focal_zone_mm: 15.0,
                f_number: 2.5,
            };
            for across in [-0.9, 0.0, 0.4] {
                let place = probe.beam(across).place(25.0);
                let (a, d) = probe.locate(f64::from(place.x), f64::from(place.z));
                assert!((a - across).abs() < 1e-5 && (d - 25.0).abs() < 1e-4, "{face:?} {a} {d}");
            }
            assert!(probe.beam_sigma_mm(50.0) > probe.beam_sigma_mm(30.0));
            let canvas = Canvas::new(&probe, 256, 1.1, 0.02);
            let (row, column) = canvas.to_pixel(3.0, 20.0);
            let (x, z) = canvas.to_mm(row, column);
            assert!((x - 3.0).abs() < 1e-9 && (z - 20.0).abs() < 1e-9);
        }
    }
}
