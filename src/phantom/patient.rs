//! Who is imaged and with what: everything but the speckle.

use super::{
    config::{Kind, PhantomConfig},
    draw::{Draw, Noise, Stream},
    lesion,
    probe::{Canvas, Face, Probe},
    scene::Scene,
    shape::Blob,
    tissue::Tissue,
    traits,
};

/// Settings of the machine that turn echoes into grey.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub(super) dynamic_range_db: f64,
    /// Grey of the organ's mean echo, share of white.
    pub(super) mean_grey: f64,
    /// Attenuation that the time-gain compensation corrects, dB/cm/MHz.
    pub(super) compensated: f64,
    /// Unevenness of its sliders over depth, dB.
    pub(super) slider_db: f64,
    pub(super) sliders: Noise,
    /// Electronic noise at the surface against the organ's mean echo.
    pub(super) noise_db: f64,
    /// Independent looks averaged (spatial compounding).
    pub(super) looks: usize,
    /// Side lobes and other haze against the main beam.
    pub(super) clutter_db: f64,
    /// First echo between probe and skin, and the spacing of its repeats, mm.
    pub(super) ring_db: f64,
    pub(super) ring_mm: f64,
    /// Lines at either edge that may lack contact, share of the face.
    pub(super) lost_contact: (f64, f64),
    pub(super) zoom: f64,
    pub(super) shift: f64,
}

/// One picture to be made.
pub(super) struct View {
    pub(super) probe: Probe,
    pub(super) machine: Machine,
    pub(super) canvas: Canvas,
    pub(super) scene: Scene,
}

/// Class of a patient: each block of as many patients as there are classes has every class once.
pub(super) fn class_of(config: &PhantomConfig, patient: usize) -> usize {
    let classes = traits::lesions(config.kind).len();
    let block = (patient / classes) as u64;
    let mut order: Vec<usize> = (0..classes).collect();
    Draw::at(config.seed, config.kind, Stream::Classes, &[block]).shuffle(&mut order);
    order[patient % classes]
}

/// The view that image `index` shows.
pub(super) fn view(config: &PhantomConfig, index: usize) -> View {
    let kind = config.kind;
    let patient = config.patient_of(index);
    // The same stream for all views of a patient: the same probe, tissue and lesion.
    let mut who = Draw::at(config.seed, kind, Stream::Patient, &[patient as u64]);
    let mut now = Draw::at(config.seed, kind, Stream::View, &[index as u64]);
    let mut probe = probe(&mut who, kind);
    let machine = machine(&mut who, &mut now, kind);
    probe.depth_mm *= now.range((0.92, 1.08));
    let canvas = Canvas::new(&probe, config.image_size, machine.zoom, machine.shift);
    let mut tissue_of_patient = who;
    let tissue = Tissue::draw(&mut tissue_of_patient, kind, probe.depth_mm);
    let mut lesion_of_patient = tissue_of_patient;
    let class = class_of(config, patient);
    let core = lesion::Core::draw(&mut lesion_of_patient, &traits::lesions(kind)[class], class);

    let mut blobs = lesion::distractors(&mut now, kind, &probe);
    if !now.chance(config.empty_fraction) {
        let count = 1 + now.below(config.max_lesions);
        let mut placed: Vec<Blob> = Vec::new();
        for number in 0..count {
            let core = if number == 0 {
                core
            } else {
                let class = if config.mixed_classes {
                    now.below(traits::lesions(kind).len())
                } else {
                    class
                };
                lesion::Core::draw(&mut now, &traits::lesions(kind)[class], class)
            };
            let organ = tissue.organ_mm(kind);
            let field = lesion::Field { probe: &probe, canvas: &canvas, organ };
            if let Some(parts) = lesion::place(&mut now, &core, &field, &placed) {
                // A distractor in front of a lesion would be a second, unlabelled opinion.
                blobs.retain(|other| other.class.is_some() || !overlaps(other, &parts[0]));
                placed.push(parts[0].clone());
                blobs.extend(parts);
            }
        }
    }
    View { probe, machine, canvas, scene: Scene { tissue, blobs } }
}

pub(super) fn overlaps(a: &Blob, b: &Blob) -> bool {
    let (dx, dz) = (a.x - b.x, a.z - b.z);
    let apart = a.bound_mm() + b.bound_mm();
    dx * dx + dz * dz < apart * apart
}

fn probe(who: &mut Draw, kind: Kind) -> Probe {
    let (face, depth_mm, frequency_mhz, f_number) = match kind {
        Kind::Breast => (
            Face::Linear { width_mm: who.range((36.0, 46.0)) },
            who.range((32.0, 44.0)),
            who.range((7.5, 13.0)),
            who.range((2.2, 3.2)),
        ),
        Kind::Ovary => (
            Face::Convex { radius_mm: who.range((9.5, 13.0)), half_angle: who.range((0.85, 1.25)) },
            who.range((62.0, 92.0)),
            who.range((5.0, 7.5)),
            who.range((2.2, 3.2)),
        ),
        Kind::Liver => (
            Face::Convex { radius_mm: who.range((45.0, 62.0)), half_angle: who.range((0.5, 0.66)) },
            who.range((95.0, 140.0)),
            who.range((2.8, 4.8)),
            who.range((2.2, 3.4)),
        ),
    };
    let focus_mm = depth_mm * who.range((0.3, 0.6));
    let focal_zone_mm = depth_mm * who.range((0.3, 0.5));
    Probe { face, depth_mm, frequency_mhz, focus_mm, focal_zone_mm, f_number }
}

fn machine(who: &mut Draw, now: &mut Draw, kind: Kind) -> Machine {
    // Wide fans are usually shown with their sides cut off.
    let zoom = match kind {
        Kind::Breast => (1.0, 1.15),
        Kind::Ovary => (1.3, 1.8),
        Kind::Liver => (1.0, 1.35),
    };
    let contact = |now: &mut Draw| if now.chance(0.25) { now.range((0.02, 0.2)) } else { 0.0 };
    Machine {
        dynamic_range_db: who.range((52.0, 72.0)),
        mean_grey: (who.normal((0.45, 0.06)) + now.normal((0.0, 0.02))).clamp(0.28, 0.62),
        compensated: who.range((0.54, 0.68)),
        slider_db: who.range((0.0, 5.0)),
        sliders: who.noise(),
        noise_db: who.range((-68.0, -50.0)),
        looks: 1 + who.below(3),
        clutter_db: who.range((-36.0, -24.0)),
        ring_db: who.range((8.0, 22.0)),
        ring_mm: who.range((0.5, 1.1)),
        lost_contact: (contact(now), contact(now)),
        zoom: who.range(zoom),
        shift: now.range((-0.015, 0.015)),
    }
}
