//! Backgrounds: the layers and textures of each kind.

use super::{
    config::Kind,
    draw::{Draw, Noise, lerp, smooth},
    probe::Place,
    scene::{Medium, ORGAN_IMPEDANCE},
};

/// Texture of one layer.
#[derive(Debug, Clone, Copy)]
struct Texture {
    echo_db: f32,
    /// Cloudiness: amplitude, wavelength along and across the layer (mm).
    cloud_db: f32,
    cloud_mm: (f32, f32),
    /// Bright septa or fibres: height, wavelength along and across, width (share of a wavelength).
    vein_db: f32,
    vein_mm: (f32, f32),
    vein_width: f32,
    impedance: f32,
    attenuation: f32,
    /// Whether it runs along the probe's face, or upright in space.
    along_face: bool,
}

/// A layer down to a wavy lower boundary.
#[derive(Debug, Clone, Copy)]
struct Layer {
    texture: Texture,
    /// Depth of the lower boundary, its waviness and the wavelength of that, mm.
    until_mm: f32,
    wave_mm: f32,
    wave_length_mm: f32,
    /// Width of the transition, mm.
    blend_mm: f32,
    sheet: bool,
    /// Slope against the probe's face (mm per mm) and curvature (1/mm).
    tilt: f32,
    bow: f32,
}

/// Layers under the probe; the last one has no lower end.
#[derive(Debug, Clone)]
pub(super) struct Tissue {
    layers: Vec<Layer>,
    noises: Vec<[Noise; 3]>,
    /// Moves the textures sideways with depth, so that they curl.
    curl: Noise,
    curl_mm: f32,
    curl_wavelength_mm: f32,
}

impl Tissue {
    pub(super) fn draw(draw: &mut Draw, kind: Kind, depth_mm: f64) -> Self {
        let layers = match kind {
            Kind::Breast => breast(draw, depth_mm),
            Kind::Ovary => pelvis(draw, depth_mm),
            Kind::Liver => abdomen(draw, depth_mm),
        };
        let noises = layers.iter().map(|_| [draw.noise(), draw.noise(), draw.noise()]).collect();
        let (curl_mm, curl_wavelength_mm) = match kind {
            Kind::Breast => (1.2, 7.0),
            Kind::Ovary => (7.0, 22.0),
            Kind::Liver => (3.0, 25.0),
        };
        Self { layers, noises, curl: draw.noise(), curl_mm, curl_wavelength_mm }
    }

    /// Depths at which the organ with the lesions begins and ends, under the middle of the probe.
    pub(super) fn organ_mm(&self, kind: Kind) -> (f32, f32) {
        let organ = match kind {
            Kind::Breast => 2,
            Kind::Ovary => 1,
            Kind::Liver => 3,
        };
        (self.layers[organ - 1].until_mm, self.layers[organ].until_mm)
    }

    pub(super) fn at(&self, place: Place) -> Medium {
        let wavelength = self.curl_wavelength_mm;
        let curl = self.curl_mm * self.curl.at(place.x / wavelength, place.z / wavelength);
        let last = self.layers.len() - 1;
        let below = |i: usize| if i == last { 0.0 } else { self.below(i, place) };
        let i = (0..last).find(|&i| below(i) < 1.0).unwrap_or(last);
        let upper = self.layers[i].texture.at(place, curl, &self.noises[i]);
        let below = below(i);
        if below <= 0.0 {
            return upper;
        }
        let lower = self.layers[i + 1].texture.at(place, curl, &self.noises[i + 1]);
        Medium {
            echo_db: lerp(upper.echo_db, lower.echo_db, below),
            impedance: lerp(upper.impedance, lower.impedance, below),
            attenuation: lerp(upper.attenuation, lower.attenuation, below),
        }
    }

    /// 0 within layer `i` or above, 1 under it.
    fn below(&self, i: usize, place: Place) -> f32 {
        let layer = &self.layers[i];
        // A sheet lies on the layer above it and shares its waves.
        let noise = self.noises[if layer.sheet { i - 1 } else { i }][0];
        let wave = place.arc * (layer.tilt + layer.bow * place.arc)
            + layer.wave_mm * noise.fractal(place.arc / layer.wave_length_mm, 0.5, 2);
        smooth((place.depth - layer.until_mm - wave) / layer.blend_mm + 0.5)
    }
}

impl Texture {
    const PLAIN: Self = Self {
        echo_db: 0.0,
        cloud_db: 0.0,
        cloud_mm: (1.0, 1.0),
        vein_db: 0.0,
        vein_mm: (1.0, 1.0),
        vein_width: 0.2,
        impedance: 0.0,
        attenuation: 0.5,
        along_face: true,
    };

    fn at(&self, place: Place, curl: f32, [_, cloud, vein]: &[Noise; 3]) -> Medium {
        let (along, across) = if self.along_face {
            (place.arc + 0.5 * curl, place.depth + curl)
        } else {
            (place.x + 0.5 * curl, place.z + curl)
        };
        let (mut echo_db, mut attenuation) = (self.echo_db, self.attenuation);
        if self.cloud_db > 0.0 {
            let (a, c) = self.cloud_mm;
            let cloud = cloud.fractal(along / a, across / c, 4);
            echo_db += self.cloud_db * cloud;
            // Denser tissue absorbs more: faint streaks below.
            attenuation *= 1.0 + 0.03 * self.cloud_db * cloud;
        }
        if self.vein_db > 0.0 {
            let (a, c) = self.vein_mm;
            // Veins fade in and out along their way.
            let strength = 0.6 + 0.6 * vein.at(0.7 * along / a + 31.7, 0.7 * across / c - 5.3);
            let vein = vein.vein(along / a, across / c, self.vein_width);
            echo_db += self.vein_db * strength.max(0.0) * vein;
        }
        Medium { echo_db, impedance: self.impedance, attenuation: attenuation.max(0.0) }
    }
}

fn skin(draw: &mut Draw, until: f64) -> Layer {
    Layer {
        texture: Texture {
            echo_db: draw.range((3.0, 8.0)) as f32,
            cloud_db: 1.5,
            cloud_mm: (5.0, 0.6),
            impedance: 0.3,
            ..Texture::PLAIN
        },
        until_mm: until as f32,
        wave_mm: 0.15,
        wave_length_mm: 12.0,
        blend_mm: 0.3,
        sheet: false,
        tilt: 0.0,
        bow: 0.0,
    }
}

/// Dark lobules between bright septa.
fn fat(draw: &mut Draw, until: f64, wave: f64, level_db: (f64, f64)) -> Layer {
    let lobule = draw.range((5.0, 9.0)) as f32;
    Layer {
        texture: Texture {
            echo_db: draw.range(level_db) as f32,
            cloud_db: 3.5,
            cloud_mm: (5.0, 2.0),
            vein_db: draw.range((7.0, 12.0)) as f32,
            vein_mm: (lobule, lobule * 0.42),
            vein_width: 0.17,
            impedance: draw.range((-0.2, 0.1)) as f32,
            attenuation: draw.range((0.45, 0.7)) as f32,
            along_face: true,
        },
        until_mm: until as f32,
        wave_mm: wave as f32,
        wave_length_mm: draw.range((9.0, 18.0)) as f32,
        blend_mm: 0.5,
        sheet: false,
        tilt: 0.0,
        bow: 0.0,
    }
}

/// Dark with long bright fibres.
fn muscle(draw: &mut Draw, until: f64) -> Layer {
    Layer {
        texture: Texture {
            echo_db: draw.range((-11.0, -5.0)) as f32,
            cloud_db: 2.0,
            cloud_mm: (9.0, 0.9),
            vein_db: draw.range((6.0, 10.0)) as f32,
            vein_mm: (16.0, 1.6),
            vein_width: 0.25,
            impedance: 0.1,
            attenuation: draw.range((0.6, 0.9)) as f32,
            along_face: true,
        },
        until_mm: until as f32,
        wave_mm: 0.6,
        wave_length_mm: 20.0,
        blend_mm: 0.4,
        sheet: false,
        tilt: 0.0,
        bow: 0.0,
    }
}

/// A bright sheet (fascia, pleura, diaphragm) that lets `attenuation` through.
fn sheet(draw: &mut Draw, until: f64, wave: f64, attenuation: f64) -> Layer {
    Layer {
        texture: Texture {
            echo_db: draw.range((12.0, 20.0)) as f32,
            cloud_db: 3.0,
            cloud_mm: (6.0, 2.0),
            impedance: 0.5,
            attenuation: attenuation as f32,
            ..Texture::PLAIN
        },
        until_mm: until as f32,
        wave_mm: wave as f32,
        wave_length_mm: 20.0,
        blend_mm: 0.5,
        sheet: true,
        tilt: 0.0,
        bow: 0.0,
    }
}

/// Skin, subcutaneous fat, gland, retromammary fat, muscle, pleura, lung.
fn breast(draw: &mut Draw, depth_mm: f64) -> Vec<Layer> {
    let skin_mm = draw.range((1.2, 2.4));
    let fat_mm = skin_mm + depth_mm * draw.range((0.06, 0.2));
    let gland_mm = fat_mm + depth_mm * draw.range((0.38, 0.56));
    let deep_mm = gland_mm + depth_mm * draw.range((0.03, 0.1));
    let muscle_mm = deep_mm + depth_mm * draw.range((0.12, 0.2));
    // From almost entirely fat to dense.
    let density = draw.range((0.0, 1.0));
    let gland = Layer {
        texture: Texture {
            echo_db: (-4.0 + 6.0 * density) as f32,
            cloud_db: draw.range((4.0, 8.5)) as f32,
            cloud_mm: (draw.range((6.0, 13.0)) as f32, draw.range((2.2, 4.5)) as f32),
            vein_db: draw.range((4.0, 11.0)) as f32,
            vein_mm: (9.0, 3.2),
            vein_width: 0.2,
            impedance: ORGAN_IMPEDANCE,
            attenuation: draw.range((0.5, 0.75)) as f32,
            along_face: true,
        },
        until_mm: gland_mm as f32,
        wave_mm: 1.6,
        wave_length_mm: draw.range((10.0, 18.0)) as f32,
        blend_mm: 1.2,
        sheet: false,
        tilt: 0.0,
        bow: 0.0,
    };
    // The chest wall is seldom quite parallel to the probe.
    let tilt = draw.range((-0.12, 0.12)) as f32;
    let mut pectoral = muscle(draw, muscle_mm);
    let mut pleura = sheet(draw, muscle_mm + 0.9, 0.6, 3.0);
    (pectoral.tilt, pleura.tilt) = (tilt, tilt);
    vec![
        skin(draw, skin_mm),
        fat(draw, fat_mm, 1.4, (-13.0, -7.0)),
        gland,
        fat(draw, deep_mm, 0.8, (-13.0, -7.0)),
        pectoral,
        pleura,
        Layer {
            texture: Texture {
                echo_db: -16.0,
                cloud_db: 3.0,
                cloud_mm: (12.0, 1.2),
                attenuation: 1.1,
                ..Texture::PLAIN
            },
            until_mm: depth_mm as f32,
            ..muscle(draw, depth_mm)
        },
    ]
}

/// Mucosal wall, curled bands of stroma and bowel, far wall.
fn pelvis(draw: &mut Draw, depth_mm: f64) -> Vec<Layer> {
    let wall_mm = draw.range((4.0, 8.0));
    let organ_mm = depth_mm * draw.range((0.72, 0.95));
    let wall = Layer {
        texture: Texture {
            echo_db: draw.range((0.0, 5.0)) as f32,
            cloud_db: 3.0,
            cloud_mm: (14.0, 1.3),
            vein_db: 5.0,
            vein_mm: (18.0, 1.8),
            vein_width: 0.3,
            impedance: 0.1,
            attenuation: 0.5,
            along_face: true,
        },
        until_mm: wall_mm as f32,
        wave_mm: 0.8,
        wave_length_mm: 9.0,
        blend_mm: 1.0,
        sheet: false,
        tilt: 0.0,
        bow: 0.0,
    };
    let stroma = Layer {
        texture: Texture {
            echo_db: draw.range((-3.0, 2.0)) as f32,
            cloud_db: draw.range((5.0, 9.0)) as f32,
            cloud_mm: (draw.range((18.0, 34.0)) as f32, draw.range((8.0, 15.0)) as f32),
            vein_db: draw.range((4.0, 10.0)) as f32,
            vein_mm: (draw.range((14.0, 24.0)) as f32, draw.range((6.0, 11.0)) as f32),
            vein_width: 0.2,
            impedance: ORGAN_IMPEDANCE,
            attenuation: draw.range((0.45, 0.68)) as f32,
            along_face: false,
        },
        until_mm: organ_mm as f32,
        wave_mm: 5.0,
        wave_length_mm: 20.0,
        blend_mm: 2.5,
        sheet: false,
        tilt: 0.0,
        bow: 0.0,
    };
    let beyond = Layer {
        texture: Texture {
            echo_db: draw.range((-12.0, 3.0)) as f32,
            cloud_db: 6.0,
            cloud_mm: (22.0, 7.0),
            vein_db: 6.0,
            vein_mm: (25.0, 7.0),
            attenuation: draw.range((0.6, 1.2)) as f32,
            impedance: 0.2,
            ..Texture::PLAIN
        },
        until_mm: depth_mm as f32,
        ..stroma
    };
    vec![wall, stroma, beyond]
}

/// Skin, fat, muscle, liver, diaphragm, mirror echoes.
fn abdomen(draw: &mut Draw, depth_mm: f64) -> Vec<Layer> {
    let skin_mm = draw.range((1.5, 3.0));
    let fat_mm = skin_mm + draw.range((3.0, 14.0));
    let muscle_mm = fat_mm + draw.range((4.0, 9.0));
    let liver_mm = depth_mm * draw.range((0.75, 1.0));
    let (tilt, bow) = (draw.range((-0.45, 0.45)) as f32, draw.range((-0.012, 0.004)) as f32);
    let liver = Layer {
        tilt,
        bow,
        texture: Texture {
            echo_db: draw.range((-1.5, 1.5)) as f32,
            cloud_db: draw.range((1.0, 3.0)) as f32,
            cloud_mm: (draw.range((5.0, 16.0)) as f32, draw.range((4.0, 12.0)) as f32),
            vein_db: draw.range((0.0, 4.0)) as f32,
            vein_mm: (24.0, 19.0),
            vein_width: 0.12,
            impedance: ORGAN_IMPEDANCE,
            along_face: false,
            // Fatty livers absorb sound.
            attenuation: draw.range((0.45, 0.75)) as f32,
        },
        until_mm: liver_mm as f32,
        wave_mm: 9.0,
        wave_length_mm: 60.0,
        blend_mm: 1.0,
        sheet: false,
    };
    let mut layers = vec![
        skin(draw, skin_mm),
        fat(draw, fat_mm, 1.0, (-10.0, -4.0)),
        muscle(draw, muscle_mm),
        liver,
    ];
    if draw.chance(0.7) {
        let thickness_mm = draw.range((1.2, 2.5));
        let mut diaphragm = sheet(draw, liver_mm + thickness_mm, 9.0, 1.6);
        (diaphragm.wave_length_mm, diaphragm.tilt, diaphragm.bow) = (60.0, tilt, bow);
        layers.push(diaphragm);
    }
    layers.push(Layer {
        texture: Texture {
            echo_db: draw.range((-18.0, -6.0)) as f32,
            cloud_db: 3.0,
            cloud_mm: (25.0, 8.0),
            attenuation: 0.8,
            ..Texture::PLAIN
        },
        until_mm: depth_mm as f32,
        ..liver
    });
    layers
}
