//! Pixel sizes from a table beside the images, as HC18 has one.

use std::collections::HashMap;

use crate::listing::Listing;

/// Tables that are opened at most.
const MAX_TABLES: usize = 10;

/// Millimetres a pixel by the name of the image's file.
#[derive(Debug, Default)]
pub(crate) struct Spacings {
    pub(crate) table: Option<String>,
    by_name: HashMap<String, f64>,
}

impl Spacings {
    /// The first CSV file with a column of file names and one of pixel sizes in millimetres.
    pub(crate) fn find(listing: &Listing) -> Self {
        let tables = listing.with_ending("csv").take(MAX_TABLES);
        tables.filter_map(|name| Self::read(listing, name)).next().unwrap_or_default()
    }

    fn read(listing: &Listing, name: &str) -> Option<Self> {
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_path(listing.path(name)).ok()?;
        let header = reader.headers().ok()?.clone();
        let column = |fits: &dyn Fn(&str) -> bool| {
            header.iter().position(|cell| fits(&cell.trim().to_lowercase()))
        };
        let file = column(&|cell| {
            ["filename", "file_name", "file", "image", "image_name"].contains(&cell)
        })?;
        let size = column(&|cell| {
            (cell.contains("pixel size") || cell.contains("pixel_size") || cell.contains("spacing"))
                && (cell.contains("mm") || cell.contains("spacing"))
        })?;
        let rows = reader.records().filter_map(|row| {
            let row = row.ok()?;
            let spacing: f64 = row.get(size)?.trim().parse().ok()?;
            let is_plausible = (0.001..10.0).contains(&spacing);
            is_plausible.then(|| (row.get(file).unwrap_or_default().trim().to_owned(), spacing))
        });
        let by_name: HashMap<String, f64> = rows.collect();
        (!by_name.is_empty()).then(|| Self { table: Some(name.to_owned()), by_name })
    }

    pub(crate) fn of(&self, path: &str) -> Option<[f64; 2]> {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.by_name.get(name).map(|&spacing| [spacing; 2])
    }
}
