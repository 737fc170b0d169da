//! What of a file its decoded image does not show.

/// What of a file its decoded image does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Number of images in the file, of which the first was decoded: pages of a TIFF, frames of an animation.
    pub pages: u32,
    /// Largest of its values if they have 16 bits; `None` for 8 bits that were only widened (each value
    /// written twice, or shifted), whose images look as they should.
    pub peak: Option<u16>,
}

impl Default for Stored {
    fn default() -> Self {
        Self { pages: 1, peak: None }
    }
}

/// The brightest values of several 16-bit images, which tell whether their device has fewer bits: 14 bits of
/// 16 are at most a quarter as bright as they should be.
///
/// One image may be dark in truth, so one image tells nothing, unless its brightest pixel is exactly the
/// largest number of 13, 14 or 15 bits: that is a device's limit, which a darker one meets by chance once in
/// thousands of images. Among [`Peaks::ENOUGH`] images at least one shows a reflector or a caliper near white.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peaks {
    count: usize,
    highest: u16,
}

impl Peaks {
    /// Number of images from which on it counts that none is bright.
    pub const ENOUGH: usize = 10;

    /// Adds an image.
    pub fn add(&mut self, image: Stored) {
        if let Some(peak) = image.peak {
            self.count += 1;
            self.highest = self.highest.max(peak);
        }
    }

    /// The bits, 13 to 15, that all of the images seem to be limited to; `None` if they use 16 or if little is
    /// known.
    #[must_use]
    pub fn bits(self) -> Option<u32> {
        // Less than 13 are refused when decoded.
        let bits = (13..=15).find(|bits| self.highest < 1 << bits)?;
        let is_limit = u32::from(self.highest) == (1 << bits) - 1;
        (self.count > 0 && (is_limit || self.count >= Self::ENOUGH)).then_some(bits)
    }

    /// That the images seem to be limited to this many bits, as a sentence without its end.
    #[must_use]
    pub fn words(self, bits: u32) -> String {
        let images = match self.count {
            1 => "16-bit image".to_owned(),
            count => format!("{count} 16-bit images"),
        };
        format!(
            "no value of the {images} exceeds {}, as from a device of {bits} bits: in 8 bits no pixel is \
             brighter than {} of 255",
            self.highest,
            self.highest >> 8
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(peaks: &[u16]) -> Option<u32> {
        let mut all = Peaks::default();
        peaks.iter().for_each(|&peak| all.add(Stored { pages: 1, peak: Some(peak) }));
        all.bits()
    }

    #[test]
    fn devices_of_fewer_bits_are_told_from_dark_images() {
        // At the limit of 13, 14 and 15 bits.
        assert_eq!([8191, 16383, 32767].map(|peak| bits(&[peak])), [13, 14, 15].map(Some));
        assert_eq!(bits(&[9000, 16383, 200]), Some(14));
        // Few dark images, and dark ones beside a bright one.
        assert_eq!(bits(&[]), None);
        assert_eq!(bits(&[9000]), None);
        assert_eq!(bits(&[9000; 9]), None);
        assert_eq!(bits(&[&[9000; 20][..], &[40000]].concat()), None);
        assert_eq!(bits(&[16383, 65535]), None);
        // Many images, none of them bright.
        assert_eq!(bits(&[9000; 10]), Some(14));
        let mut eight = Peaks::default();
        (0..20).for_each(|_| eight.add(Stored::default()));
        assert_eq!(eight.bits(), None);
    }
}
