//! Phantoms of screens: a sector, linear images, and what machines write around them.

use sonotune_base::seed::Rng;

use super::*;

/// A grey picture being drawn.
struct Screen {
    height: u32,
    width: u32,
    levels: Vec<u8>,
}

impl Screen {
    fn new(height: u32, width: u32, level: u8) -> Self {
        Self { height, width, levels: vec![level; (height * width) as usize] }
    }

    /// Speckle wherever `inside(x, y)` holds.
    fn tissue(mut self, seed: u64, inside: impl Fn(f64, f64) -> bool) -> Self {
        let mut rng = Rng::at(seed, &[]);
        for (i, level) in self.levels.iter_mut().enumerate() {
            let (x, y) = (i as u32 % self.width, i as u32 / self.width);
            let speckle = (rng.uniform() * rng.uniform() * 160.0) as u8;
            if inside(x.into(), y.into()) {
                *level = speckle;
            }
        }
        self
    }

    /// Lines of text: strokes of two pixels in every eight, ten rows of eighteen.
    fn text(mut self, [x, y, width, height]: [u32; 4]) -> Self {
        for row in (y..y + height).filter(|row| (row - y) % 18 < 10) {
            for column in (x..x + width).filter(|column| (column - x) % 8 < 2) {
                self.levels[(row * self.width + column) as usize] = 230;
            }
        }
        self
    }

    /// A bright rectangle: a grey bar, a frame's side, a ruler.
    fn bar(mut self, [x, y, width, height]: [u32; 4]) -> Self {
        for row in y..y + height {
            let start = (row * self.width + x) as usize;
            self.levels[start..start + width as usize].fill(200);
        }
        self
    }

    /// Codec noise of up to three levels.
    fn noise(mut self) -> Self {
        let mut rng = Rng::at(77, &[]);
        for level in &mut self.levels {
            *level = level.saturating_add(rng.below(4) as u8);
        }
        self
    }

    fn find(&self) -> Option<[u32; 4]> {
        find(&self.levels, (self.height, self.width), 1)
    }

    /// That the rectangle found holds `expected`, and at most `slack` pixels more at each side.
    fn assert_found(&self, [x, y, width, height]: [u32; 4], slack: u32) {
        let found = self.find();
        let Some([u, v, w, h]) = found else { panic!("nothing found") };
        let holds = u <= x && v <= y && u + w >= x + width && v + h >= y + height;
        let is_near = u + slack >= x
            && v + slack >= y
            && u + w <= x + width + slack
            && v + h <= y + height + slack;
        assert!(holds && is_near, "{found:?} for {:?}", [x, y, width, height]);
    }
}

/// Within 45° of the vertical below (x, y), at a distance from 20 to 420.
fn sector(x: f64, y: f64) -> impl Fn(f64, f64) -> bool {
    move |u, v| {
        let (right, down) = (u - x, v - y);
        let radius = right.hypot(down);
        (20.0..420.0).contains(&radius) && down > right.abs()
    }
}

fn rectangle([x, y, width, height]: [u32; 4]) -> impl Fn(f64, f64) -> bool {
    move |u, v| {
        (f64::from(x)..f64::from(x + width)).contains(&u)
            && (f64::from(y)..f64::from(y + height)).contains(&v)
    }
}

fn with_marks(screen: Screen) -> Screen {
    screen
        .text([10, 10, 220, 60])
        .text([560, 20, 70, 150])
        .text([20, 560, 180, 30])
        .bar([770, 150, 14, 250])
        .bar([700, 80, 1, 480])
        .bar([40, 590, 700, 1])
}

#[test]
fn a_sector_is_found_among_text_rulers_and_a_grey_bar() {
    let screen = with_marks(Screen::new(600, 800, 0).tissue(1, sector(400.0, 90.0)));
    // The sector's sides are at 45°, its lowest point right below.
    screen.assert_found([110, 112, 580, 395], 24);
    assert_eq!(screen.find(), screen.find());
    let noisy = with_marks(Screen::new(600, 800, 0).tissue(1, sector(400.0, 90.0))).noise();
    noisy.assert_found([110, 112, 580, 395], 24);
}

#[test]
fn a_linear_image_is_found_on_black_grey_and_white() {
    let rect = [180, 100, 400, 420];
    for level in [0, 35, 255] {
        let screen = with_marks(Screen::new(600, 800, level).tissue(2, rectangle(rect)));
        screen.assert_found(rect, 24);
    }
}

#[test]
fn both_images_of_a_divided_screen_stay() {
    let (left, right) = ([40, 150, 300, 350], [420, 150, 300, 350]);
    let screen = Screen::new(600, 800, 0)
        .tissue(3, |x, y| rectangle(left)(x, y) || rectangle(right)(x, y))
        .text([40, 20, 300, 60]);
    screen.assert_found([40, 150, 680, 350], 24);
}

#[test]
fn colour_is_looked_at_as_grey() {
    let rect = [180, 100, 400, 420];
    let screen = Screen::new(600, 800, 0).tissue(4, rectangle(rect));
    let colours: Vec<u8> = screen.levels.iter().flat_map(|&level| [level, level, 0]).collect();
    let expected = screen.find();
    assert!(expected.is_some());
    assert_eq!(find(&colours, (600, 800), 3), expected);
}

#[test]
fn a_picture_stays_whole_where_no_image_stands_out() {
    let whole = |screen: Screen| assert_eq!(screen.find(), None);
    whole(Screen::new(600, 800, 0));
    whole(Screen::new(600, 800, 90));
    // Text alone; a small symbol; tissue from side to side, with a dark vessel.
    whole(Screen::new(600, 800, 0).text([10, 10, 700, 500]));
    whole(Screen::new(600, 800, 0).tissue(5, rectangle([300, 300, 100, 100])));
    let vessel = |x: f64, y: f64| (x - 400.0).hypot(y - 300.0) > 120.0;
    whole(Screen::new(600, 800, 0).tissue(6, vessel));
    for (height, width) in [(1, 1), (1, 900), (900, 1), (3, 5)] {
        whole(Screen::new(height, width, 0).tissue(7, |_, _| true));
    }
    assert_eq!(find(&[], (0, 0), 1), None);
}

#[test]
fn small_frames_are_cut_as_well() {
    // As EchoNet's, 112×112.
    let screen = Screen::new(112, 112, 0).tissue(8, rectangle([24, 16, 64, 80]));
    screen.assert_found([24, 16, 64, 80], 8);
}

#[test]
fn dicom_regions_of_tissue_and_flow_are_united() {
    let region =
        |rect, spatial_format, data_type| Region { rect, spatial_format, data_type, spacing: None };
    let tissue = region([100, 50, 300, 200], 1, 1);
    let flow = region([350, 40, 100, 100], 1, 2);
    let spectral = region([0, 400, 800, 150], 3, 3);
    let other = region([10, 20, 30, 40], 1, 9);
    let of = |regions: &[&Region]| {
        of_regions(&regions.iter().map(|&region| region.clone()).collect::<Vec<_>>())
    };
    assert_eq!(of(&[&spectral, &tissue, &other]), Some([100, 50, 300, 200]));
    assert_eq!(of(&[&tissue, &flow]), Some([100, 40, 350, 210]));
    assert_eq!(of(&[&spectral, &other]), Some([10, 20, 30, 40]));
    assert_eq!(of(&[&spectral]), None);
    assert_eq!(of(&[]), None);
}
