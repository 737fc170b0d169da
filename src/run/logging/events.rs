//! TensorBoard's event file.
//!
//! Framing, checksums and protobuf types come from tensorboard-rs. Its writer is not used: it
//! panics in a thread of its own when the disk is full, and names files by the second, so that a
//! second writer overwrites the first.

use std::{
    fs,
    io::Cursor,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use image::{ImageFormat, RgbImage};
use protobuf::{Message, RepeatedField};
use tensorboard_proto::{
    event::{Event, SessionLog, SessionLog_SessionStatus},
    summary::{Summary, Summary_Image, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData},
    tensor::TensorProto,
    types::DataType,
};
use tensorboard_rs::record_writer::RecordWriter;

use sonotune_base::fs::AppendFile;
use sonotune_run_folder::EVENTS_PREFIX;

/// One file of events; every record is written to the system immediately.
#[derive(Debug)]
pub(super) struct EventFile(AppendFile);

impl EventFile {
    /// Starts a new file in `folder`, to be read after the existing ones. With `resume_step`,
    /// TensorBoard drops what these contain about later steps.
    pub(super) fn create(folder: &Path, resume_step: Option<u64>) -> Result<Self> {
        let path = folder.join(next_name(folder)?);
        let mut file = Self(AppendFile::open(&path)?);
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".to_owned());
        file.write(version)?;
        if let Some(step) = resume_step {
            let mut session = SessionLog::new();
            session.set_status(SessionLog_SessionStatus::START);
            let mut start = Event::new();
            start.set_session_log(session);
            // TensorBoard drops events at this step or later.
            start.set_step(as_step(step + 1));
            file.write(start)?;
        }
        Ok(file)
    }

    pub(super) fn scalars<'a>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<()> {
        let values = values.into_iter().map(|(tag, number)| {
            let mut value = tagged(tag);
            value.set_simple_value(number as f32);
            value
        });
        self.summary(step, values.collect())
    }

    pub(super) fn image(&mut self, tag: &str, step: u64, image: &RgbImage) -> Result<()> {
        let mut png = Cursor::new(Vec::new());
        image.write_to(&mut png, ImageFormat::Png).context("cannot encode a PNG")?;
        let mut proto = Summary_Image::new();
        proto.set_height(image.height().try_into()?);
        proto.set_width(image.width().try_into()?);
        proto.set_colorspace(3);
        proto.set_encoded_image_string(png.into_inner());
        let mut value = tagged(tag);
        value.set_image(proto);
        self.summary(step, vec![value])
    }

    /// Text in Markdown, for TensorBoard's text plugin.
    pub(super) fn text(&mut self, tag: &str, step: u64, markdown: &str) -> Result<()> {
        let mut plugin = SummaryMetadata_PluginData::new();
        plugin.set_plugin_name("text".to_owned());
        let mut metadata = SummaryMetadata::new();
        metadata.set_plugin_data(plugin);
        let mut tensor = TensorProto::new();
        tensor.set_dtype(DataType::DT_STRING);
        tensor.set_string_val(RepeatedField::from_vec(vec![markdown.as_bytes().to_vec()]));
        let mut value = tagged(tag);
        value.set_metadata(metadata);
        value.set_tensor(tensor);
        self.summary(step, vec![value])
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn summary(&mut self, step: u64, values: Vec<Summary_Value>) -> Result<()> {
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(values));
        let mut event = Event::new();
        event.set_summary(summary);
        event.set_step(as_step(step));
        self.write(event)
    }

    fn write(&mut self, mut event: Event) -> Result<()> {
        event.set_wall_time(since_epoch());
        // Framed in memory first, so that the file never gets half a record.
        let mut record = Vec::new();
        RecordWriter::new(&mut record).write(&event.write_to_bytes()?)?;
        self.0.append(&record)
    }
}

fn tagged(tag: &str) -> Summary_Value {
    let mut value = Summary_Value::new();
    value.set_tag(tag.to_owned());
    value
}

fn as_step(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

fn since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64())
}

/// TensorBoard reads the files of a folder in the order of their names, hence of the time in them:
/// at least one second later than the latest there, even if clocks differ.
fn next_name(folder: &Path) -> Result<String> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()));
    let latest = entries?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().to_string_lossy().into_owned();
            name.strip_prefix(EVENTS_PREFIX)?.split('.').next()?.parse::<u64>().ok()
        })
        .max();
    let seconds = (since_epoch() as u64).max(latest.map_or(0, |time| time.saturating_add(1)));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    Ok(format!("{EVENTS_PREFIX}{seconds:010}.{host}.{}.0", std::process::id()))
}
