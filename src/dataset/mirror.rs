//! Objects and prompts of an image that is mirrored left to right.

use anyhow::Result;
use sonotune_base::{Segmentation, Size};

use super::{ImagePrompts, Object, ObjectPrompt, PointPrompt};

impl Object {
    /// The object in the mirror image; `size` is that of the image.
    ///
    /// # Errors
    /// If its mask is malformed or of another size.
    pub fn mirrored(&self, size: Size) -> Result<Self> {
        let [x, y, width, height] = self.bbox;
        Ok(Self {
            bbox: [size.1 as f64 - x - width, y, width, height],
            segmentation: self.segmentation.mirrored(sides(size)?)?,
            ..self.clone()
        })
    }
}

impl ObjectPrompt {
    /// The prompt for the mirror image; `size` is that of the image. The centre of a pixel stays the centre of
    /// a pixel: column `x` becomes `width - 1 - x`.
    ///
    /// # Errors
    /// If its mask is malformed or of another size.
    pub fn mirrored(&self, size: Size) -> Result<Self> {
        let width = size.1 as f64;
        // The right edge of the last column would come to lie beyond the left edge of the first.
        let point = |p: &PointPrompt| PointPrompt { x: (width - 1.0 - p.x).max(-0.5), ..*p };
        let mask = |mask: &Segmentation| mask.mirrored(sides(size)?);
        Ok(Self {
            points: self.points.iter().map(point).collect(),
            bbox: self.bbox.map(|[x0, y0, x1, y1]| [width - x1, y0, width - x0, y1]),
            mask: self.mask.as_ref().map(mask).transpose()?,
            ..self.clone()
        })
    }
}

impl ImagePrompts {
    /// The prompts for the mirror image; `size` is that of the image.
    ///
    /// # Errors
    /// If a mask is malformed or of another size.
    pub fn mirrored(&self, size: Size) -> Result<Self> {
        Ok(match self {
            Self::Objects(prompts) => {
                Self::Objects(prompts.iter().map(|p| p.mirrored(size)).collect::<Result<_>>()?)
            }
            Self::Everything => Self::Everything,
        })
    }
}

fn sides(size: Size) -> Result<(u32, u32)> {
    Ok((u32::try_from(size.0)?, u32::try_from(size.1)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonotune_base::Rle;

    const SIZE: Size = (4, 10);

    fn rectangle(from: u32, to: u32) -> Rle {
        Rle::new(4, 10, vec![4 * from, 4 * (to - from), 4 * (10 - to)]).unwrap()
    }

    #[test]
    fn a_prompt_is_mirrored_with_its_image() {
        let prompt = ObjectPrompt {
            name: Some("cyst".to_owned()),
            category: Some(1),
            points: vec![
                PointPrompt { x: 2.0, y: 3.0, positive: true },
                PointPrompt { x: 9.75, y: 0.0, positive: false },
            ],
            bbox: Some([1.0, 0.0, 4.0, 2.0]),
            mask: Some(Segmentation::Runs(rectangle(1, 4))),
        };
        prompt.check(SIZE).unwrap();
        let mirrored = prompt.mirrored(SIZE).unwrap();
        mirrored.check(SIZE).unwrap();
        let expected = ObjectPrompt {
            points: vec![
                PointPrompt { x: 7.0, y: 3.0, positive: true },
                PointPrompt { x: -0.5, y: 0.0, positive: false },
            ],
            bbox: Some([6.0, 0.0, 9.0, 2.0]),
            mask: Some(Segmentation::Runs(rectangle(6, 9))),
            ..prompt.clone()
        };
        assert_eq!(mirrored, expected);
        let wrong = prompt.mirrored((4, 11)).unwrap_err().to_string();
        assert!(wrong.contains("11"), "{wrong}");
    }

    #[test]
    fn an_object_is_mirrored_with_its_image() {
        let object = Object {
            category: 2,
            bbox: [1.0, 0.0, 3.0, 4.0],
            area: 12.0,
            is_crowd: true,
            segmentation: Segmentation::Runs(rectangle(1, 4)),
        };
        let mirrored = object.mirrored(SIZE).unwrap();
        assert_eq!(mirrored.bbox, [6.0, 0.0, 3.0, 4.0]);
        assert_eq!(mirrored.segmentation, Segmentation::Runs(rectangle(6, 9)));
        assert_eq!((mirrored.category, mirrored.area, mirrored.is_crowd), (2, 12.0, true));
        let without = Object { segmentation: Segmentation::None, ..object };
        assert!(without.mirrored(SIZE).unwrap().is_box_only());
    }
}
