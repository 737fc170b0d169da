//! One file, from the original to the one without identity.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{
    FileDicomObject, FileMetaTable, FileMetaTableBuilder, InMemDicomObject, mem::InMemElement,
};
use sonotune_base::{Error, fs::atomic_write_sized, stop::StopFlag};
use sonotune_formats::dicom::{Dicom, Whole};

use super::{
    Options, blackout,
    marks::Marks,
    patient::{KnownBy, Patient, text},
    pixels::{self, Stored},
    profile::Profile,
    regions::{self, Rect},
    report::{self, Written},
    salt::Salt,
    scrub::{Changes, Scrub},
};

/// A native value has a length of 32 bits, of which one value has another meaning.
const MAX_PIXEL_BYTES: u64 = u32::MAX as u64 - 1;
/// Below this share, nothing worth mentioning was made black.
const HARDLY: f64 = 0.01;

/// What all files of a run share.
pub(crate) struct Run<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) salt: &'a Salt,
    pub(crate) options: &'a Options,
    pub(crate) output: &'a Path,
    pub(crate) stop: &'a StopFlag,
    /// The original of each file written so far.
    pub(crate) written: HashMap<String, PathBuf>,
}

/// A file that was written, or would have been.
pub(crate) struct Done {
    pub(crate) written: Written,
    /// The patient's id in the original; for the mapping alone.
    pub(crate) patient_id: String,
    pub(crate) days: u64,
}

/// A file that is ready to be written.
struct Prepared {
    /// Everything but the pixels.
    head: FileDicomObject<InMemDicomObject>,
    stored: Stored,
    keep: Option<Vec<Rect>>,
}

impl Run<'_> {
    /// De-identifies `path` into the output.
    ///
    /// # Errors
    /// Data errors for files that are refused; the original and what is in the output stay as they are.
    pub(crate) fn file(&mut self, path: &Path) -> Result<Done> {
        let dicom = Dicom::open(path)?;
        let whole = Whole::read(path)?;
        let stored = Stored::new(&dicom, &whole)?;
        let keep = self.kept_regions(&whole.object, &stored)?;
        let instance = text(&whole.object, tags::SOP_INSTANCE_UID);
        // A file without a UID is told from others by its content.
        let instance = if instance.is_empty() { pixels::digest(path)? } else { instance };
        let patient = Patient::of(&whole.object, self.salt, &instance);
        let uid = self.salt.uid(&instance);
        let name = format!("{}/{uid}.dcm", patient.pseudonym);
        if let Some(other) = self.written.get(&name) {
            return Err(Error::data(format!(
                "it has the same SOPInstanceUID and patient as {}, so that one of the two would be lost; remove \
                 one, or give each a UID of its own",
                other.display()
            ))
            .into());
        }
        let mut notes = notes(&whole.object, &patient, &stored);
        let claims_no_text = text(&whole.object, tags::BURNED_IN_ANNOTATION) == "NO";
        let marks = Marks {
            dates: self.options.dates,
            keep_patient_characteristics: self.options.keep_patient_characteristics,
            blacked_out: keep.is_some(),
            claims_no_text,
        };
        let (object, changes) = self.scrubbed(whole.object, &patient, (&uid, &stored), marks)?;
        let size = (stored.layout.height, stored.layout.width);
        let blacked_out = keep.as_deref().map_or(0.0, |keep| blackout::share_outside(size, keep));
        notes.extend(note_on_black(keep.as_deref(), blacked_out));
        let frames = stored.frames;
        let meta = meta(&object, &uid)?;
        let prepared = Prepared { head: object.with_exact_meta(meta), stored, keep };
        if !self.options.dry_run {
            self.write(&dicom, &prepared, &name)?;
        }
        self.written.insert(name.clone(), path.to_owned());
        let written = Written {
            file: name,
            patient: patient.pseudonym.clone(),
            frames: u32::try_from(frames)?,
            size,
            kept_regions: prepared.keep.unwrap_or_default(),
            blacked_out,
            patient_identity_removed: marks.identity_removed(),
            changes: report::changed(&changes),
            notes,
        };
        Ok(Done { written, patient_id: patient.id, days: patient.days })
    }

    /// The regions that stay; `None` if pixels stay as they are because the user allows it.
    fn kept_regions(
        &self,
        object: &InMemDicomObject,
        stored: &Stored,
    ) -> Result<Option<Vec<Rect>>> {
        let size = (stored.layout.height, stored.layout.width);
        if let Some(asked) = self.options.keep_region {
            let inside = asked.within(size).ok_or_else(|| {
                Error::data(format!(
                    "the region {asked} is outside its picture of {} x {} pixels (height x width); give another one \
                     with --keep-region",
                    size.0, size.1
                ))
            })?;
            return Ok(Some(vec![inside]));
        }
        let found = regions::measured(object, size);
        match (found.is_empty(), self.options.allow_unblacked) {
            (false, _) => Ok(Some(found)),
            (true, true) => Ok(None),
            (true, false) => Err(Error::data(
                "it does not say where in the picture the ultrasound is (SequenceOfUltrasoundRegions), so that text \
                 around it cannot be made black; give the region with --keep-region x,y,width,height, or keep all \
                 pixels as they are with --allow-unblacked",
            )
            .into()),
        }
    }

    /// The attributes as they are written, without the pixels.
    fn scrubbed(
        &self,
        object: InMemDicomObject,
        patient: &Patient,
        (uid, stored): (&str, &Stored),
        marks: Marks,
    ) -> Result<(InMemDicomObject, Changes)> {
        let mut scrub = Scrub {
            profile: self.profile,
            salt: self.salt,
            patient,
            dates: self.options.dates,
            keep_patient_characteristics: self.options.keep_patient_characteristics,
            changes: Changes::new(),
        };
        let mut object = scrub.clean(object)?;
        object.put(InMemElement::new(tags::SOP_INSTANCE_UID, VR::UI, uid));
        stored.describe(&mut object);
        marks.add(&mut object, patient);
        Ok((object, scrub.changes))
    }

    /// Writes the file under a temporary name, syncs and renames it.
    fn write(&self, dicom: &Dicom, prepared: &Prepared, name: &str) -> Result<()> {
        let path = self.output.join(name);
        let Prepared { head: head_of, stored, keep } = prepared;
        let frame_len = stored.layout.frame_len() as u64;
        let pixels = frame_len * stored.frames as u64;
        if pixels > MAX_PIXEL_BYTES {
            return Err(Error::data(format!(
                "its pixels take {pixels} bytes when they are not compressed, more than the {MAX_PIXEL_BYTES} that a \
                 DICOM file can hold; split it into shorter clips first"
            ))
            .into());
        }
        let mut head = vec![];
        head_of
            .write_all(&mut head)
            .map_err(|e| anyhow!(e).context("its attributes cannot be written"))?;
        head.extend(pixel_head(stored, pixels as u32));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| sonotune_base::fs::explain(folder, e))?;
        }
        // An error of a frame is not one of writing.
        let mut failed = None;
        let size = head.len() as u64 + pixels + pixels % 2;
        let result = atomic_write_sized(&path, size, |file| {
            file.write_all(&head)?;
            for index in 0..stored.frames {
                match self.frame(dicom, stored, keep.as_deref(), index) {
                    Ok(frame) => file.write_all(&frame)?,
                    Err(error) => {
                        failed = Some(error);
                        return Err(io::ErrorKind::Other.into());
                    }
                }
            }
            file.write_all(&[0][..(pixels % 2) as usize])
        });
        failed.map_or(result, Err)
    }

    /// A frame as it is written.
    fn frame(
        &self,
        dicom: &Dicom,
        stored: &Stored,
        keep: Option<&[Rect]>,
        index: usize,
    ) -> Result<Vec<u8>> {
        super::check(self.stop)?;
        let mut frame = stored.frame(dicom, index).with_context(|| format!("frame {index}"))?;
        if let Some(keep) = keep {
            stored.layout.black_out(&mut frame, keep);
        }
        Ok(frame)
    }
}

/// The head of the element PixelData, explicit and little-endian.
fn pixel_head(stored: &Stored, len: u32) -> Vec<u8> {
    let mut head = vec![0xe0, 0x7f, 0x10, 0x00];
    head.extend(if stored.layout.bytes == 1 { b"OB" } else { b"OW" });
    head.extend([0, 0]);
    head.extend((len + len % 2).to_le_bytes());
    head
}

/// New file meta information: the original's may name machines and hold private bytes.
fn meta(object: &InMemDicomObject, uid: &str) -> Result<FileMetaTable> {
    let class = text(object, tags::SOP_CLASS_UID);
    if class.is_empty() {
        return Err(Error::data(
            "it has no SOPClassUID, without which no DICOM file can be written; correct it with the program that \
             wrote it",
        )
        .into());
    }
    FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(uid)
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .build()
        .context("file meta information")
}

fn notes(object: &InMemDicomObject, patient: &Patient, stored: &Stored) -> Vec<String> {
    let mut notes = vec![];
    let known_by = match patient.known_by {
        KnownBy::Id => None,
        KnownBy::Name => Some("no PatientID: the pseudonym is of the name and date of birth"),
        KnownBy::Study => Some("no PatientID and no name: the pseudonym is of the study"),
        KnownBy::File => Some("no PatientID, name or study: the pseudonym is of this file alone"),
    };
    notes.extend(known_by.map(str::to_owned));
    notes.push(match text(object, tags::BURNED_IN_ANNOTATION).as_str() {
        "YES" => "the machine says that there is text in the picture; BurnedInAnnotation stays YES"
            .into(),
        "NO" => {
            "the machine says that there is no text in the picture; nobody has checked that".into()
        }
        _ => "the machine does not say whether there is text in the picture".into(),
    });
    notes.extend(stored.note());
    notes
}

fn note_on_black(keep: Option<&[Rect]>, share: f64) -> Option<String> {
    match keep {
        None => Some("no pixel was made black: look at every frame".into()),
        Some(_) if share < HARDLY => Some(format!(
            "the regions cover the picture except for {:.1} %: text around the ultrasound is within them",
            100.0 * share
        )),
        Some(_) => None,
    }
}
