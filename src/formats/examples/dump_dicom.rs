//! Writes what a DICOM file shows, for `scripts/compare_dicom.py`.
//!
//! Reads pairs of paths, one per line and separated by a tab: a DICOM file and the file to write. That
//! begins with a line of JSON (height, width, channels, frames and metadata) and continues with the bytes of
//! the frames; or it is one line of JSON with the error. A third column limits the number of frames.

use std::{
    io::{BufRead, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::json;
use sonotune_formats::dicom::Dicom;

fn main() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut columns = line.split('\t');
        let from = columns.next().context("a path")?;
        let to = columns.next().context("two paths separated by a tab")?;
        let most = columns.next().map_or(Ok(usize::MAX), str::parse)?;
        let mut out = std::io::BufWriter::new(std::fs::File::create(to)?);
        if let Err(error) = dump(Path::new(from), most, &mut out) {
            let mut out = std::fs::File::create(to)?;
            writeln!(out, "{}", json!({ "error": format!("{error:#}") }))?;
        }
    }
    Ok(())
}

fn dump(path: &Path, most: usize, out: &mut impl Write) -> Result<()> {
    let dicom = Dicom::open(path)?;
    let (height, width) = dicom.size();
    let info = dicom.info();
    let frames = dicom.num_frames().min(most);
    let first = dicom.frame(0)?;
    let regions: Vec<_> =
        info.regions.iter().map(|r| json!([r.rect, r.spatial_format, r.data_type])).collect();
    let head = json!({
        "height": height, "width": width, "channels": first.channels, "frames": frames,
        "num_frames": dicom.num_frames(), "patient": info.patient, "study": info.study,
        "series": info.series, "sop_instance": info.sop_instance, "modality": info.modality,
        "spacing": info.spacing, "regions": regions, "frame_time_ms": info.frame_time_ms,
    });
    writeln!(out, "{head}")?;
    out.write_all(&first.data)?;
    for index in 1..frames {
        out.write_all(&dicom.frame(index)?.data)?;
    }
    Ok(())
}
