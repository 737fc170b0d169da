//! How well a second reading agrees with the first.
//!
//! Objects of both are paired one to one so that the sum of their IoUs is highest, whatever their categories; a pair
//! has at least one pixel in common. Objects without a partner count 0 in the means of IoU and Dice.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use hotcoco::primitives::assign::lsap;
use serde::Serialize;
use sonotune_base::{Error, Rle};
use sonotune_metrics::overlap;

use crate::{
    document::{Document, ImageItem, Status},
    images::{Images, Index},
    object::Object,
    store::{Finished, Stamp, Store, places},
};

/// IoU from which on two objects count as the same in F1.
const SAME_FROM: f64 = 0.5;

/// The first reading.
pub(crate) struct First {
    path: PathBuf,
    images: Arc<Images>,
    stamp: Stamp,
    document: Document,
    places: Vec<Option<usize>>,
}

/// Agreement of one image, or of all objects together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Agreed {
    /// Mean over pairs and lone objects, which count 0; `null` if neither reading has an object.
    iou_mean: Option<f64>,
    dice_mean: Option<f64>,
    /// Mean over pairs alone.
    iou_matched: Option<f64>,
    /// Two pairs at IoU 0.5 or more over the objects of both.
    f1_50: Option<f64>,
    matched: usize,
    only_first: usize,
    only_second: usize,
    /// Pairs whose category has the same name.
    same_category: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    id: u64,
    /// Whether the second reading changed after it was shown the first; it does not count in the overall figures.
    revised: bool,
    #[serde(flatten)]
    agreed: Agreed,
}

/// All images that both have read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Agreement {
    images: Vec<Row>,
    overall: Agreed,
    /// Images in the overall figures.
    num_images: usize,
    /// Those among them where neither saw an object.
    both_empty: usize,
}

/// Sums that figures are made of.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    iou: f64,
    dice: f64,
    same: usize,
    matched: usize,
    only_first: usize,
    only_second: usize,
    same_category: usize,
}

/// An object with what is compared.
struct Compared {
    mask: Rle,
    category: String,
}

impl First {
    /// Opens the first reading.
    ///
    /// # Errors
    /// Kind data if it is no COCO file of these images.
    pub(crate) fn open(path: &Path, images: &Arc<Images>) -> Result<Self> {
        let (document, places, stamp) = read(path, images)?;
        Ok(Self { path: path.to_owned(), images: Arc::clone(images), stamp, document, places })
    }

    /// Names of its categories.
    pub(crate) fn categories(&self) -> Vec<String> {
        self.document.categories.iter().map(|category| category.name.clone()).collect()
    }

    /// What the first reader drew in an image, in the categories of the second reading's file, matched by name.
    ///
    /// # Errors
    /// Kind data if the file is unreadable now, or its objects do not fit the image.
    pub(crate) fn objects(&mut self, store: &Store, index: Index) -> Result<Vec<Object>> {
        self.refresh()?;
        let Some(item) = self.item(index) else { return Ok(Vec::new()) };
        let categories = store.categories();
        let mut objects = Vec::new();
        for object in &item.objects {
            let mut object = Object::of(object, item.size)?;
            let name = self.category(object.category_id);
            let ours = categories.iter().find(|category| category.name == name);
            object.category_id = ours.map_or(object.category_id, |category| category.id);
            objects.push(object);
        }
        Ok(objects)
    }

    /// Compares all images that both readers are done with; `second` gives the second reading, if it is done.
    ///
    /// # Errors
    /// Kind data if the file is unreadable now, or objects do not fit their image.
    pub(crate) fn agreement(
        &mut self,
        second: impl Fn(Index) -> Result<Option<Finished>>,
    ) -> Result<Agreement> {
        self.refresh()?;
        let (mut images, mut overall, mut both_empty, mut num_images) =
            (Vec::new(), Sums::default(), 0, 0);
        for index in 0..self.images.len() {
            let Some(item) = self.item(index) else { continue };
            let in_image = || Error::data(format!("image {}", self.images.name(index)));
            let Some(finished) = second(index).with_context(in_image)? else { continue };
            let revised = finished.is_revised;
            let seconds = finished.compared().with_context(in_image)?;
            let firsts = self.compared(item).with_context(in_image)?;
            let sums = compare(&firsts, &seconds)?;
            if !revised {
                num_images += 1;
                both_empty += usize::from(firsts.is_empty() && seconds.is_empty());
                overall.add(&sums);
            }
            images.push(Row { id: index as u64 + 1, revised, agreed: sums.agreed() });
        }
        Ok(Agreement { images, overall: overall.agreed(), num_images, both_empty })
    }

    /// An image that the first reader is done with.
    fn item(&self, index: Index) -> Option<&ImageItem> {
        let item = &self.document.images[self.places[index]?];
        // A file of another tool does not say; what it lists counts.
        (item.is_listed && item.status() != Status::Draft).then_some(item)
    }

    fn compared(&self, item: &ImageItem) -> Result<Vec<Compared>> {
        let compared = |object| {
            let object = Object::of(object, item.size)?;
            Ok(Compared {
                mask: object.raster(item.size)?,
                category: self.category(object.category_id).to_owned(),
            })
        };
        item.objects.iter().map(compared).collect()
    }

    fn category(&self, id: u64) -> &str {
        let found = self.document.categories.iter().find(|category| category.id == id);
        found.map_or("", |category| &category.name)
    }

    /// Reads the file again if it has changed: the first reader may still be at work.
    fn refresh(&mut self) -> Result<()> {
        if self.stamp.is_current(&self.path) {
            return Ok(());
        }
        (self.document, self.places, self.stamp) = read(&self.path, &self.images)?;
        Ok(())
    }
}

fn read(path: &Path, images: &Images) -> Result<(Document, Vec<Option<usize>>, Stamp)> {
    let absent = || Error::data(format!("{}: no such file (--second-reading-of)", path.display()));
    let (bytes, stamp) = Stamp::read(path)?.ok_or_else(absent)?;
    let document = Document::from_slice(&bytes, path)?;
    let (places, _) = places(&document, images, path)?;
    Ok((document, places, stamp))
}

impl Finished {
    fn compared(&self) -> Result<Vec<Compared>> {
        let compared = |object: &Object| {
            let category =
                self.categories.iter().find(|category| category.id == object.category_id);
            let category = category.map_or_else(String::new, |category| category.name.clone());
            Ok(Compared { mask: object.raster(self.size)?, category })
        };
        self.objects.iter().map(compared).collect()
    }
}

fn compare(firsts: &[Compared], seconds: &[Compared]) -> Result<Sums> {
    let iou = |a: &Compared, b: &Compared| Ok(overlap::iou(&a.mask, &b.mask)?.unwrap_or(0.0));
    let pairs = firsts.iter().flat_map(|a| seconds.iter().map(move |b| (a, b)));
    let ious = pairs.map(|(a, b)| iou(a, b)).collect::<Result<Vec<f64>>>()?;
    let mut sums = Sums::default();
    let (rows, columns) = match ious.is_empty() {
        true => Default::default(),
        false => lsap(&ious, firsts.len(), seconds.len(), true),
    };
    for (a, b) in rows.into_iter().zip(columns) {
        let iou = ious[a * seconds.len() + b];
        if iou <= 0.0 {
            continue;
        }
        sums.matched += 1;
        sums.iou += iou;
        sums.dice += 2.0 * iou / (1.0 + iou);
        sums.same += usize::from(iou >= SAME_FROM);
        sums.same_category += usize::from(firsts[a].category == seconds[b].category);
    }
    sums.only_first = firsts.len() - sums.matched;
    sums.only_second = seconds.len() - sums.matched;
    Ok(sums)
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.iou += other.iou;
        self.dice += other.dice;
        self.same += other.same;
        self.matched += other.matched;
        self.only_first += other.only_first;
        self.only_second += other.only_second;
        self.same_category += other.same_category;
    }

    fn agreed(&self) -> Agreed {
        let per = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
        let all = self.matched + self.only_first + self.only_second;
        Agreed {
            iou_mean: per(self.iou, all),
            dice_mean: per(self.dice, all),
            iou_matched: per(self.iou, self.matched),
            f1_50: per(2.0 * self.same as f64, all + self.matched),
            matched: self.matched,
            only_first: self.only_first,
            only_second: self.only_second,
            same_category: self.same_category,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of 12 pixels with some set.
    fn object(pixels: std::ops::Range<usize>, category: &str) -> Compared {
        let row: Vec<u8> = (0..12).map(|x| u8::from(pixels.contains(&x))).collect();
        Compared { mask: Rle::from_mask(&row, (1, 12)).unwrap(), category: category.to_owned() }
    }

    #[test]
    fn pairs_and_lone_objects_by_hand() {
        let firsts = [object(0..4, "cyst"), object(6..8, "cyst")];
        let seconds = [object(10..12, "cyst"), object(1..4, "tumour")];
        let agreed = compare(&firsts, &seconds).unwrap().agreed();
        assert_eq!(
            (agreed.matched, agreed.only_first, agreed.only_second, agreed.same_category),
            (1, 1, 1, 0)
        );
        assert_eq!((agreed.iou_matched, agreed.iou_mean), (Some(0.75), Some(0.25)));
        // Dice 6/7 over three; one pair of two objects of each.
        assert!((agreed.dice_mean.unwrap() - 2.0 / 7.0).abs() < 1e-12);
        assert_eq!(agreed.f1_50, Some(0.5));
    }

    #[test]
    fn no_objects_agree_without_a_figure_and_lone_ones_count_0() {
        assert_eq!(compare(&[], &[]).unwrap().agreed(), Agreed::default());
        let agreed = compare(&[], &[object(0..3, "cyst")]).unwrap().agreed();
        assert_eq!((agreed.iou_mean, agreed.f1_50, agreed.only_second), (Some(0.0), Some(0.0), 1));
    }

    #[test]
    fn pairs_have_the_highest_sum_even_if_the_best_pair_is_not_among_them() {
        let (firsts, seconds) =
            ([object(3..8, ""), object(6..11, "")], [object(4..9, ""), object(0..6, "")]);
        let sums = compare(&firsts, &seconds).unwrap();
        // The first of each overlap by 4 of 6 pixels, which would leave the others without a partner.
        assert_eq!((sums.matched, sums.only_first, sums.only_second), (2, 0, 0));
        assert!((sums.iou - (3.0 / 8.0 + 3.0 / 7.0)).abs() < 1e-12, "{}", sums.iou);
        let fewer = compare(&firsts[..1], &seconds).unwrap();
        assert_eq!((fewer.matched, fewer.only_first, fewer.only_second), (1, 0, 1));
    }
}
