//! The notation for shapes in fixtures.
//!
//! `rect x y w h`, `disc x y r`, `diamond x y r`, `triangle x y n` (right angle at x, y, legs of
//! n + 1 pixels to the right and down), `dot x y`, `all`; joined by `+` and `-` from left to right.

use anyhow::{Context, Result, bail, ensure};

/// A plane of flags, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plane {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) set: Vec<bool>,
}

/// `VALUE[@FIRST[-LAST]][#VOLUME]: SHAPE`.
#[derive(Debug)]
pub(crate) struct Layer<'a> {
    /// Grey, or red, green and blue.
    pub(crate) value: Vec<i32>,
    /// Slices to paint.
    pub(crate) slices: Option<(usize, usize)>,
    /// Volume of a series to paint.
    pub(crate) volume: Option<usize>,
    pub(crate) shape: &'a str,
}

impl<'a> Layer<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self> {
        let (place, shape) =
            text.split_once(':').with_context(|| format!("`{text}` has no `:`"))?;
        let (place, volume) = match place.split_once('#') {
            Some((place, volume)) => (place, Some(volume.trim().parse()?)),
            None => (place, None),
        };
        let (value, slices) = match place.split_once('@') {
            Some((value, slices)) => {
                let (first, last) = slices.split_once('-').unwrap_or((slices, slices));
                (value, Some((first.trim().parse()?, last.trim().parse()?)))
            }
            None => (place, None),
        };
        let value = value.split(',').map(|v| v.trim().parse::<i32>());
        let value = value.collect::<Result<Vec<_>, _>>().with_context(|| text.to_owned())?;
        Ok(Self { value, slices, volume, shape })
    }
}

/// Draws a shape.
pub(crate) fn draw(shape: &str, height: usize, width: usize) -> Result<Plane> {
    let mut plane = Plane { height, width, set: vec![false; height * width] };
    let mut rest = shape.trim();
    let mut add = true;
    loop {
        let signs = [" + ", " - "].iter().filter_map(|sign| rest.find(sign));
        let end = signs.min().unwrap_or(rest.len());
        let covers = term(&rest[..end])?;
        let mut any = false;
        for (at, set) in plane.set.iter_mut().enumerate() {
            if covers((at % width) as i32, (at / width) as i32) {
                *set = add;
                any = true;
            }
        }
        ensure!(any, "`{}` has no pixel in {height} x {width}", &rest[..end]);
        if end == rest.len() {
            return Ok(plane);
        }
        add = rest[end..].starts_with(" + ");
        rest = &rest[end + 3..];
    }
}

/// Whether a term covers x, y.
type Covers = Box<dyn Fn(i32, i32) -> bool>;

fn term(text: &str) -> Result<Covers> {
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let numbers =
        words.map(str::parse).collect::<Result<Vec<i32>, _>>().with_context(|| text.to_owned())?;
    Ok(match (kind, numbers.as_slice()) {
        ("rect", &[x0, y0, w, h]) => {
            Box::new(move |x, y| x >= x0 && x < x0 + w && y >= y0 && y < y0 + h)
        }
        ("disc", &[cx, cy, r]) => Box::new(move |x, y| (x - cx).pow(2) + (y - cy).pow(2) <= r * r),
        ("diamond", &[cx, cy, r]) => Box::new(move |x, y| (x - cx).abs() + (y - cy).abs() <= r),
        ("triangle", &[x0, y0, n]) => {
            Box::new(move |x, y| x >= x0 && y >= y0 && x - x0 + y - y0 <= n)
        }
        ("dot", &[x0, y0]) => Box::new(move |x, y| x == x0 && y == y0),
        ("all", []) => Box::new(|_, _| true),
        _ => bail!("`{text}` is not a shape"),
    })
}

#[test]
fn shapes_are_drawn_as_written() {
    let rows = |shape: &str| {
        let plane = draw(shape, 4, 5).unwrap();
        let row = |row: &[bool]| row.iter().map(|&s| if s { '#' } else { '.' }).collect::<String>();
        plane.set.chunks(5).map(row).collect::<Vec<_>>()
    };
    assert_eq!(rows("rect 1 0 3 2"), [".###.", ".###.", ".....", "....."]);
    assert_eq!(rows("all - rect 1 1 3 2 + dot 2 2"), ["#####", "#...#", "#.#.#", "#####"]);
    assert_eq!(rows("diamond 2 1 1"), ["..#..", ".###.", "..#..", "....."]);
    assert_eq!(rows("triangle 0 1 2"), [".....", "###..", "##...", "#...."]);
    assert!(draw("rect 9 9 1 1", 4, 5).is_err());
    assert!(draw("square 1 1", 4, 5).is_err());
}
