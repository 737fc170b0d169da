//! The annotation of an image that is cut to a part of it.

use anyhow::{Context, Result};
use sonotune_base::{Crop, Error, Segmentation, Size};

use super::{ImagePrompts, Object, ObjectPrompt, PointPrompt, Record};

impl Record {
    /// The record of the part: boxes, masks and prompts are in its pixels. Objects keep their order; one that is
    /// outside has an empty mask and a box without area.
    ///
    /// # Errors
    /// If a mask is malformed or of another size than the image; if a prompt has no place in the part. Names the
    /// object or the prompt.
    pub fn cropped(&self, crop: Crop) -> Result<Self> {
        let object = |(index, object): (usize, &Object)| {
            object.cropped(crop).with_context(|| format!("mask of object {index}"))
        };
        Ok(Self {
            size: Some(crop.size),
            objects: self.objects.iter().enumerate().map(object).collect::<Result<_>>()?,
            prompts: self.prompts.as_ref().map(|prompts| prompts.cropped(crop)).transpose()?,
            ..self.clone()
        })
    }
}

impl Object {
    /// What is left of the object in the part. Its area stays as annotated unless something is cut off.
    ///
    /// # Errors
    /// If its mask is malformed or of another size than the image.
    pub fn cropped(&self, crop: Crop) -> Result<Self> {
        let [x, y, width, height] = self.bbox;
        let [left, top, right, bottom] = crop.edges();
        let along = |v: f64, start: f64, end: f64| v.clamp(start, end) - start;
        let (x0, x1) = (along(x, left, right), along(x + width, left, right));
        let (y0, y1) = (along(y, top, bottom), along(y + height, top, bottom));
        let (mask, area) = match &self.segmentation {
            Segmentation::None => {
                let within = x >= left && y >= top && x + width <= right && y + height <= bottom;
                let area = if within { self.area } else { (x1 - x0) * (y1 - y0) };
                (Segmentation::None, area)
            }
            other => {
                let whole = other.rasterize(crop.full, self.bbox)?;
                let part = whole.cropped(crop)?;
                let (area, all) = (part.area(), whole.area());
                (Segmentation::Runs(part), if area == all { self.area } else { area as f64 })
            }
        };
        Ok(Self { bbox: [x0, y0, x1 - x0, y1 - y0], area, segmentation: mask, ..self.clone() })
    }
}

impl ImagePrompts {
    /// The prompts in the pixels of the part.
    ///
    /// # Errors
    /// If one of them has no place in it; names the prompt.
    pub fn cropped(&self, crop: Crop) -> Result<Self> {
        let Self::Objects(prompts) = self else { return Ok(Self::Everything) };
        let cut = |(index, prompt): (usize, &ObjectPrompt)| {
            prompt.cropped(crop).with_context(|| format!("prompt {}", index + 1))
        };
        Ok(Self::Objects(prompts.iter().enumerate().map(cut).collect::<Result<_>>()?))
    }
}

impl ObjectPrompt {
    /// The prompt in the pixels of the part. A box may reach beyond it, and is clipped like one that reaches
    /// beyond its image.
    ///
    /// # Errors
    /// Kind data: as of [`check`](Self::check) for the whole image; a point outside the part; a box or a mask
    /// without a pixel in it.
    pub fn cropped(&self, crop: Crop) -> Result<Self> {
        let full: Size = (crop.full.0.into(), crop.full.1.into());
        self.check(full)?;
        let [left, top, right, bottom] = crop.edges();
        let point = |p: &PointPrompt| {
            let (x, y) = (p.x - left, p.y - top);
            // Half a pixel around the centres of the first and the last.
            if x < -0.5 || y < -0.5 || p.x >= right || p.y >= bottom {
                return self.outside(&format!("point ({}, {})", p.x, p.y), crop);
            }
            Ok(PointPrompt { x, y, ..*p })
        };
        let points = self.points.iter().map(point).collect::<Result<_>>()?;
        let bbox = match self.bbox {
            Some([x0, y0, x1, y1]) if x1 <= left || y1 <= top || x0 >= right || y0 >= bottom => {
                return self.outside(&format!("box [{x0}, {y0}, {x1}, {y1}]"), crop);
            }
            other => other.map(|[x0, y0, x1, y1]| [x0 - left, y0 - top, x1 - left, y1 - top]),
        };
        let mask = match self.rasterized_mask(full)?.map(|mask| mask.cropped(crop)).transpose()? {
            Some(mask) if mask.area() == 0 => return self.outside("the mask", crop),
            other => other.map(Segmentation::Runs),
        };
        Ok(Self { points, bbox, mask, ..self.clone() })
    }

    fn outside<T>(&self, what: &str, crop: Crop) -> Result<T> {
        let name = self.name.as_deref().map_or_else(String::new, |name| format!("\"{name}\": "));
        let [x0, y0, x1, y1] = crop.edges();
        Err(Error::data(format!(
            "{name}{what} lies outside the field of view, which is [{x0}, {y0}, {x1}, {y1}] (x0, y0, x1, y1) in \
             this image of {}x{} pixels (height x width); point into it, or set preprocess.crop = \"none\"",
            crop.full.0, crop.full.1
        ))
        .into())
    }
}

#[cfg(test)]
mod tests {
    use sonotune_base::Rle;

    use super::*;

    /// Columns 4..10 and rows 2..6 of 8×12.
    fn crop() -> Crop {
        Crop::new([4, 2, 6, 4], (8, 12)).unwrap()
    }

    fn object(bbox: [f64; 4], segmentation: Segmentation) -> Object {
        Object { category: 1, bbox, area: 99.0, is_crowd: true, segmentation }
    }

    fn rectangle([x, y, width, height]: [u32; 4]) -> Rle {
        let inside = |i: u32| {
            let (row, column) = (i / 12, i % 12);
            (x..x + width).contains(&column) && (y..y + height).contains(&row)
        };
        let pixels: Vec<u8> = (0..96).map(|i| u8::from(inside(i))).collect();
        Rle::from_mask(&pixels, (8, 12)).unwrap()
    }

    #[test]
    fn boxes_are_moved_and_clipped() {
        let cut = |bbox| object(bbox, Segmentation::None).cropped(crop()).unwrap();
        let inside = cut([5.0, 3.0, 2.0, 2.0]);
        assert_eq!((inside.bbox, inside.area), ([1.0, 1.0, 2.0, 2.0], 99.0));
        assert!(inside.is_box_only() && inside.is_crowd && inside.category == 1);
        let partly = cut([2.0, 0.0, 5.0, 4.0]);
        assert_eq!((partly.bbox, partly.area), ([0.0, 0.0, 3.0, 2.0], 6.0));
        let outside = cut([0.0, 0.0, 3.0, 2.0]);
        assert_eq!((outside.bbox, outside.area), ([0.0; 4], 0.0));
        let mask = outside.segmentation.rasterize(crop().size, outside.bbox).unwrap();
        assert_eq!(mask.area(), 0);
    }

    #[test]
    fn masks_are_cut_in_every_form() {
        let mask = rectangle([3, 3, 4, 4]);
        let part = rectangle([4, 3, 3, 3]).cropped(crop()).unwrap();
        let polygon = vec![3.0, 3.0, 7.0, 3.0, 7.0, 7.0, 3.0, 7.0];
        let compressed = mask.to_compressed().into();
        for segmentation in [
            Segmentation::Runs(mask.clone()),
            Segmentation::Compressed { height: 8, width: 12, counts: compressed },
            Segmentation::Polygons(vec![polygon]),
        ] {
            let cut = object([3.0, 3.0, 4.0, 4.0], segmentation).cropped(crop()).unwrap();
            assert_eq!(cut.segmentation, Segmentation::Runs(part.clone()));
            assert_eq!((cut.bbox, cut.area), ([0.0, 1.0, 3.0, 3.0], 9.0));
        }
        let kept = object([5.0, 3.0, 2.0, 2.0], Segmentation::Runs(rectangle([5, 3, 2, 2])));
        let kept = kept.cropped(crop()).unwrap();
        assert_eq!((kept.area, kept.segmentation.area().unwrap()), (99.0, Some(4.0)));
        let gone = object([0.0, 0.0, 2.0, 2.0], Segmentation::Runs(rectangle([0, 0, 2, 2])));
        let gone = gone.cropped(crop()).unwrap();
        assert_eq!((gone.bbox, gone.area), ([0.0; 4], 0.0));
        assert_eq!(gone.segmentation, Segmentation::Runs(Rle::new(4, 6, vec![24]).unwrap()));
    }

    #[test]
    fn a_record_is_cut_with_all_it_has() {
        let mut record = Record::new(7u64.into(), "a.png".into());
        record.size = Some((8, 12));
        record.spacing = Some([0.1, 0.2]);
        record.objects = vec![object([5.0, 3.0, 2.0, 2.0], Segmentation::None)];
        record.prompts = Some(ImagePrompts::Everything);
        let cut = record.cropped(crop()).unwrap();
        assert_eq!((cut.size, cut.spacing), (Some((4, 6)), Some([0.1, 0.2])));
        assert_eq!(cut.prompts, Some(ImagePrompts::Everything));
        assert_eq!(cut.objects[0].bbox, [1.0, 1.0, 2.0, 2.0]);
        let small = Rle::new(2, 2, vec![4]).unwrap();
        record.objects.push(object([0.0; 4], Segmentation::Runs(small)));
        let error = format!("{:#}", record.cropped(crop()).unwrap_err());
        assert!(error.contains("object 1") && error.contains("2×2"), "{error}");
    }

    #[test]
    fn prompts_move_and_those_outside_are_refused_by_name() {
        let point = |x, y| ObjectPrompt {
            points: vec![PointPrompt { x, y, positive: false }],
            ..ObjectPrompt::default()
        };
        let with_box = |bbox| ObjectPrompt { bbox: Some(bbox), ..ObjectPrompt::default() };
        let with_mask = |rect| ObjectPrompt {
            mask: Some(Segmentation::Runs(rectangle(rect))),
            ..ObjectPrompt::default()
        };
        let moved = point(4.0, 5.5).cropped(crop()).unwrap();
        assert_eq!(moved.points, [PointPrompt { x: 0.0, y: 3.5, positive: false }]);
        let mut beyond = with_box([0.0, 3.0, 6.0, 5.0]).cropped(crop()).unwrap();
        assert_eq!(beyond.bbox, Some([-4.0, 1.0, 2.0, 3.0]));
        assert!(beyond.clip_box((4, 6)).is_some());
        assert_eq!(beyond.bbox, Some([0.0, 1.0, 2.0, 3.0]));
        let mask = with_mask([3, 3, 4, 4]).cropped(crop()).unwrap().mask;
        let part = rectangle([4, 3, 3, 3]).cropped(crop()).unwrap();
        assert_eq!(mask, Some(Segmentation::Runs(part)));
        for (prompt, what) in [
            (point(3.0, 4.0), "point (3, 4) lies outside the field of view"),
            (point(5.0, 6.0), "point (5, 6) lies outside the field of view"),
            (point(50.0, 6.0), "point (50, 6) lies outside the image"),
            (with_box([0.0, 0.0, 4.0, 8.0]), "box [0, 0, 4, 8] lies outside"),
            (with_mask([0, 0, 2, 2]), "the mask lies outside the field of view"),
        ] {
            let named = ObjectPrompt { name: Some("cyst".to_owned()), ..prompt };
            let prompts = ImagePrompts::Objects(vec![point(5.0, 3.0), named]);
            let error = prompts.cropped(crop()).unwrap_err();
            assert_eq!(sonotune_base::error::kind(&error), Some(sonotune_base::ErrorKind::Data));
            let error = format!("{error:#}");
            assert!(error.starts_with("prompt 2: \"cyst\": ") && error.contains(what), "{error}");
            if what.contains("view") {
                assert!(error.contains("[4, 2, 10, 6]") && error.contains("8x12"), "{error}");
                assert!(error.contains("preprocess.crop = \"none\""), "{error}");
            }
        }
    }
}
