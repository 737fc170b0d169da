//! Lesions, and what may be mistaken for one.

use super::{
    config::Kind,
    draw::Draw,
    patient::overlaps,
    probe::{Canvas, Probe},
    shape::{Blob, MarginDraw, Shape},
    traits::LesionTraits,
};

/// What all views of one lesion have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Core {
    class: usize,
    radius_mm: f64,
    aspect: f64,
    tilt: f64,
    margin: MarginDraw,
    edge_mm: f64,
    echo_db: f64,
    texture_db: f64,
    texture_mm: f64,
    halo_db: f64,
    halo_mm: f64,
    impedance: f64,
    attenuation: f64,
    calcified: bool,
    septated: bool,
    nodular: bool,
    pockets: bool,
}

impl Core {
    pub(super) fn draw(draw: &mut Draw, traits: &LesionTraits, class: usize) -> Self {
        let radius_mm = draw.log_range(traits.radius_mm);
        Self {
            class,
            radius_mm,
            aspect: libm::exp(draw.normal(traits.log_aspect)),
            tilt: draw.normal(traits.tilt_degrees).to_radians(),
            margin: MarginDraw::draw(draw, &traits.margin),
            edge_mm: draw.range(traits.margin.edge_mm),
            echo_db: draw.normal(traits.echo_db),
            texture_db: draw.range(traits.texture_db),
            texture_mm: radius_mm * draw.range(traits.texture_radii),
            halo_db: draw.normal(traits.halo_db),
            halo_mm: radius_mm * draw.range(traits.halo_radii),
            impedance: draw.range(traits.impedance),
            attenuation: draw.normal(traits.attenuation).max(0.05),
            calcified: draw.chance(traits.calcified),
            septated: draw.chance(traits.septated),
            nodular: draw.chance(traits.nodular),
            pockets: draw.chance(traits.pockets),
        }
    }
}

/// Where lesions may be placed.
pub(super) struct Field<'a> {
    pub(super) probe: &'a Probe,
    pub(super) canvas: &'a Canvas,
    /// First and last depth of the organ.
    pub(super) organ: (f32, f32),
}

/// One view of a lesion at a free place: its body first, then what is inside. `None` if there is no
/// room; the first lesion of an image always finds some.
pub(super) fn place(
    draw: &mut Draw,
    core: &Core,
    field: &Field<'_>,
    others: &[Blob],
) -> Option<Vec<Blob>> {
    const TRIES: usize = 60;
    let mut body = body(draw, core);
    for attempt in 0..TRIES {
        let (x, z) = position(draw, field, f64::from(body.bound_mm()), attempt >= TRIES / 2);
        (body.x, body.z) = (x as f32, z as f32);
        if !others.iter().any(|other| overlaps(other, &body)) {
            let mut parts = vec![body];
            contents(draw, core, &mut parts);
            return Some(parts);
        }
    }
    None
}

/// A centre within the organ and, as far as there is room, the whole lesion within the picture.
fn position(draw: &mut Draw, field: &Field<'_>, bound: f64, anywhere: bool) -> (f64, f64) {
    let probe = field.probe;
    let (organ_top, organ_end) = (f64::from(field.organ.0), f64::from(field.organ.1));
    let top = (organ_top + 0.6 * bound).min(probe.depth_mm * 0.5);
    let end = (organ_end - 0.4 * bound).min(probe.depth_mm - 1.1 * bound).max(top + 1.0);
    let depth =
        if anywhere { draw.range((0.1, 0.85)) * probe.depth_mm } else { draw.range((top, end)) };
    // What remains of the picture to either side of the middle at this depth.
    let edge = probe.beam(1.0).place(depth as f32);
    let (left, _) = field.canvas.to_mm(0.0, 0.0);
    let (right, _) = field.canvas.to_mm(0.0, f64::from(field.canvas.size));
    let half = f64::from(edge.x).min(-left).min(right);
    let room = (half - bound).max(0.15 * half) / f64::from(edge.x);
    let place = probe.beam(draw.range((-room, room)).clamp(-0.95, 0.95)).place(depth as f32);
    (f64::from(place.x), f64::from(place.z))
}

fn body(draw: &mut Draw, core: &Core) -> Blob {
    let radius = core.radius_mm * draw.range((0.85, 1.15));
    let aspect = core.aspect * draw.range((0.9, 1.12));
    let tilt = core.tilt + draw.range((-0.12, 0.12));
    Blob {
        x: 0.0,
        z: 0.0,
        axes: ((radius / aspect.sqrt()) as f32, (radius * aspect.sqrt()) as f32),
        tilt: (libm::cos(tilt) as f32, libm::sin(tilt) as f32),
        shape: Shape::contour(draw, &core.margin),
        edge_mm: core.edge_mm as f32,
        echo_db: (core.echo_db + draw.range((-1.0, 1.0))) as f32,
        texture_db: core.texture_db as f32,
        texture_mm: core.texture_mm as f32,
        halo_db: core.halo_db as f32,
        halo_mm: core.halo_mm as f32,
        impedance: core.impedance as f32,
        attenuation: core.attenuation as f32,
        noise: draw.noise(),
        class: Some(core.class),
    }
}

/// Septa, nodules, pockets and calcifications of the lesion `parts[0]`.
fn contents(draw: &mut Draw, core: &Core, parts: &mut Vec<Blob>) {
    let body = parts[0].clone();
    let radius = core.radius_mm as f32;
    if core.septated {
        for _ in 0..1 + draw.below(3) {
            let mut septum = part(draw, &body, 0.35, radius * 0.6, 0.04);
            septum.shape = Shape::Tube { bend: draw.range((-6.0, 6.0)) as f32, phase: 1.5 };
            septum.echo_db = body.echo_db + draw.range((8.0, 16.0)) as f32;
            parts.push(septum);
        }
    }
    if core.nodular {
        for _ in 0..1 + draw.below(3) {
            let size = radius * draw.range((0.18, 0.45)) as f32;
            let mut nodule = part(draw, &body, 0.6, size, 0.8);
            nodule.echo_db = draw.range((-8.0, 3.0)) as f32;
            nodule.texture_db = 4.0;
            parts.push(nodule);
        }
    }
    if core.pockets {
        for _ in 0..1 + draw.below(3) {
            let size = radius * draw.range((0.15, 0.42)) as f32;
            let mut pocket = part(draw, &body, 0.5, size, 0.7);
            pocket.echo_db = draw.range((-34.0, -20.0)) as f32;
            pocket.attenuation = 0.2;
            parts.push(pocket);
        }
    }
    if core.calcified {
        for _ in 0..2 + draw.below(7) {
            let size = radius * draw.log_range((0.02, 0.065)) as f32;
            let mut speck = part(draw, &body, 0.7, size, 0.8);
            speck.echo_db = draw.range((6.0, 18.0)) as f32;
            speck.attenuation = draw.range((1.0, 12.0)) as f32;
            parts.push(speck);
        }
    }
}

/// An unlabelled inclusion within `spread` radii of the middle of `body`.
fn part(draw: &mut Draw, body: &Blob, spread: f64, size: f32, flatness: f32) -> Blob {
    let angle = draw.range((0.0, std::f64::consts::TAU));
    let away = spread * draw.range((0.0, 1.0)).sqrt();
    let (u, v) = (
        (away * libm::cos(angle)) as f32 * body.axes.0,
        (away * libm::sin(angle)) as f32 * body.axes.1,
    );
    let tilt = draw.range((0.0, std::f64::consts::TAU));
    let margin = MarginDraw { lobulation: 0.12, roughness: 0.02, ..MarginDraw::default() };
    Blob {
        x: body.x + u * body.tilt.0 - v * body.tilt.1,
        z: body.z + u * body.tilt.1 + v * body.tilt.0,
        axes: (size, size * flatness),
        tilt: (libm::cos(tilt) as f32, libm::sin(tilt) as f32),
        shape: Shape::contour(draw, &margin),
        edge_mm: (size * 0.3).min(body.edge_mm),
        texture_db: 1.0,
        texture_mm: size,
        halo_db: 0.0,
        halo_mm: 0.0,
        noise: draw.noise(),
        class: None,
        ..body.clone()
    }
}

/// Vessels, follicles, lobules and shadows: unlabelled, and equally frequent in all classes.
pub(super) fn distractors(draw: &mut Draw, kind: Kind, probe: &Probe) -> Vec<Blob> {
    let mut blobs = Vec::new();
    let mut add = |draw: &mut Draw, spec: &Distractor| {
        let count = spec.count.0 + draw.below(spec.count.1 - spec.count.0 + 1);
        blobs.extend((0..count).map(|_| spec.draw(draw, probe)));
    };
    match kind {
        Kind::Breast => {
            add(draw, &Distractor { size_mm: (2.0, 5.0), ..Distractor::LOBULE });
            add(draw, &Distractor { size_mm: (3.0, 9.0), count: (0, 2), ..Distractor::VESSEL });
            add(draw, &Distractor { size_mm: (0.8, 2.5), count: (0, 1), ..Distractor::SHADOW });
        }
        Kind::Ovary => {
            add(draw, &Distractor { size_mm: (4.0, 11.0), ..Distractor::LOBULE });
            add(draw, &Distractor { size_mm: (6.0, 16.0), count: (0, 2), ..Distractor::VESSEL });
            add(draw, &Distractor { size_mm: (1.5, 4.0), count: (0, 4), ..Distractor::FOLLICLE });
            add(
                draw,
                &Distractor { size_mm: (14.0, 24.0), count: (0, 1), ..Distractor::FOLLICLE }
                    .at_the_edge(),
            );
            add(draw, &Distractor { size_mm: (2.0, 7.0), count: (0, 3), ..Distractor::SHADOW });
        }
        Kind::Liver => {
            add(draw, &Distractor { size_mm: (10.0, 34.0), count: (1, 4), ..Distractor::VESSEL });
            add(draw, &Distractor { size_mm: (2.0, 5.0), count: (0, 2), ..Distractor::FOLLICLE });
            add(draw, &Distractor { size_mm: (3.0, 8.0), count: (0, 1), ..Distractor::SHADOW });
        }
    }
    blobs
}

/// Distributions of one type of distractor.
#[derive(Debug, Clone, Copy)]
struct Distractor {
    count: (usize, usize),
    size_mm: (f64, f64),
    /// Second half-axis over the first.
    flatness: (f64, f64),
    echo_db: (f64, f64),
    impedance: (f64, f64),
    attenuation: (f64, f64),
    tube: bool,
    /// Share of the face's half-width and of the depth.
    across: (f64, f64),
    depth: (f64, f64),
}

impl Distractor {
    /// A fat or stroma lobule: darker or brighter than its surroundings, ill-defined.
    const LOBULE: Self = Self {
        count: (1, 4),
        size_mm: (2.0, 5.0),
        flatness: (0.35, 0.8),
        echo_db: (-14.0, 3.0),
        impedance: (0.0, 0.1),
        attenuation: (0.5, 0.7),
        tube: false,
        across: (-0.95, 0.95),
        depth: (0.12, 0.9),
    };
    const VESSEL: Self = Self {
        flatness: (0.06, 0.2),
        echo_db: (-34.0, -14.0),
        impedance: (0.0, 0.25),
        attenuation: (0.3, 0.5),
        tube: true,
        ..Self::LOBULE
    };
    /// A round pocket of fluid.
    const FOLLICLE: Self = Self {
        flatness: (0.6, 1.0),
        echo_db: (-36.0, -20.0),
        impedance: (0.0, 0.35),
        attenuation: (0.1, 0.4),
        ..Self::LOBULE
    };
    /// Gas or bone: bright on top, dark behind.
    const SHADOW: Self = Self {
        flatness: (0.15, 0.4),
        echo_db: (6.0, 14.0),
        impedance: (0.0, 0.5),
        attenuation: (2.0, 5.0),
        depth: (0.3, 0.9),
        ..Self::LOBULE
    };

    /// Like a filled bladder.
    fn at_the_edge(mut self) -> Self {
        self.across = (0.75, 1.0);
        self.depth = (0.15, 0.5);
        self
    }

    fn draw(&self, draw: &mut Draw, probe: &Probe) -> Blob {
        let side = if self.across.0 > 0.0 && draw.chance(0.5) { -1.0 } else { 1.0 };
        let across = side * draw.range(self.across);
        let place = probe.beam(across).place((draw.range(self.depth) * probe.depth_mm) as f32);
        let size = draw.log_range(self.size_mm);
        let tilt = draw.normal((0.0, if self.tube { 0.6 } else { 0.25 }));
        let margin = MarginDraw { lobulation: 0.12, roughness: 0.02, ..MarginDraw::default() };
        let edge_mm = (size * draw.range((0.06, 0.35))).min(2.0) as f32;
        Blob {
            x: place.x,
            z: place.z,
            axes: (size as f32, (size * draw.range(self.flatness)) as f32),
            tilt: (libm::cos(tilt) as f32, libm::sin(tilt) as f32),
            shape: if self.tube { Shape::tube(draw) } else { Shape::contour(draw, &margin) },
            edge_mm: if self.tube { edge_mm * 0.3 } else { edge_mm },
            echo_db: draw.range(self.echo_db) as f32,
            texture_db: draw.range((1.0, 4.0)) as f32,
            texture_mm: (size * 0.6) as f32,
            halo_db: 0.0,
            halo_mm: 0.0,
            impedance: draw.range(self.impedance) as f32,
            attenuation: draw.range(self.attenuation) as f32,
            noise: draw.noise(),
            class: None,
        }
    }
}
