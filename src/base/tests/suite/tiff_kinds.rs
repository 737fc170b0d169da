//! TIFFs of every kind: read rightly, or refused in words of users.

use sonotune_base::image_io::{DecodeOptions, Values, decode_bytes, decode_samples, read_header};

const OPTIONS: DecodeOptions = DecodeOptions { exif: true, max_pixels: 1 << 20 };

/// A page: its tags, `(tag, type, values)` with type 3 (16 bits), 4 (32 bits) or 5 (ratios of those), and its
/// data.
struct Page {
    tags: Vec<(u16, u16, Vec<u32>)>,
    data: Vec<u8>,
}

impl Page {
    /// Two rows of two pixels.
    fn new(photometric: u32, bits: &[u32], format: u32, data: Vec<u8>) -> Self {
        let tags = vec![
            (256, 3, vec![2]),
            (257, 3, vec![2]),
            (258, 3, bits.to_vec()),
            (259, 3, vec![1]),
            (262, 3, vec![photometric]),
            (277, 3, vec![bits.len() as u32]),
            (278, 3, vec![2]),
            (279, 4, vec![data.len() as u32]),
            (339, 3, vec![format; bits.len()]),
        ];
        Self { tags, data }
    }

    fn with(mut self, tag: u16, values: &[u32]) -> Self {
        self.tags.retain(|(other, ..)| *other != tag);
        self.tags.push((tag, 3, values.to_vec()));
        self
    }
}

/// A little-endian TIFF, or a BigTIFF with entries and offsets of 64 bits.
fn tiff(pages: &[Page], is_big: bool) -> Vec<u8> {
    let word = if is_big { 8 } else { 4 };
    let put = |out: &mut Vec<u8>, value: usize, size: usize| {
        out.extend_from_slice(&(value as u64).to_le_bytes()[..size]);
    };
    let mut out = if is_big { b"II+\0\x08\0\0\0".to_vec() } else { b"II*\0".to_vec() };
    let mut link = out.len();
    put(&mut out, 0, word);
    for page in pages {
        let data_at = out.len();
        out.extend_from_slice(&page.data);
        let mut tags = page.tags.clone();
        tags.push((273, 4, vec![data_at as u32]));
        tags.sort_by_key(|(tag, ..)| *tag);
        let mut entries = Vec::new();
        for (tag, kind, values) in tags {
            let size = if kind == 3 { 2 } else { 4 };
            let bytes: Vec<u8> =
                values.iter().flat_map(|v| v.to_le_bytes()[..size].to_vec()).collect();
            put(&mut entries, usize::from(tag), 2);
            put(&mut entries, usize::from(kind), 2);
            put(&mut entries, if kind == 5 { values.len() / 2 } else { values.len() }, word);
            if bytes.len() <= word {
                entries.extend_from_slice(&bytes);
                entries.resize(entries.len() + word - bytes.len(), 0);
            } else {
                put(&mut entries, out.len(), word);
                out.extend_from_slice(&bytes);
            }
        }
        let at = out.len();
        out[link..link + word].copy_from_slice(&(at as u64).to_le_bytes()[..word]);
        let count = entries.len() / (4 + 2 * word);
        put(&mut out, count, if is_big { 8 } else { 2 });
        out.extend_from_slice(&entries);
        link = out.len();
        put(&mut out, 0, word);
    }
    out
}

fn numbers<const N: usize, T: Copy>(values: [T; 4], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.into_iter().flat_map(bytes).collect()
}

fn pixels(page: Page) -> (usize, Vec<u8>) {
    let image = decode_bytes(&tiff(&[page], false), OPTIONS).unwrap();
    assert_eq!((image.height, image.width), (2, 2));
    (image.channels, image.pixels)
}

#[test]
fn kinds_beyond_the_librarys_are_read() {
    let grey = || Page::new(1, &[8], 1, vec![1, 2, 3, 4]);
    for is_big in [false, true] {
        let image = decode_bytes(&tiff(&[grey()], is_big), OPTIONS).unwrap();
        assert_eq!((image.channels, image.pixels), (1, vec![1, 2, 3, 4]), "{is_big}");
    }
    let alpha = Page::new(1, &[8, 8], 1, vec![1, 9, 2, 8, 3, 7, 4, 6]).with(338, &[2]);
    assert_eq!(pixels(alpha), (1, vec![1, 2, 3, 4]));
    let planar = Page::new(1, &[8, 8], 1, vec![1, 2, 3, 4, 9, 8, 7, 6]).with(338, &[2]);
    let mut planar = planar.with(284, &[2]);
    planar.tags.retain(|(tag, ..)| *tag != 279);
    planar.tags.push((279, 4, vec![4, 4]));
    // The second plane follows the first.
    assert!(decode_bytes(&tiff(&[planar], false), OPTIONS).is_err(), "one offset for two strips");
    let int32 = Page::new(1, &[32], 2, numbers([0_i32, 7, 254, 255], i32::to_le_bytes));
    assert_eq!(pixels(int32), (1, vec![0, 7, 254, 255]));
    let uint32 = Page::new(1, &[32], 1, numbers([0_u32, 7, 254, 255], u32::to_le_bytes));
    assert_eq!(pixels(uint32), (1, vec![0, 7, 254, 255]));
    let float = Page::new(1, &[32], 3, numbers([0.0_f32, 0.2, 0.5, 1.0], f32::to_le_bytes));
    assert_eq!(pixels(float), (1, vec![0, 51, 128, 255]));
    let float = Page::new(1, &[64], 3, numbers([0.0_f64, 2.2, 99.5, 255.0], f64::to_le_bytes));
    assert_eq!(pixels(float), (1, vec![0, 2, 100, 255]));
    let two_bits = Page::new(1, &[2], 1, vec![0b0001_0000, 0b1011_0000]);
    assert_eq!(pixels(two_bits), (1, vec![0, 85, 170, 255]));
    let ycbcr = [76, 85, 255, 150, 44, 21, 29, 255, 107, 90, 128, 128];
    let mut ycbcr = Page::new(6, &[8, 8, 8], 1, ycbcr.to_vec()).with(530, &[1, 1]);
    // Ratios: the range of values.
    let range = [0, 255, 128, 255, 128, 255];
    ycbcr.tags.push((532, 5, range.iter().flat_map(|&level| [level, 1]).collect()));
    let (channels, rgb) = pixels(ycbcr);
    assert_eq!(channels, 3);
    for (got, expected) in rgb.iter().zip([254, 0, 0, 0, 255, 1, 0, 0, 254, 90, 90, 90]) {
        assert!(got.abs_diff(expected) <= 1, "{rgb:?}");
    }
}

#[test]
fn palettes_give_colours_and_indices() {
    for (bits, data) in [(8, vec![0, 1, 2, 1]), (4, vec![0x01, 0x21])] {
        for scale in [1, 257] {
            let mut map = vec![0; 3 << bits];
            let entries = 1 << bits;
            map[1] = 128 * scale;
            map[entries + 2] = 64 * scale;
            let page = Page::new(3, &[bits], 1, data.clone()).with(320, &map);
            let samples = decode_samples(&tiff(&[page], false), OPTIONS).unwrap();
            let colours = vec![0, 0, 0, 128, 0, 0, 0, 64, 0, 128, 0, 0];
            assert_eq!(samples.values, Values::U8(colours), "{bits} {scale}");
            assert_eq!(samples.index, Some(Values::U8(vec![0, 1, 2, 1])));
        }
    }
}

#[test]
fn other_kinds_are_refused_in_words() {
    let rgb = |photometric| Page::new(photometric, &[8, 8, 8], 1, vec![9; 12]);
    let int16 = |values| Page::new(1, &[16], 2, numbers(values, i16::to_le_bytes));
    let float = |values| Page::new(1, &[32], 3, numbers(values, f32::to_le_bytes));
    let word = |values| Page::new(1, &[16], 1, numbers(values, u16::to_le_bytes));
    let cases = [
        (rgb(8), "CIE Lab"),
        (rgb(9), "CIE Lab"),
        (rgb(6), "YCbCr with subsampled chroma"),
        (rgb(6).with(530, &[1, 1]).with(532, &[16, 235, 128, 240, 128, 240]), "YCbCr, 3 channels"),
        (rgb(1), "grey values, 3 channels"),
        (rgb(2).with(259, &[50000]), "compressed with Zstandard"),
        (rgb(2).with(259, &[6]), "JPEG in its old form"),
        (rgb(32803), "raw values of a camera"),
        (Page::new(1, &[12], 1, vec![0; 6]), "12-bit integers"),
        (int16([-3, 4, 5, 6]), "from -3 to 6"),
        (float([0.0, 1.0, 3000.0, 4.0]), "from 0 to 3000"),
        (float([0.0, f32::NAN, 3.0, 4.0]), "NaN"),
        (word([0, 1, 2, 4000]), "reach only 4000 of 65535"),
    ];
    for (page, expected) in cases {
        let error = format!("{:#}", decode_bytes(&tiff(&[page], false), OPTIONS).unwrap_err());
        assert!(
            error.contains(expected) && error.contains("8 bits") || error.contains("NaN"),
            "{error}"
        );
        for library in ["Unknown", "format features", "RGBPalette", "decoder"] {
            assert!(!error.contains(library), "{error}");
        }
    }
}

#[test]
fn pages_are_counted_without_copies_and_masks_of_one() {
    let page = || Page::new(1, &[8], 1, vec![1, 2, 3, 4]);
    let lab = || Page::new(8, &[8, 8, 8], 1, vec![9; 12]);
    let cases = [
        (vec![page()], 1),
        (vec![page(), page(), lab()], 3),
        (vec![page(), page().with(254, &[1]), page().with(254, &[4])], 1),
        (vec![page().with(254, &[2]), page().with(254, &[2])], 2),
    ];
    for (pages, expected) in cases {
        for is_big in [false, true] {
            let bytes = tiff(&pages, is_big);
            assert_eq!(read_header(&bytes).unwrap().pages, expected);
            assert_eq!(decode_bytes(&bytes, OPTIONS).unwrap().pixels, [1, 2, 3, 4]);
        }
    }
}

#[test]
fn frames_of_animations_are_counted() {
    let still = |format: image::ImageFormat| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(2, 2).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let png = still(image::ImageFormat::Png);
    let control = b"\0\0\0\x08acTL\0\0\0\x07\0\0\0\0\x3b\x6d\x1c\x00";
    let animated = [&png[..33], control, &png[33..]].concat();
    let webp = still(image::ImageFormat::WebP);
    let frames = [&webp[..], b"ANMF\x03\0\0\0abc\0ANMF\0\0\0\0"].concat();
    for (bytes, expected) in [(png, 1), (animated, 7), (webp, 1), (frames, 2)] {
        let pages = read_header(&bytes).map(|header| header.pages);
        assert!(pages.as_ref().is_ok_and(|pages| *pages == expected), "{pages:?}");
    }
}

#[test]
fn damaged_tiffs_neither_panic_nor_loop() {
    let page = || Page::new(3, &[8], 1, vec![0, 1, 2, 1]).with(320, &vec![1; 3 << 8]);
    for is_big in [false, true] {
        let whole = tiff(&[page(), page()], is_big);
        for length in 0..whole.len() {
            drop(decode_samples(&whole[..length], OPTIONS));
            drop(read_header(&whole[..length]));
        }
        let mut rng = sonotune_base::seed::Rng::at(3, &[]);
        for _ in 0..2000 {
            let mut bad = whole.clone();
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = rng.below(256) as u8;
            drop(decode_samples(&bad, OPTIONS));
        }
    }
}
