//! One look at an image file: everything that is needed comes from a single decode.

use crate::print::Print;

use sonotune_base::image_io::{
    self, DecodeOptions, ExifTurn, Header, Image, Stored, decode_bytes, format_name, other_kind,
    read_header,
};
use sonotune_dataset::pixels::{ImageFile, Kind, Reader};

/// What a file turned out to be.
#[derive(Debug)]
pub enum Look {
    Missing,
    Empty,
    /// Its first bytes.
    NotAnImage(String),
    /// Why.
    Unreadable(String),
    /// It exists and was not decoded.
    Present,
    Decoded(Box<Seen>),
}

/// Properties of a decoded image.
#[derive(Debug)]
pub struct Seen {
    pub header: Header,
    /// As training gets it: rotated as EXIF says if the options ask for that.
    pub height: u32,
    pub width: u32,
    /// Whether EXIF rotated it by 90 degrees.
    pub transposed: bool,
    /// Whether the EXIF orientation was applied.
    pub follows_exif: bool,
    /// Whether three stored channels are equal throughout.
    pub is_grey: bool,
    pub stored: Stored,
    pub pixels: PixelSums,
    pub print: Print,
}

/// Sums over the pixels, by channel; those of a grey image stand for all three.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PixelSums {
    pub count: u64,
    pub sum: [u64; 3],
    pub squares: [u64; 3],
    pub lowest: [u8; 3],
    pub highest: [u8; 3],
    /// Most distinct values in a channel of one image.
    pub levels: u16,
}

/// Looks at an image; without `options`, only checks that the file exists.
#[must_use]
pub fn look_at(file: &ImageFile, reader: &Reader, options: Option<DecodeOptions>) -> Look {
    let path = file.path.as_path();
    let Ok(metadata) = std::fs::metadata(path) else { return Look::Missing };
    if !metadata.is_file() {
        return Look::Missing;
    }
    if metadata.len() == 0 {
        return Look::Empty;
    }
    let Some(options) = options else { return Look::Present };
    let kind = Kind::of(path);
    if kind != Kind::Image {
        return match reader.decode(path, file.frame, options) {
            Ok(image) => {
                Look::Decoded(Box::new(Seen::of(header_of_frame(kind, &image), image, options)))
            }
            Err(error) => Look::Unreadable(format!("{error:#}")),
        };
    }
    let bytes = match image_io::read_file(path) {
        Ok(bytes) => bytes,
        Err(error) => return Look::Unreadable(format!("{error:#}")),
    };
    if format_name(&bytes).is_none() {
        return Look::NotAnImage(other_kind(&bytes).unwrap_or_else(|| beginning(&bytes)));
    }
    let seen = read_header(&bytes).and_then(|header| {
        let image = decode_bytes(&bytes, options)?;
        drop(bytes);
        Ok(Seen::of(header, image, options))
    });
    match seen {
        Ok(seen) => Look::Decoded(Box::new(seen)),
        Err(error) => Look::Unreadable(format!("{error:#}")),
    }
}

/// The header of a frame, as far as it was decoded.
fn header_of_frame(kind: Kind, image: &Image) -> Header {
    Header {
        format: if kind == Kind::Dicom { "DICOM" } else { "clip" },
        height: image.height,
        width: image.width,
        channels: image.channels as u8,
        bits_per_channel: 8,
        orientation: ExifTurn::Upright,
        pages: 1,
    }
}

impl Seen {
    fn of(header: Header, image: Image, options: DecodeOptions) -> Self {
        let (transposed, channels) = (image.transposed, image.channels);
        let image = image.into_grey_if_equal();
        Self {
            header,
            height: image.height,
            width: image.width,
            transposed,
            follows_exif: options.exif,
            is_grey: channels == 3 && image.channels == 1,
            stored: image.stored,
            pixels: PixelSums::of(&image),
            print: Print::of(&image),
        }
    }

    /// Whether all pixels are equal.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.pixels.lowest == self.pixels.highest
    }

    /// Whether there are two values, as in a mask.
    #[must_use]
    pub fn is_two_tone(&self) -> bool {
        self.pixels.levels == 2
    }

    /// Whether EXIF specifies any rotation or mirroring.
    #[must_use]
    pub fn has_orientation(&self) -> bool {
        self.header.orientation != ExifTurn::Upright
    }
}

impl PixelSums {
    fn of(image: &Image) -> Self {
        let mut sums = Self { lowest: [u8::MAX; 3], ..Self::default() };
        // Histograms: the sums cost nothing more. Four of them for grey images, since a processor
        // waits for a counter that it has just incremented, and backgrounds are black throughout.
        let mut tables = [[0u32; 256]; 4];
        let lanes = if image.channels == 3 { 3 } else { 4 };
        let mut pixels = image.pixels.chunks_exact(lanes);
        for values in &mut pixels {
            for (table, &value) in tables.iter_mut().zip(values) {
                table[usize::from(value)] += 1;
            }
        }
        for (table, &value) in tables.iter_mut().zip(pixels.remainder()) {
            table[usize::from(value)] += 1;
        }
        let mut counts = [[0u64; 256]; 3];
        if image.channels == 3 {
            counts = std::array::from_fn(|channel| tables[channel].map(u64::from));
        } else {
            for (value, count) in counts[0].iter_mut().enumerate() {
                *count = tables.iter().map(|table| u64::from(table[value])).sum();
            }
            (counts[1], counts[2]) = (counts[0], counts[0]);
        }
        sums.count = u64::from(image.height) * u64::from(image.width);
        for (channel, counts) in counts.iter().enumerate() {
            let levels = counts.iter().filter(|&&count| count > 0).count() as u16;
            sums.levels = sums.levels.max(levels);
            for (value, &count) in (0u64..).zip(counts) {
                sums.sum[channel] += value * count;
                sums.squares[channel] += value * value * count;
                if count > 0 {
                    sums.lowest[channel] = sums.lowest[channel].min(value as u8);
                    sums.highest[channel] = sums.highest[channel].max(value as u8);
                }
            }
        }
        sums
    }

    /// Adds the pixels of another image.
    pub fn add(&mut self, other: &Self) {
        if self.count == 0 {
            self.lowest = [u8::MAX; 3];
        }
        self.count += other.count;
        self.levels = self.levels.max(other.levels);
        for channel in 0..3 {
            self.sum[channel] += other.sum[channel];
            self.squares[channel] += other.squares[channel];
            self.lowest[channel] = self.lowest[channel].min(other.lowest[channel]);
            self.highest[channel] = self.highest[channel].max(other.highest[channel]);
        }
    }

    /// Mean and standard deviation of each channel, grey levels from 0 to 255.
    #[must_use]
    pub fn mean_and_sd(&self) -> ([f64; 3], [f64; 3]) {
        let n = self.count.max(1) as f64;
        let mean = self.sum.map(|sum| sum as f64 / n);
        let sd = |c: usize| (self.squares[c] as f64 / n - mean[c] * mean[c]).max(0.0).sqrt();
        (mean, std::array::from_fn(sd))
    }
}

/// The first bytes in readable form.
fn beginning(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(16)];
    let is_text = bytes.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    match std::str::from_utf8(bytes) {
        Ok(text) if is_text => format!("a file that begins with {text:?}"),
        _ => {
            let hex: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("a file that begins with the bytes {}", hex.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sums_of_two_pixels_by_hand() {
        let pixels = vec![1, 2, 3, 5, 2, 9];
        let image = Image {
            height: 1,
            width: 2,
            channels: 3,
            pixels,
            transposed: false,
            stored: Stored::default(),
        };
        let mut sums = PixelSums::of(&image);
        assert_eq!(
            (sums.count, sums.sum, sums.lowest, sums.highest),
            (2, [6, 4, 12], [1, 2, 3], [5, 2, 9])
        );
        assert_eq!(sums.mean_and_sd(), ([3.0, 2.0, 6.0], [2.0, 0.0, 3.0]));
        assert_eq!(sums.levels, 2);
        let grey = Image {
            height: 1,
            width: 1,
            channels: 1,
            pixels: vec![0],
            transposed: false,
            stored: Stored::default(),
        };
        sums.add(&PixelSums::of(&grey));
        assert_eq!((sums.count, sums.squares, sums.lowest), (3, [26, 8, 90], [0; 3]));
    }

    #[test]
    fn files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let options = Some(DecodeOptions { exif: false, max_pixels: 100 });
        let look = |path: &Path, options| {
            look_at(&ImageFile::new(path, None), &Reader::default(), options)
        };
        let written = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            look(&path, options)
        };
        assert!(matches!(look(&dir.path().join("none.png"), options), Look::Missing));
        assert!(matches!(look(dir.path(), options), Look::Missing));
        assert!(matches!(written("empty.png", b""), Look::Empty));
        let Look::NotAnImage(what) = written("text.png", b"hello\n") else { panic!("no image") };
        assert_eq!(what, "a file that begins with \"hello\\n\"");
        let Look::NotAnImage(what) = written("page.png", b"<html>\n") else { panic!("no image") };
        assert!(what.starts_with("a web page (HTML)"), "{what}");
        assert!(matches!(written("cut.png", b"\x89PNG\r\n\x1a\nxx"), Look::Unreadable(_)));
        let path = dir.path().join("large.png");
        image::GrayImage::new(20, 20).save(&path).unwrap();
        assert!(matches!(look(&path, None), Look::Present));
        let Look::Unreadable(why) = look(&path, options) else { panic!("too large") };
        assert!(why.contains("20x20"), "{why}");
    }
}
