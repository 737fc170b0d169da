//! Masks: compared as they are stored, or refused with what to write.

use image::ImageFormat;

use super::{
    values::{deep, encoded, objects},
    *,
};

/// A 4×4 PNG with a palette.
fn palette(indices: [u8; 16], colors: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(::png::ColorType::Indexed);
    encoder.set_palette(colors.to_vec());
    encoder.write_header().unwrap().write_image_data(&indices).unwrap();
    bytes
}

fn la(color: u8, alphas: [u8; 16]) -> Vec<u8> {
    let data = alphas.iter().flat_map(|&alpha| [color, alpha]).collect();
    encoded(image::GrayAlphaImage::from_raw(4, 4, data).unwrap(), ImageFormat::Png)
}

#[test]
fn masks_are_compared_as_they_are_stored() {
    let at = |values: &[(usize, u8)]| {
        let mut all = [0; 16];
        values.iter().for_each(|&(at, value)| all[at] = value);
        all
    };
    let red = [0, 0, 0, 128, 0, 0];
    let swapped = [0, 0, 0, 2, 2, 2, 1, 1, 1];
    let blue_ground = [0, 0, 90, 128, 0, 0];
    let jpeg = encoded(
        image::GrayImage::from_fn(16, 16, |x, y| image::Luma([u8::from(x > y) * 255])),
        ImageFormat::Jpeg,
    );
    let nonzero = "\"nonzero\"\ncategory = 1";
    let values = "{ values = { 1 = 1, 2 = 2 } }";
    let index = "{ values = { 1 = 1, 2 = 2 } }\ncompare = \"index\"";
    let least = "{ at_least = 128 }\ncategory = 1";
    type Expected<'a> = Result<&'a [(u64, u64)], &'a [&'a str]>;
    let cases: Vec<(Vec<u8>, &str, Expected)> = vec![
        (deep(&[(5, 1), (10, 2)]), values, Ok(&[(1, 1), (2, 1)])),
        (deep(&[(5, 257), (10, 514)]), values, Ok(&[(1, 1), (2, 1)])),
        (deep(&[(5, 300), (10, 1)]), "{ values = { 1 = 1, 300 = 2 } }", Ok(&[(1, 1), (2, 1)])),
        (deep(&[(5, 300), (10, 1)]), values, Err(&["does not know 300 in 1 pixels"])),
        (deep(&[(5, 65535)]), least, Ok(&[(1, 1)])),
        (deep(&[(5, 200), (6, 9000)]), least, Err(&["up to 9000", "256 or more"])),
        (deep(&[(5, 200), (6, 9000)]), "{ at_least = 8000 }\ncategory = 1", Ok(&[(1, 1)])),
        (deep(&[(5, 200), (6, 9000)]), nonzero, Ok(&[(1, 2)])),
        (palette(at(&[(5, 1)]), &red), "{ values = { 1 = 1 } }", Ok(&[(1, 1)])),
        (palette(at(&[(5, 1)]), &red), "{ values = { 15 = 1 } }", Ok(&[(1, 1)])),
        (palette(at(&[(5, 1)]), &red), "{ colors = { \"128,0,0\" = 1 } }", Ok(&[(1, 1)])),
        (palette(at(&[(5, 1)]), &red), nonzero, Ok(&[(1, 1)])),
        (palette(at(&[(5, 1)]), &red), "{ values = { 9 = 1 } }", Err(&["palette", "15"])),
        (palette(at(&[(5, 1)]), &blue_ground), nonzero, Err(&["compare = \"index\"", "palette"])),
        (palette(at(&[(5, 1), (10, 2)]), &swapped), values, Err(&["compare = \"color\""])),
        (palette(at(&[(5, 1), (10, 2), (11, 2)]), &swapped), index, Ok(&[(1, 1), (2, 2)])),
        (la(0, at(&[(5, 255)])), nonzero, Err(&["alpha channel", "compare = \"alpha\""])),
        (la(0, at(&[(5, 255)])), "\"nonzero\"\ncategory = 1\ncompare = \"alpha\"", Ok(&[(1, 1)])),
        (deep(&[(5, 1)]), "{ values = { 1 = 1 } }\ncompare = \"index\"", Err(&["has no palette"])),
        (jpeg.clone(), nonzero, Err(&["lossy", "JPEG", "at_least = 128"])),
        (jpeg.clone(), "{ equal = 255 }\ncategory = 1", Err(&["lossy", "at_least = 128"])),
        (jpeg.clone(), "{ values = { 255 = 1 } }", Err(&["lossy compression, such as JPEG"])),
        (jpeg, least, Ok(&[(1, 120)])),
    ];
    for (mask, decode, expected) in cases {
        let source = Source(tempfile::tempdir().unwrap());
        let size = image::load_from_memory(&mask).unwrap().width();
        let image = image::GrayImage::from_pixel(size, size, image::Luma([99]));
        source.write("images/a.png", &encoded(image, ImageFormat::Png));
        source.write("masks/a.png", &mask);
        let masks = MASKS.replace("{ values = { 255 = 1 } }", decode);
        let spec = format!("{HEAD}{IMAGES}{masks}");
        match expected {
            Ok(expected) => {
                source.convert(&spec).unwrap_or_else(|e| panic!("{decode}: {e:#}"));
                assert_eq!(objects(&source), expected, "{decode}");
            }
            Err(parts) => {
                says(&source.refused(&spec), &[&["masks/a.png"], parts].concat());
            }
        }
    }
}

/// A JPEG that EXIF orients.
pub(super) fn oriented(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let image = image::GrayImage::from_pixel(width, height, image::Luma([99]));
    let plain = encoded(image, ImageFormat::Jpeg);
    let mut exif =
        b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    [&plain[..2], &exif, &plain[2..]].concat()
}

#[test]
fn a_mask_that_exif_may_turn_is_refused_if_sizes_do_not_tell() {
    // Size of the stored image, its orientation, size of the mask, and the message.
    let cases = [
        ((6, 4), 1, (6, 4), None),
        ((6, 4), 6, (4, 6), None),
        ((6, 4), 6, (6, 4), Some("EXIF")),
        ((6, 4), 3, (6, 4), Some("mirrored or upside down")),
        ((4, 4), 6, (4, 4), Some("rotated by 90 degrees")),
        ((4, 4), 2, (4, 4), Some("EXIF")),
    ];
    for ((width, height), orientation, mask, expected) in cases {
        let source = Source(tempfile::tempdir().unwrap());
        source.write("images/a.png", &oriented(width, height, orientation));
        let mask =
            image::GrayImage::from_fn(mask.0, mask.1, |x, _| image::Luma([u8::from(x > 1) * 255]));
        source.write("masks/a.png", &encoded(mask, ImageFormat::Png));
        match expected {
            None => drop(source.convert(&spec()).unwrap()),
            Some(words) => says(&source.refused(&spec()), &["masks/a.png", words]),
        }
    }
}
