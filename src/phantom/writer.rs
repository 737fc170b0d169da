//! Writes a dataset.
//!
//! ```text
//! OUT/phantom.json                        generator, its version, the config
//! OUT/images/000000.png                   8-bit grey
//! OUT/annotations/{train,val,test}.json   COCO; `file_name` is relative to OUT
//! OUT/labels/{train,val,test}.txt         one `path label` a line: the image relative to OUT and
//!                                         its class by name, with one space between
//! ```
//!
//! Images without a lesion, or with several classes, have no label and are not in the lists.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    config::PhantomConfig,
    output::{Annotation, File, GENERATOR, Image, Info, categories, file_name},
    render::{PhantomImage, render},
    splits,
};
use sonotune_base::{Error, fs::folder_of};
use sonotune_dataset::Split;

const MARKER: &str = "phantom.json";

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The dataset's folder.
    pub path: PathBuf,
    /// Images over all splits.
    pub images: usize,
    /// Patients over all splits.
    pub patients: usize,
    /// Lesions over all splits.
    pub lesions: usize,
    /// Per split, in the order train, val, test.
    pub splits: Vec<SplitSummary>,
}

/// One split of a [`Summary`].
#[derive(Debug, Clone, Serialize)]
pub struct SplitSummary {
    /// Which split.
    pub split: Split,
    /// Images with and without lesions.
    pub images: usize,
    /// Patients, who are in no other split.
    pub patients: usize,
    /// Images without a lesion.
    pub empty_images: usize,
    /// In the order of categories.
    pub classes: Vec<ClassSummary>,
}

/// One class within a split.
#[derive(Debug, Clone, Serialize)]
pub struct ClassSummary {
    /// The name, as in the categories.
    pub name: &'static str,
    /// Images with this label.
    pub images: usize,
    /// Lesions of this class.
    pub lesions: usize,
}

/// Writes the dataset that `config` describes to the folder `out`; `progress` is called after each
/// image, from any of rayon's threads.
///
/// The files are the same whatever the number of threads. They are written to a temporary folder
/// next to `out`, which is renamed at the end.
///
/// If the config is invalid; if `out` exists and is not empty, unless `overwrite` is set and `out`
/// is a dataset made by this generator; if files cannot be written.
pub fn generate(
    config: &PhantomConfig,
    out: &Path,
    overwrite: bool,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Summary> {
    config.validate()?;
    let replaces = check_target(out, overwrite)?;
    let parent = folder_of(out);
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let temporary = temporary_folder(parent)
        .with_context(|| format!("creating a temporary folder in {}", parent.display()))?;
    let root = temporary.path();
    for folder in ["images", "annotations", "labels"] {
        fs::create_dir(root.join(folder))
            .with_context(|| format!("creating {}", root.join(folder).display()))?;
    }
    let records = (0..config.num_images)
        .into_par_iter()
        .map(|index| {
            let record = make(config, index, root)?;
            progress(1);
            Ok(record)
        })
        .collect::<Result<Vec<_>>>()?;
    let summary = write_tables(config, root, out, &records)?;
    publish(temporary, out, parent, replaces)?;
    Ok(summary)
}

/// An image's entries.
struct Record {
    patient: usize,
    image: Image,
    annotations: Vec<Annotation>,
    /// Class of all its lesions, if it has any and they agree.
    label: Option<usize>,
}

fn make(config: &PhantomConfig, index: usize, root: &Path) -> Result<Record> {
    let image = render(config, index);
    let path = root.join(file_name(index));
    let file = fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    write_png(&image, &file).with_context(|| format!("writing {}", path.display()))?;
    let lesions = image.lesions.iter();
    let first = image.lesions.first().map(|lesion| lesion.class);
    Ok(Record {
        patient: image.patient,
        image: Image::new(config, index, &image),
        label: first.filter(|&class| lesions.clone().all(|lesion| lesion.class == class)),
        annotations: lesions.enumerate().map(|(n, l)| Annotation::new(index, n, l)).collect(),
    })
}

fn write_png(image: &PhantomImage, file: &fs::File) -> Result<()> {
    let mut writer = std::io::BufWriter::new(file);
    PngEncoder::new_with_quality(&mut writer, CompressionType::Fast, FilterType::Up).write_image(
        &image.pixels,
        image.size,
        image.size,
        ExtendedColorType::L8,
    )?;
    writer.flush()?;
    Ok(())
}

/// Annotations, lists and the marker; returns the summary.
fn write_tables(
    config: &PhantomConfig,
    root: &Path,
    out: &Path,
    records: &[Record],
) -> Result<Summary> {
    let info = Info::new(config);
    let names = config.kind.classes();
    let split_of = splits::assign(config);
    let mut summaries = Vec::new();
    for split in [Split::Train, Split::Val, Split::Test] {
        let members: Vec<&Record> =
            records.iter().filter(|record| split_of[record.patient] == split).collect();
        let file = File {
            info: &info,
            images: members.iter().map(|record| record.image.clone()).collect(),
            annotations: members.iter().flat_map(|record| record.annotations.clone()).collect(),
            categories: categories(config.kind),
        };
        let name = split.name();
        let json = serde_json::to_vec(&file).context("encoding the annotations")?;
        write_file(&root.join("annotations").join(format!("{name}.json")), &json)?;
        let mut list = String::new();
        for record in &members {
            if let Some(class) = record.label {
                list.push_str(&format!("{} {}\n", record.image.file_name, names[class]));
            }
        }
        write_file(&root.join("labels").join(format!("{name}.txt")), list.as_bytes())?;
        summaries.push(summarise(split, &names, &members));
    }
    let marker = serde_json::to_vec_pretty(&info).context("encoding the config")?;
    write_file(&root.join(MARKER), &marker)?;
    Ok(Summary {
        path: out.to_owned(),
        images: records.len(),
        patients: config.num_patients(),
        lesions: records.iter().map(|record| record.annotations.len()).sum(),
        splits: summaries,
    })
}

fn summarise(split: Split, names: &[&'static str], members: &[&Record]) -> SplitSummary {
    let patients: std::collections::BTreeSet<_> = members.iter().map(|r| r.patient).collect();
    let classes = names.iter().enumerate().map(|(class, name)| ClassSummary {
        name,
        images: members.iter().filter(|record| record.label == Some(class)).count(),
        lesions: members
            .iter()
            .flat_map(|record| &record.annotations)
            .filter(|annotation| annotation.category_id == class as u64 + 1)
            .count(),
    });
    SplitSummary {
        split,
        images: members.len(),
        patients: patients.len(),
        empty_images: members.iter().filter(|record| record.annotations.is_empty()).count(),
        classes: classes.collect(),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Whether `out` holds a dataset that may be replaced; an error if it holds anything else.
fn check_target(out: &Path, overwrite: bool) -> Result<bool> {
    let shown = out.display();
    if out.file_name().is_none() {
        bail!(Error::config(format!(
            "{shown} does not name a new folder; give one, like data/phantom"
        )));
    }
    let metadata = match fs::symlink_metadata(out) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("looking at {shown}")),
    };
    if !metadata.is_dir() {
        bail!(Error::config(format!("{shown} exists and is not a folder; choose another name")));
    }
    let mut entries = fs::read_dir(out).with_context(|| format!("reading {shown}"))?;
    if entries.next().is_none() {
        return Ok(true);
    }
    let ours = fs::read(out.join(MARKER))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .is_some_and(|marker| marker["generator"] == GENERATOR);
    if !ours {
        bail!(Error::config(format!(
            "{shown} exists, is not empty and holds no phantom dataset (no {MARKER} by \
             `{GENERATOR}`), so it is never overwritten; choose another folder"
        )));
    }
    if !overwrite {
        bail!(Error::config(format!(
            "{shown} already holds a phantom dataset; choose another folder, or pass --overwrite \
             to replace it"
        )));
    }
    Ok(true)
}

fn temporary_folder(parent: &Path) -> std::io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".phantom-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As `mkdir` would: the user's mask applies, not "only me".
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
}

/// Renames the finished folder to `out`, moving aside what it replaces until that has worked.
fn publish(temporary: tempfile::TempDir, out: &Path, parent: &Path, replaces: bool) -> Result<()> {
    let rename = |from: &Path, to: &Path| {
        fs::rename(from, to)
            .with_context(|| format!("renaming {} to {}", from.display(), to.display()))
    };
    let aside = temporary_folder(parent)
        .with_context(|| format!("creating a temporary folder in {}", parent.display()))?;
    let old = aside.path().join("old");
    if replaces {
        rename(out, &old)?;
    }
    if let Err(error) = rename(temporary.path(), out) {
        if replaces {
            rename(&old, out)?;
        }
        return Err(error);
    }
    // Renamed away: nothing is left to delete.
    let _ = temporary.keep();
    #[cfg(unix)]
    fs::File::open(parent)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("syncing {}", parent.display()))?;
    Ok(())
}
