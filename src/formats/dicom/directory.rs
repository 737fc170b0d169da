//! DICOMDIR: the table of contents of a folder of DICOM files (PS3.3, annex F).

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use sonotune_base::Error;

use super::{
    DIRECTORY, guard, header,
    source::Source,
    values::{Key, Values},
};

/// Most bytes of records: some 300 bytes for each file of a disc.
const MAX_RECORD_BYTES: u64 = 64 << 20;

const FIRST: Key = Key(0x0004, 0x1200, "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity");
const RECORDS: Key = Key(0x0004, 0x1220, "DirectoryRecordSequence");
const NEXT: Key = Key(0x0004, 0x1400, "OffsetOfTheNextDirectoryRecord");
const LOWER: Key = Key(0x0004, 0x1420, "OffsetOfReferencedLowerLevelDirectoryEntity");
const KIND: Key = Key(0x0004, 0x1430, "DirectoryRecordType");
const FILE: Key = Key(0x0004, 0x1500, "ReferencedFileID");

/// A file that a DICOMDIR lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Within the DICOMDIR's folder; whether the file is there is not checked.
    pub path: PathBuf,
    /// DirectoryRecordType: `IMAGE`, or another kind of object such as `SR DOCUMENT`.
    pub kind: String,
    /// PatientID of the patient's record.
    pub patient: Option<String>,
    /// StudyInstanceUID.
    pub study: Option<String>,
    /// SeriesInstanceUID.
    pub series: Option<String>,
    /// Modality of the series.
    pub modality: Option<String>,
}

/// Lists the files of a DICOMDIR, patient by patient, study by study, series by series.
///
/// # Errors
/// [`sonotune_base::ErrorKind::Data`] with the path: not a DICOMDIR, cut off, a record that refers to a place
/// without a record or to itself, and a file outside of the folder.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    list(path).map_err(|e| Error::data(format!("{}: {e:#}", path.display())).into())
}

fn list(path: &Path) -> Result<Vec<Entry>> {
    let Source { mut reader, at, end, syntax, sop_class, .. } = Source::open(path)?;
    ensure!(
        sop_class.as_deref() == Some(DIRECTORY),
        "it is not a DICOMDIR (SOP class {})",
        sop_class.as_deref().unwrap_or("unknown")
    );
    let outline = guard::outline((&mut *reader, at, end), syntax, MAX_RECORD_BYTES)?;
    let object = header::parse(&outline.elements, syntax.encoding)?;
    let values = Values(&object);
    let records: HashMap<u64, Values> =
        outline.records.iter().copied().zip(values.items(RECORDS)).collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let nowhere = Entry {
        path: folder.to_owned(),
        kind: String::new(),
        patient: None,
        study: None,
        series: None,
        modality: None,
    };
    let first = u64::from(values.natural(FIRST)?.unwrap_or(0));
    let (mut open, mut seen, mut entries) = (vec![(first, nowhere)], HashSet::new(), Vec::new());
    // A stack instead of recursion: levels may be chained as deep as there are records.
    while let Some((offset, above)) = open.pop() {
        if offset == 0 {
            continue;
        }
        let record = records.get(&offset);
        let record = *record.with_context(|| format!("no record begins at byte {offset}"))?;
        ensure!(seen.insert(offset), "the record at byte {offset} is listed twice");
        let offset = |key| Ok::<_, anyhow::Error>(u64::from(record.natural(key)?.unwrap_or(0)));
        open.push((offset(NEXT)?, above.clone()));
        let entry = described(record, above);
        let parts = record.texts(FILE);
        if parts.iter().any(|part| !part.is_empty()) {
            let path = within(folder, &parts)?;
            entries.push(Entry { path, ..entry.clone() });
        }
        open.push((offset(LOWER)?, entry));
    }
    Ok(entries)
}

/// What a record adds to those above it.
fn described(record: Values, above: Entry) -> Entry {
    let text = |group, element| record.text(Key(group, element, ""));
    Entry {
        kind: record.text(KIND).unwrap_or_default(),
        patient: text(0x0010, 0x0020).or(above.patient),
        study: text(0x0020, 0x000D).or(above.study),
        series: text(0x0020, 0x000E).or(above.series),
        modality: text(0x0008, 0x0060).or(above.modality),
        path: above.path,
    }
}

/// The file of a ReferencedFileID, which must be in the folder.
fn within(folder: &Path, parts: &[String]) -> Result<PathBuf> {
    let mut path = folder.to_owned();
    for part in parts {
        let plain = !part.contains(['/', '\\', ':', '\0']) && !matches!(&**part, "" | "." | "..");
        if !plain {
            bail!("{FILE} is {:?}, which leaves the folder of the DICOMDIR", parts.join("\\"));
        }
        path.push(part);
    }
    Ok(path)
}
