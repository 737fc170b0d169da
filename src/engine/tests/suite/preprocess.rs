//! Decoding and resizing against the results of OpenCV and Pillow on the same files, and on files
//! that are broken on purpose.

use std::{collections::HashMap, path::Path};

use anyhow::Result;
use sonotune_base::{
    Rle,
    error::exit_code,
    image_io::{DecodeOptions, Image, decode_file, read_size},
};
use sonotune_dataset::transforms::{Resample, Resized, Window, resize, resize_mask};
use tch::{Kind, Tensor};

use sonotune_testing::fixture;

const OPTIONS: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1_000_000 };

fn expected() -> HashMap<String, Tensor> {
    let path = fixture("preprocess/expected.safetensors");
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    assert_eq!(tensor.kind(), Kind::Uint8);
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

fn rgb(image: &Image) -> Vec<u8> {
    if image.channels == 3 {
        return image.pixels.clone();
    }
    image.pixels.iter().flat_map(|&v| [v; 3]).collect()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn every_format_decodes_as_opencv_does() {
    let mut files = 0;
    for (key, tensor) in expected() {
        let Some(name) = key.strip_prefix("decode/") else { continue };
        let image = decode_file(&fixture(&format!("preprocess/{name}")), OPTIONS).unwrap();
        let size = tensor.size();
        assert_eq!([i64::from(image.height), i64::from(image.width), 3], size[..], "{name}");
        // JPEG's inverse DCT may differ by a level in luma and chroma, and OpenCV's decoder rounds
        // chroma upsampling and colour conversion separately: up to 4 levels in blue, 1 in grey.
        let tolerance = match name {
            "grey.jpg" => 1,
            name if name.ends_with(".jpg") => 4,
            _ => 0,
        };
        let difference = largest_difference(&rgb(&image), &bytes(&tensor));
        assert!(difference <= tolerance, "{name}: off by {difference} levels");
        let path = fixture(&format!("preprocess/{name}"));
        assert_eq!(read_size(&path, OPTIONS).unwrap(), (image.height, image.width), "{name}");
        files += 1;
    }
    assert!(files >= 20, "the fixtures hold {files} decoded files only");
}

#[test]
fn exif_is_applied_only_when_asked_for() {
    let path = fixture("preprocess/exif6.png");
    let stored = decode_file(&path, DecodeOptions { exif: false, ..OPTIONS }).unwrap();
    assert_eq!((stored.height, stored.width, stored.transposed), (37, 53, false));
    let turned = decode_file(&path, OPTIONS).unwrap();
    assert_eq!((turned.height, turned.width, turned.transposed), (53, 37, true));
}

#[test]
fn parity_resampling_is_bit_exact() {
    let mut cases = 0;
    for (key, tensor) in expected() {
        let parts: Vec<&str> = key.split('/').collect();
        let ["resize", source, size, method] = parts[..] else { continue };
        let (height, width) = size.split_once('x').unwrap();
        let size = (height.parse().unwrap(), width.parse().unwrap());
        let path = fixture(&format!("preprocess/source_{source}.png"));
        let image = decode_file(&path, OPTIONS).unwrap();
        let got = match method {
            "linear_u8" => resize(image, size, Resample::Reference),
            "linear_f32" => resize(image, size, Resample::ReferenceFloat),
            "pillow" => resize(image, size, Resample::Antialias),
            "nearest" => {
                // A mask of each bit: together they distinguish every pixel from its neighbours.
                let bit =
                    |bytes: &[u8], n: u32| bytes.iter().map(|b| b >> n & 1).collect::<Vec<_>>();
                for n in 0..8 {
                    let from = (image.height, image.width);
                    let mask = Rle::from_mask(&bit(&image.pixels, n), from).unwrap();
                    let got = resize_mask(&mask, &Window::whole(size));
                    assert_eq!(got, bit(&bytes(&tensor), n), "{key} {n}");
                }
                cases += 1;
                continue;
            }
            _ => panic!("{key}"),
        };
        let planar = if tensor.dim() == 3 { tensor.permute([2, 0, 1]) } else { tensor };
        match (got.unwrap(), method) {
            (Resized::U8(planes), "linear_u8") => assert_eq!(planes.data, bytes(&planar), "{key}"),
            // Both work in fixed point, with different numbers of bits.
            (Resized::U8(planes), _) => {
                assert!(largest_difference(&planes.data, &bytes(&planar)) <= 1, "{key}");
            }
            (Resized::F32(planes), _) => {
                let expected = Vec::<f32>::try_from(planar.flatten(0, -1)).unwrap();
                assert_eq!(planes.data, expected, "{key}");
            }
        }
        cases += 1;
    }
    assert_eq!(cases, 2 * 5 * 3 + 5);
}

#[test]
fn equal_channels_are_resized_once_with_the_same_result() {
    let grey = decode_file(&fixture("preprocess/source_grey.png"), OPTIONS).unwrap();
    let colour = Image { channels: 3, pixels: rgb(&grey), ..grey.clone() };
    assert_eq!(colour.into_grey_if_equal(), grey);
    let mut colour = Image { channels: 3, pixels: rgb(&grey), ..grey };
    *colour.pixels.last_mut().unwrap() ^= 1;
    assert_eq!(colour.clone().into_grey_if_equal(), colour);
}

fn fixtures() -> impl Iterator<Item = (String, Vec<u8>)> {
    std::fs::read_dir(fixture("preprocess")).unwrap().map(|entry| entry.unwrap().path()).filter_map(
        |path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (!name.ends_with(".safetensors")).then(|| (name, std::fs::read(&path).unwrap()))
        },
    )
}

fn decode_written(folder: &Path, name: &str, bytes: &[u8]) -> Result<Image> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    decode_file(&path, OPTIONS)
}

#[test]
fn a_truncated_file_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in fixtures() {
        for percent in [0, 1, 20, 60, 95] {
            let cut = &bytes[..bytes.len() * percent / 100];
            let Err(error) = decode_written(dir.path(), &name, cut) else {
                panic!("{name} cut to {percent} % was decoded")
            };
            assert_eq!(exit_code(&error), 3);
            assert!(error.to_string().contains(&name), "{error}");
        }
    }
}

#[test]
fn corrupt_bytes_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = sonotune_base::seed::Rng::at(0, &[]);
    for (name, mut bytes) in fixtures() {
        for _ in 0..30 {
            for _ in 0..3 {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            // Whether it is still an image does not matter.
            let _ = decode_written(dir.path(), &name, &bytes);
        }
    }
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let mut bmp = std::fs::read(fixture("preprocess/rgb8.bmp")).unwrap();
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&50_000u32.to_le_bytes());
    let error = decode_written(dir.path(), "bomb.bmp", &bmp).unwrap_err().to_string();
    assert!(error.contains("50000x60000") && error.contains("max_pixels"), "{error}");
}

#[test]
fn what_is_no_image_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let error = decode_written(dir.path(), "notes.png", b"hello, world").unwrap_err().to_string();
    assert!(error.contains("notes.png") && error.contains("PNG, JPEG"), "{error}");
    let error = decode_file(&dir.path().join("absent.png"), OPTIONS).unwrap_err().to_string();
    assert!(error.contains("absent.png"), "{error}");
    let error = decode_file(dir.path(), OPTIONS).unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
}
