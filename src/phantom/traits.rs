//! What distinguishes the classes: distributions, not constants, which overlap as those of real
//! lesions do.
//!
//! The breast lexicon follows BI-RADS' descriptors (shape, orientation, margin, echo pattern,
//! posterior features); the ovarian and hepatic ones the usual textbook signs.

use super::config::Kind;

/// Margin irregularity; ranges are drawn from uniformly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Margin {
    /// Relative amplitude of the low harmonics of the radius.
    pub(super) lobulation: (f64, f64),
    /// The same for the higher harmonics.
    pub(super) roughness: (f64, f64),
    /// Probability of spikes.
    pub(super) spiculated: f64,
    /// Width of the transition, mm.
    pub(super) edge_mm: (f64, f64),
}

/// Distributions of one class: `(mean, deviation)`, unless the comment says range.
#[derive(Debug, Clone, Copy)]
pub(super) struct LesionTraits {
    pub(super) name: &'static str,
    /// Geometric mean of the half-axes, log-uniform range, mm.
    pub(super) radius_mm: (f64, f64),
    /// Natural logarithm of height over width.
    pub(super) log_aspect: (f64, f64),
    /// Angle of the long axis to the horizontal, degrees.
    pub(super) tilt_degrees: (f64, f64),
    pub(super) margin: Margin,
    /// Relative to the organ's mean echo.
    pub(super) echo_db: (f64, f64),
    /// Range of the amplitude of the texture inside.
    pub(super) texture_db: (f64, f64),
    /// Range of its wavelength in radii.
    pub(super) texture_radii: (f64, f64),
    /// Echo around the margin, and its range of widths in radii.
    pub(super) halo_db: (f64, f64),
    pub(super) halo_radii: (f64, f64),
    /// Range of the capsule's relative impedance.
    pub(super) impedance: (f64, f64),
    /// dB/cm/MHz: below the tissue's 0.6 brightens what lies behind, above shadows it.
    pub(super) attenuation: (f64, f64),
    /// Probability of bright specks, which cast thin shadows when large.
    pub(super) calcified: f64,
    /// Probability of septa.
    pub(super) septated: f64,
    /// Probability of solid nodules inside.
    pub(super) nodular: f64,
    /// Probability of one or two anechoic pockets.
    pub(super) pockets: f64,
}

/// A smooth, simple fluid collection; the other classes are described by their differences from it.
const FLUID: LesionTraits = LesionTraits {
    name: "cyst",
    radius_mm: (3.6, 8.0),
    log_aspect: (-0.2, 0.22),
    tilt_degrees: (0.0, 14.0),
    margin: Margin {
        lobulation: (0.01, 0.09),
        roughness: (0.0, 0.015),
        spiculated: 0.0,
        edge_mm: (0.2, 0.5),
    },
    // Complicated cysts hold debris: some overlap with solid lesions.
    echo_db: (-27.0, 8.0),
    texture_db: (0.5, 3.0),
    texture_radii: (0.4, 1.0),
    halo_db: (0.0, 1.0),
    halo_radii: (0.05, 0.2),
    impedance: (0.15, 0.7),
    attenuation: (0.3, 0.12),
    calcified: 0.02,
    septated: 0.12,
    nodular: 0.0,
    pockets: 0.0,
};

const BREAST: [LesionTraits; 3] = [
    FLUID,
    LesionTraits {
        name: "benign",
        radius_mm: (3.6, 8.5),
        log_aspect: (-0.38, 0.2),
        margin: Margin {
            lobulation: (0.02, 0.13),
            roughness: (0.0, 0.03),
            spiculated: 0.03,
            edge_mm: (0.3, 1.1),
        },
        echo_db: (-13.0, 4.5),
        texture_db: (1.0, 4.0),
        texture_radii: (0.3, 0.9),
        halo_db: (0.5, 1.5),
        impedance: (0.05, 0.5),
        attenuation: (0.58, 0.14),
        calcified: 0.08,
        septated: 0.12,
        pockets: 0.06,
        ..FLUID
    },
    LesionTraits {
        name: "malignant",
        radius_mm: (3.8, 9.0),
        log_aspect: (0.02, 0.26),
        tilt_degrees: (0.0, 25.0),
        margin: Margin {
            lobulation: (0.05, 0.22),
            roughness: (0.02, 0.08),
            spiculated: 0.6,
            edge_mm: (0.5, 1.8),
        },
        echo_db: (-14.0, 4.5),
        texture_db: (2.0, 6.0),
        texture_radii: (0.25, 0.7),
        halo_db: (3.0, 2.5),
        halo_radii: (0.15, 0.5),
        impedance: (0.0, 0.4),
        attenuation: (0.86, 0.2),
        calcified: 0.3,
        septated: 0.0,
        pockets: 0.08,
        ..FLUID
    },
];

const OVARY: [LesionTraits; 4] = [
    LesionTraits {
        name: "simple_cyst",
        radius_mm: (9.0, 20.0),
        log_aspect: (-0.12, 0.18),
        tilt_degrees: (0.0, 30.0),
        margin: Margin { edge_mm: (0.4, 1.0), ..FLUID.margin },
        septated: 0.1,
        ..FLUID
    },
    LesionTraits {
        name: "endometrioma",
        radius_mm: (9.0, 20.0),
        log_aspect: (-0.1, 0.2),
        tilt_degrees: (0.0, 30.0),
        margin: Margin {
            lobulation: (0.02, 0.12),
            roughness: (0.0, 0.02),
            spiculated: 0.0,
            edge_mm: (0.5, 1.6),
        },
        // Ground glass: even, low-level echoes.
        echo_db: (-13.0, 4.0),
        texture_db: (0.3, 1.8),
        impedance: (0.1, 0.5),
        attenuation: (0.42, 0.12),
        septated: 0.2,
        nodular: 0.08,
        ..FLUID
    },
    LesionTraits {
        name: "dermoid",
        radius_mm: (9.0, 20.0),
        log_aspect: (-0.1, 0.2),
        tilt_degrees: (0.0, 30.0),
        margin: Margin {
            lobulation: (0.02, 0.13),
            roughness: (0.0, 0.04),
            spiculated: 0.0,
            edge_mm: (0.6, 2.0),
        },
        echo_db: (-3.0, 5.0),
        texture_db: (4.0, 9.0),
        texture_radii: (0.4, 1.1),
        impedance: (0.0, 0.6),
        attenuation: (0.95, 0.25),
        calcified: 0.5,
        nodular: 0.4,
        pockets: 0.3,
        ..FLUID
    },
    LesionTraits {
        name: "carcinoma",
        radius_mm: (10.0, 22.0),
        log_aspect: (0.0, 0.25),
        tilt_degrees: (0.0, 40.0),
        margin: Margin {
            lobulation: (0.08, 0.22),
            roughness: (0.01, 0.06),
            spiculated: 0.1,
            edge_mm: (0.8, 2.5),
        },
        echo_db: (-13.0, 5.0),
        texture_db: (3.0, 7.0),
        texture_radii: (0.3, 0.8),
        halo_db: (1.0, 1.5),
        impedance: (0.0, 0.5),
        attenuation: (0.62, 0.16),
        calcified: 0.15,
        septated: 0.35,
        nodular: 0.55,
        pockets: 0.7,
        ..FLUID
    },
];

const LIVER: [LesionTraits; 3] = [
    LesionTraits {
        name: "cyst",
        radius_mm: (10.0, 26.0),
        log_aspect: (-0.08, 0.18),
        tilt_degrees: (0.0, 40.0),
        margin: Margin { edge_mm: (0.5, 1.5), ..FLUID.margin },
        ..FLUID
    },
    LesionTraits {
        name: "haemangioma",
        radius_mm: (10.0, 25.0),
        log_aspect: (-0.05, 0.18),
        tilt_degrees: (0.0, 40.0),
        margin: Margin {
            lobulation: (0.03, 0.14),
            roughness: (0.0, 0.04),
            spiculated: 0.0,
            edge_mm: (0.8, 2.5),
        },
        echo_db: (6.0, 4.0),
        texture_db: (0.8, 3.0),
        texture_radii: (0.3, 0.9),
        impedance: (0.0, 0.2),
        attenuation: (0.5, 0.1),
        septated: 0.0,
        ..FLUID
    },
    LesionTraits {
        name: "metastasis",
        radius_mm: (10.0, 27.0),
        log_aspect: (0.0, 0.22),
        tilt_degrees: (0.0, 40.0),
        margin: Margin {
            lobulation: (0.05, 0.2),
            roughness: (0.01, 0.06),
            spiculated: 0.15,
            edge_mm: (1.0, 4.0),
        },
        echo_db: (-4.0, 6.0),
        texture_db: (2.0, 6.0),
        texture_radii: (0.3, 0.9),
        // The dark rim of a target lesion.
        halo_db: (-7.0, 4.0),
        halo_radii: (0.1, 0.35),
        impedance: (0.0, 0.2),
        attenuation: (0.72, 0.14),
        calcified: 0.12,
        septated: 0.0,
        pockets: 0.2,
        ..FLUID
    },
];

/// The classes of a kind.
pub(super) fn lesions(kind: Kind) -> &'static [LesionTraits] {
    match kind {
        Kind::Breast => &BREAST,
        Kind::Ovary => &OVARY,
        Kind::Liver => &LIVER,
    }
}
