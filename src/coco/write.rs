//! Writes COCO files: one record per line, ids from 1; the same records give the same bytes.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde::{Serialize, Serializer, ser::SerializeMap};
use sonotune_base::{fs::atomic_write_with, json::restored};
use sonotune_dataset::coco::PixelSpacing;

use super::{AnnotationRecord, CategoryRecord, CocoFile, Extra, ImageRecord};

impl CocoFile {
    /// Writes the file, replacing any existing one. Images and annotations are numbered from 1 in
    /// their order, whatever their ids.
    ///
    /// # Errors
    /// If it cannot be written, or an annotation does not belong to any image.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.write_selected(path, |_| true)
    }

    /// Writes the images whose index `keep` accepts, with their annotations and all categories.
    ///
    /// # Errors
    /// Same errors as [`write`](Self::write).
    pub fn write_selected(&self, path: &Path, keep: impl Fn(usize) -> bool) -> Result<()> {
        let chosen: Vec<bool> = (0..self.images.len()).map(keep).collect();
        let index = self.index_by_id();
        let owner = |a: &AnnotationRecord| -> Result<usize> {
            let found = index.get(&a.image_id).copied();
            found.with_context(|| {
                format!("annotation {} does not belong to any image ({})", a.id, a.image_id)
            })
        };
        let owners: Vec<usize> = self.annotations.iter().map(owner).collect::<Result<_>>()?;
        drop(index);
        atomic_write_with(path, |out| self.write_to(out, &chosen, &owners))
    }

    /// Index into `images` by id.
    #[must_use]
    pub fn index_by_id(&self) -> HashMap<u64, usize> {
        self.images.iter().enumerate().map(|(i, image)| (image.id, i)).collect()
    }

    fn write_to(&self, out: &mut impl Write, chosen: &[bool], owners: &[usize]) -> io::Result<()> {
        let mut numbers = vec![0; chosen.len()];
        let mut count = 0;
        for (number, &chosen) in numbers.iter_mut().zip(chosen) {
            count += u64::from(chosen);
            *number = count;
        }
        out.write_all(b"{\n\"info\":")?;
        write_json(out, &self.info)?;
        for (key, value) in &self.extra.0 {
            out.write_all(b",\n")?;
            write_json(out, key)?;
            out.write_all(b":")?;
            write_json(out, value)?;
        }
        let images = self.images.iter().zip(&numbers).zip(chosen);
        let images = images
            .filter(|(_, chosen)| **chosen)
            .map(|((image, &id), _)| NumberedImage { image, id });
        write_list(out, "images", images)?;
        let annotations = self.annotations.iter().zip(owners).filter(|(_, owner)| chosen[**owner]);
        let annotations = annotations.zip(1..).map(|((annotation, &owner), id)| {
            NumberedAnnotation { annotation, id, image_id: numbers[owner] }
        });
        write_list(out, "annotations", annotations)?;
        write_list(out, "categories", self.categories.iter())?;
        out.write_all(b"\n}\n")
    }
}

fn write_list<T: Serialize>(
    out: &mut impl Write,
    name: &str,
    entries: impl Iterator<Item = T>,
) -> io::Result<()> {
    write!(out, ",\n\"{name}\":[")?;
    for (i, entry) in entries.enumerate() {
        out.write_all(if i == 0 { b"\n" } else { b",\n" })?;
        write_json(out, &entry)?;
    }
    out.write_all(b"]")
}

/// Writes NaN in a value that was kept unread as the file had it.
fn write_json(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    out.write_all(restored(&serde_json::to_string(value)?).as_bytes())
}

struct NumberedImage<'a> {
    image: &'a ImageRecord,
    id: u64,
}

impl Serialize for NumberedImage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let image = self.image;
        let from = &image.provenance;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("file_name", &image.file_name)?;
        map.serialize_entry("height", &image.height)?;
        map.serialize_entry("width", &image.width)?;
        optional(&mut map, PixelSpacing::KEY, image.spacing.as_ref())?;
        optional(&mut map, "dataset", image.dataset.as_ref())?;
        optional(&mut map, "application", image.application.as_ref())?;
        let source = Some(&from.source_file).filter(|file| !file.is_empty());
        optional(&mut map, "source_file", source)?;
        optional(&mut map, "patient", from.patient.as_ref())?;
        optional(&mut map, "study", from.study.as_ref())?;
        optional(&mut map, "series", from.series.as_ref())?;
        optional(&mut map, "clip", from.clip.as_ref())?;
        optional(&mut map, "frame", from.frame.as_ref())?;
        optional(&mut map, "official_split", from.official_split.as_ref())?;
        rest(&mut map, &image.extra)?;
        map.end()
    }
}

struct NumberedAnnotation<'a> {
    annotation: &'a AnnotationRecord,
    id: u64,
    image_id: u64,
}

impl Serialize for NumberedAnnotation<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let annotation = self.annotation;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("image_id", &self.image_id)?;
        map.serialize_entry("category_id", &annotation.category_id)?;
        map.serialize_entry("bbox", &annotation.bbox.map(Number))?;
        map.serialize_entry("area", &Number(annotation.area))?;
        optional(&mut map, "segmentation", annotation.segmentation.as_ref())?;
        map.serialize_entry("iscrowd", &u8::from(annotation.iscrowd))?;
        rest(&mut map, &annotation.extra)?;
        map.end()
    }
}

impl Serialize for CategoryRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        optional(&mut map, "supercategory", self.supercategory.as_ref())?;
        rest(&mut map, &self.extra)?;
        map.end()
    }
}

fn optional<M: SerializeMap, T: Serialize>(
    map: &mut M,
    key: &str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

fn rest<M: SerializeMap>(map: &mut M, extra: &Extra) -> Result<(), M::Error> {
    extra.0.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))
}

/// A number without the `.0` that one tool adds and another does not.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // 2⁵³: every integer up to it is exact.
        if self.0.fract() == 0.0 && self.0.abs() <= 9_007_199_254_740_992.0 {
            return serializer.serialize_i64(self.0 as i64);
        }
        serializer.serialize_f64(self.0)
    }
}
