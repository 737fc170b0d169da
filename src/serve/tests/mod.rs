//! Everything over real connections.

mod abuse;
mod access;
mod client;
mod fake;
mod label_studio;
mod monai;
mod rest;
mod x_anylabeling;

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use serde_json::Value;
use sonotune_base::Rle;

use self::{client::Server, fake::Fake};
use crate::{About, Options, router};

/// A server with the fake model, changed.
fn serving(about: impl FnOnce(&mut About), options: Options) -> Server {
    let mut fake = Fake::new();
    about(&mut fake.about);
    serving_slowly(fake, options)
}

fn serving_slowly(fake: Fake, options: Options) -> Server {
    Server::start(|address| router(Arc::new(fake), &Options { address, ..options }).unwrap())
}

fn of_images(about: &mut About) {
    (about.is_of_image, about.takes_prompts, about.has_masks) = (true, false, false);
}

/// A grey image with a bright square, from row and column 10 to 20.
fn picture(height: u32, width: u32) -> Vec<u8> {
    let bright = |i: u32| (10..20).contains(&(i / width)) && (10..20).contains(&(i % width));
    let pixels: Vec<u8> = (0..height * width).map(|i| if bright(i) { 200 } else { 20 }).collect();
    let mut png = Vec::new();
    let encoder = PngEncoder::new(&mut png);
    encoder.write_image(&pixels, width, height, ExtendedColorType::L8).unwrap();
    png
}

fn data_url(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes))
}

fn mask(runs: &Value) -> Rle {
    let side = |i: usize| runs["size"][i].as_u64().unwrap() as u32;
    Rle::from_compressed(side(0), side(1), runs["counts"].as_str().unwrap()).unwrap()
}

/// Pixels of the fake's disc around the centre of a pixel.
fn disc() -> u64 {
    let inside = |(x, y): (i32, i32)| f64::from(x).hypot(f64::from(y)) <= fake::RADIUS;
    (-9..=9).flat_map(|x| (-9..=9).map(move |y| (x, y))).filter(|&at| inside(at)).count() as u64
}
