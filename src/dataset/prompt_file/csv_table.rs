//! A table with a point or a box in each row; rows with the same image and name make up an object.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use csv::StringRecord;
use sonotune_base::words::did_you_mean;

use super::{PromptedImage, PromptedObject};
use crate::{ObjectPrompt, PointPrompt};
use sonotune_base::{names::quoted, unicode::to_utf8};

const COLUMNS: [&str; 11] =
    ["image", "frame", "name", "category", "x", "y", "label", "x0", "y0", "x1", "y1"];

pub(super) fn images(bytes: &[u8]) -> Result<Vec<PromptedImage>> {
    let bytes = to_utf8(bytes).map_err(|what| anyhow!(what))?;
    let header = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    // A spreadsheet writes what its language uses.
    let delimiter = [b',', b';', b'\t'].into_iter().find(|byte| header.contains(byte));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(delimiter.unwrap_or(b','))
        .from_reader(&*bytes);
    let columns = Columns::of(reader.headers()?)?;
    let (mut images, mut index): (Vec<PromptedImage>, Places) = Default::default();
    for row in reader.records() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let row = Row { columns: &columns, cells: &row };
        row.add(&mut images, &mut index, line).with_context(|| format!("line {line}"))?;
    }
    Ok(images)
}

/// Position in the list of each image: file and frame.
type Places = HashMap<(String, Option<u32>), usize>;

/// Position of each of [`COLUMNS`].
struct Columns([Option<usize>; COLUMNS.len()]);

impl Columns {
    fn of(header: &StringRecord) -> Result<Self> {
        let mut places = [None; COLUMNS.len()];
        for (i, name) in header.iter().enumerate() {
            let column = COLUMNS.iter().position(|column| *column == name).ok_or_else(|| {
                let known = quoted(&COLUMNS);
                anyhow!(
                    "line 1: unknown column \"{name}\"{}; known columns are {known}",
                    did_you_mean(name, COLUMNS)
                )
            })?;
            ensure!(places[column].is_none(), "line 1: column \"{name}\" appears twice");
            places[column] = Some(i);
        }
        let columns = Self(places);
        ensure!(columns.has(&["image"]), "line 1: has no column \"image\"");
        ensure!(
            columns.has(&["x", "y"]) || columns.has(&["x0", "y0", "x1", "y1"]),
            "line 1: has neither the columns x, y of points nor x0, y0, x1, y1 of boxes"
        );
        Ok(columns)
    }

    fn find(&self, name: &str) -> Option<usize> {
        COLUMNS.iter().position(|column| *column == name).and_then(|i| self.0[i])
    }

    fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.find(name).is_some())
    }
}

struct Row<'a> {
    columns: &'a Columns,
    cells: &'a StringRecord,
}

impl Row<'_> {
    /// The content of a cell, unless it is empty or its column absent.
    fn text(&self, column: &str) -> Option<&str> {
        self.cells.get(self.columns.find(column)?).filter(|text| !text.is_empty())
    }

    /// Several numbers that go together.
    fn numbers<const N: usize>(&self, names: [&str; N]) -> Result<Option<[f64; N]>> {
        let filled = names.iter().filter(|name| self.text(name).is_some()).count();
        if filled == 0 {
            return Ok(None);
        }
        ensure!(filled == N, "{} go together: fill all of them or none", names.join(", "));
        let mut numbers = [0.0; N];
        for (number, name) in numbers.iter_mut().zip(names) {
            let text = self.text(name).unwrap_or_default();
            *number = text
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite())
                .ok_or_else(|| anyhow!("{name} = \"{text}\": expected a number"))?;
        }
        Ok(Some(numbers))
    }

    fn frame(&self) -> Result<Option<u32>> {
        let number = |text: &str| {
            let frame = text.parse().ok();
            frame.with_context(|| format!("frame = \"{text}\": expected a number from 0"))
        };
        self.text("frame").map(number).transpose()
    }

    fn point(&self) -> Result<Option<PointPrompt>> {
        let positive = match self.text("label") {
            None | Some("1") => true,
            Some("0") => false,
            Some(text) => {
                bail!("label = \"{text}\": expected 1 (on the object) or 0 (not on it)")
            }
        };
        let point = self.numbers(["x", "y"])?;
        ensure!(point.is_some() || self.text("label").is_none(), "a label without a point x, y");
        Ok(point.map(|[x, y]| PointPrompt { x, y, positive }))
    }

    fn add(&self, images: &mut Vec<PromptedImage>, index: &mut Places, line: u64) -> Result<()> {
        let file_name = self.text("image").context("the column image is empty")?;
        let frame = self.frame()?;
        let (point, bbox) = (self.point()?, self.numbers(["x0", "y0", "x1", "y1"])?);
        ensure!(
            point.is_some() || bbox.is_some(),
            "has neither a point (x, y) nor a box (x0, y0, x1, y1)"
        );
        let place = format!("line {line}");
        let at = *index.entry((file_name.to_owned(), frame)).or_insert(images.len());
        if at == images.len() {
            let (file_name, place) = (file_name.to_owned(), place.clone());
            images.push(PromptedImage { file_name, frame, place, objects: Vec::new() });
        }
        let objects = &mut images[at].objects;
        let name = self.text("name");
        let known = name.and_then(|name| {
            objects.iter_mut().find(|object| object.prompt.name.as_deref() == Some(name))
        });
        let category = self.text("category").map(str::to_owned);
        let Some(object) = known else {
            let points = point.into_iter().collect();
            let name = name.map(str::to_owned);
            let prompt = ObjectPrompt { name, category: None, points, bbox, mask: None };
            objects.push(PromptedObject { prompt, category, place });
            return Ok(());
        };
        object.prompt.points.extend(point);
        if bbox.is_some() {
            ensure!(
                object.prompt.bbox.is_none(),
                "a second box for \"{}\", which has one at {}",
                name.unwrap_or_default(),
                object.place
            );
            object.prompt.bbox = bbox;
        }
        match (&object.category, category) {
            (Some(old), Some(new)) if *old != new => bail!(
                "category \"{new}\" for \"{}\", which {} calls \"{old}\"",
                name.unwrap_or_default(),
                object.place
            ),
            (None, Some(new)) => object.category = Some(new),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_name_make_up_an_object() {
        let images = images(
            b"image,name,category,x,y,label,x0,y0,x1,y1\n\
              a.png,left,cyst,1,2,1,,,,\n\
              b.png,,,,,,0,0,9,9\n\
              a.png,left,,3,4,0,,,,\n\
              a.png,left,,,,,1,2,3,4\n\
              a.png,,,5,6,,,,,\n\
              a.png,,,7,8,,,,,\n",
        )
        .unwrap();
        let [a, b] = &images[..] else { panic!() };
        assert_eq!((a.objects.len(), b.objects.len()), (3, 1));
        let left = &a.objects[0];
        let points: Vec<_> = left.prompt.points.iter().map(|p| (p.x, p.y, p.positive)).collect();
        assert_eq!(points, [(1.0, 2.0, true), (3.0, 4.0, false)]);
        assert_eq!(left.prompt.bbox, Some([1.0, 2.0, 3.0, 4.0]));
        assert_eq!(left.category.as_deref(), Some("cyst"));
        assert_eq!((a.objects[1].place.as_str(), b.place.as_str()), ("line 6", "line 3"));
        assert_eq!(b.objects[0].prompt.bbox, Some([0.0, 0.0, 9.0, 9.0]));
    }

    #[test]
    fn tables_of_spreadsheets_are_read() {
        let text = "image;x;y\na.png;1;2.5\n";
        let utf_16: Vec<u8> =
            format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [text.into(), text.replace(';', "\t").into_bytes(), utf_16] {
            let points = &images(&bytes).unwrap()[0].objects[0].prompt.points;
            assert_eq!((points[0].x, points[0].y), (1.0, 2.5));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, parts) in [
            ("image,x,y,lable\n", ["line 1", "did you mean \"label\""]),
            ("image,x,y,x\n", ["line 1", "twice"]),
            ("x,y\n", ["line 1", "no column \"image\""]),
            ("image,x\n", ["line 1", "neither the columns"]),
            ("image,x,y\na.png,1,\n", ["line 2", "x, y go together"]),
            ("image,x,y\na.png,1,one\n", ["line 2", "y = \"one\""]),
            ("image,x,y\na.png,1,nan\n", ["line 2", "y = \"nan\""]),
            ("image,x,y,label\na.png,1,1,2\n", ["line 2", "label = \"2\""]),
            ("image,x,y\na.png,1,1\n,1,1\n", ["line 3", "image is empty"]),
            ("image,x,y\na.png,,\n", ["line 2", "neither a point"]),
            ("image,x,y\na.png,1\n", ["line: 2", "3"]),
            ("image,name,x0,y0,x1,y1\na,n,1,2,3,4\na,n,1,2,3,4\n", ["line 3", "line 2"]),
            ("image,name,category,x,y\na,n,c,1,2\na,n,d,3,4\n", ["line 3", "\"d\""]),
        ] {
            let error = format!("{:#}", images(text.as_bytes()).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
