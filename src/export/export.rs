//! An export from top to bottom.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sonotune_base::{Category, Error, fs::atomic_write};
use sonotune_dataset::Split;
use sonotune_engine::{
    device::{Place, Precision as Computed},
    task::{Part, Parts, Promptable},
};
use sonotune_run::{
    Decided, Model, ModelSource,
    config::{Loaded, RunConfig},
    decided_by_weights,
};
use tch::{Device, no_grad};

use crate::{
    anylabeling, card,
    check::{FileCheck, Pair},
    images::{self, Images},
    layout::Layout,
    onnx::{Frame, Label, Precision, write_decoder, write_encoder, write_whole},
    prepare::Preparation,
    python::Python,
    record::{CheckRecord, ExportRecord, FileRecord, LossRecord},
    recorded::Recorded,
    script, whole,
};

/// Images that exact checks are made with, and those that a loss is stated for.
const CHECKED_IMAGES: usize = 3;
const LOSS_IMAGES: usize = 16;

/// A format of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    TorchScript,
    Onnx,
}

/// What to export, and where.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    pub source: ModelSource,
    pub out: PathBuf,
    pub formats: Vec<Format>,
    /// Number format of the image's part: the encoder, or the whole model.
    pub precision: Precision,
    /// The interpreter that checks the files.
    pub python: Option<PathBuf>,
    /// Write files that no other program has run.
    pub unchecked: bool,
    /// Images to check with; `None`: the validation split's.
    pub images: Option<PathBuf>,
    /// Licence of the weights, for the card.
    pub license: Option<String>,
    pub overwrite: bool,
}

/// A file in the staging folder.
struct Staged {
    name: String,
    about: String,
    check: Option<CheckRecord>,
}

/// Everything that the files are made from and checked with.
struct Work<'w> {
    model: &'w Model<'w>,
    parts: &'w Parts<'w>,
    recorded: &'w Recorded,
    preparation: &'w Preparation,
    options: &'w ExportOptions,
    python: Option<Python>,
    label: Label,
    staging: PathBuf,
    images: Images,
    staged: Vec<Staged>,
    loss: Option<LossRecord>,
    notes: Vec<String>,
}

/// Writes the files, each after its check, and a model card.
///
/// # Errors
/// Of kind config if the model cannot be expressed, or the Python lacks a package; of kind weights if a file does
/// not predict what this program predicts. Then none is written.
pub fn export(loaded: &Loaded, options: &ExportOptions) -> Result<ExportRecord> {
    require_free(options)?;
    let python = match options.unchecked {
        true => None,
        false => {
            Some(Python::find(options.python.as_deref(), packages(&options.formats).as_slice())?)
        }
    };
    let decided = match options.source {
        ModelSource::Pretrained => decided_by_weights(loaded)?,
        _ => None,
    };
    let loaded = decided.as_ref().map_or(loaded, |Decided { loaded, .. }| loaded);
    let config = &loaded.config;
    let place = Place { device: Device::Cpu, precision: Computed::Fp32 };
    let categories = categories(config, options)?;
    let mut opened = Model::open(config, place, &options.source, &categories)?;
    opened.model.vs.freeze();
    let preparation = Preparation::of(config, &opened.model.spec.input)?;
    let input = (preparation.side, preparation.side);
    let parts = no_grad(|| opened.model.task.parts(input))?;
    let recorded = Recorded::new(&opened.model.vs, &parts)?;
    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let staging = tempfile::Builder::new()
        .prefix(".export-")
        .tempdir_in(&options.out)
        .with_context(|| options.out.display().to_string())?;
    let gathered = tempfile::tempdir().context("a temporary folder")?;
    let named = (options.images.as_deref(), CHECKED_IMAGES);
    let images = images::gather(&opened.model, &preparation, named, gathered.path())?;
    let mut work = Work {
        model: &opened.model,
        parts: &parts,
        recorded: &recorded,
        preparation: &preparation,
        options,
        label: label(options, &preparation, python.as_ref()),
        python,
        staging: staging.path().to_owned(),
        images,
        staged: Vec::new(),
        loss: None,
        notes: notes(config),
    };
    work.write()?;
    let mut record = ExportRecord {
        checkpoint: opened.path.clone(),
        beside: opened.beside.clone(),
        step: opened.step,
        averaged: opened.averaged,
        out: options.out.clone(),
        precision: options.precision.name().to_owned(),
        checked: !options.unchecked,
        checked_with: work.python.as_ref().map_or_else(Vec::new, |python| python.versions.clone()),
        check_images: work.images.fitted.len(),
        files: Vec::new(),
        loss: work.loss.take(),
        notes: std::mem::take(&mut work.notes),
    };
    for staged in work.staged {
        record.files.push(keep(staging.path(), &options.out, staged)?);
    }
    let text = card::card(config, &opened.model, (&parts, &preparation), &record, options)?;
    atomic_write(&options.out.join(card::NAME), text.as_bytes())?;
    let json = serde_json::to_vec_pretty(&record)?;
    atomic_write(&options.out.join("export.json"), &json)?;
    Ok(record)
}

/// What the formats' checks import.
fn packages(formats: &[Format]) -> Vec<&'static str> {
    let mut packages = vec!["numpy"];
    if formats.contains(&Format::Onnx) {
        packages.push("onnxruntime");
    }
    if formats.contains(&Format::TorchScript) {
        packages.push("torch");
    }
    packages
}

/// Refuses a folder with an earlier export.
fn require_free(options: &ExportOptions) -> Result<()> {
    if options.overwrite || !options.out.join(card::NAME).exists() {
        return Ok(());
    }
    Err(Error::config(format!(
        "{} exists already; choose another folder or pass --overwrite",
        options.out.join(card::NAME).display()
    ))
    .into())
}

/// The categories of pretrained weights, which come without.
fn categories(config: &RunConfig, options: &ExportOptions) -> Result<Vec<Category>> {
    if options.source != ModelSource::Pretrained {
        return Ok(Vec::new());
    }
    if config.task.takes_prompts() {
        return Ok(vec![Category { id: 1, name: "object".to_owned() }]);
    }
    Ok(config.dataset()?.open(Split::Train)?.categories)
}

/// What the files' graphs do not do, though predictions of this config do.
fn notes(config: &RunConfig) -> Vec<String> {
    let mut notes = Vec::new();
    if config.evaluation.flip {
        notes.push(
            "evaluation.flip: the files predict the image alone, without its mirror image"
                .to_owned(),
        );
    }
    notes
}

fn label(options: &ExportOptions, preparation: &Preparation, python: Option<&Python>) -> Label {
    let checked = match python {
        Some(python) => python.versions.join(", "),
        None => "NOT CHECKED: no other program has run this file".to_owned(),
    };
    let properties = [
        ("sonotune_version", env!("CARGO_PKG_VERSION").to_owned()),
        ("precision", options.precision.name().to_owned()),
        ("checked_with", checked),
        ("preprocessing", preparation.words().join("; ")),
    ];
    Label {
        about: "Exported by Sonotune; see README.md beside it.".to_owned(),
        properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
    }
}

/// Moves a file from the staging folder to its place.
fn keep(staging: &Path, out: &Path, staged: Staged) -> Result<FileRecord> {
    let (from, to) = (staging.join(&staged.name), out.join(&staged.name));
    let context = || to.display().to_string();
    let bytes = fs::read(&from).with_context(context)?;
    fs::File::open(&from).and_then(|file| file.sync_all()).with_context(context)?;
    fs::rename(&from, &to).with_context(context)?;
    Ok(FileRecord {
        name: staged.name,
        about: staged.about,
        bytes: bytes.len() as u64,
        sha256: sonotune_dataset::sha256(&bytes),
        check: staged.check,
    })
}

impl Work<'_> {
    fn write(&mut self) -> Result<()> {
        if self.options.formats.contains(&Format::Onnx) {
            match self.parts {
                Parts::Whole(part) => self.whole(part)?,
                Parts::Promptable(promptable) => self.promptable(promptable)?,
            }
        }
        if self.options.formats.contains(&Format::TorchScript) {
            self.torchscript()?;
        }
        Ok(())
    }

    fn stage(&mut self, name: &str, about: String, check: Option<CheckRecord>) -> Result<()> {
        if let Some(check) = &check {
            check.require(name)?;
        }
        self.staged.push(Staged { name: name.to_owned(), about, check });
        Ok(())
    }

    fn torchscript(&mut self) -> Result<()> {
        let name = "model.pt";
        let path = self.staging.join(name);
        let properties: std::collections::BTreeMap<_, _> =
            self.label.properties.iter().cloned().collect();
        let note = serde_json::to_string(&properties)?;
        self.recorded.script.save(&path, ("sonotune.json", &note))?;
        let side = self.preparation.side;
        let here = script::check_here(&path, self.parts, &self.images, side)?;
        here.require(name)?;
        let check = match &self.python {
            Some(python) => {
                Some(script::check_in(python, &path, self.parts, (&self.images, side))?)
            }
            None => None,
        };
        let methods: Vec<_> = crate::recorded::all(self.parts)
            .iter()
            .map(|part| crate::recorded::method(self.parts, part))
            .collect();
        let about = format!("TorchScript, fp32; methods: {}", methods.join(", "));
        self.stage(name, about, check)
    }

    /// One file of a prepared image.
    fn whole(&mut self, part: &Part<'_>) -> Result<()> {
        let name = format!("{}.onnx", part.name);
        let path = self.staging.join(&name);
        write_whole(&path, self.recorded, part, Precision::Fp32, &self.label)?;
        let on = (self.model, &self.images);
        let file = FileCheck { path: &path, method: None };
        let check = match &self.python {
            Some(python) => Some(whole::check(python, &file, part, on)?),
            None => None,
        };
        if let Some(check) = &check {
            check.require(&name)?;
        }
        let precision = self.options.precision;
        if precision != Precision::Fp32 {
            write_whole(&path, self.recorded, part, precision, &self.label)?;
            if let Some(python) = &self.python {
                let folder = tempfile::tempdir().context("a temporary folder")?;
                let images = self.loss_images(folder.path())?;
                self.loss = Some(whole::loss(python, &file, part, &images)?);
            }
        }
        let about = format!("ONNX, {}: a prepared image to {}", precision.name(), outputs(part));
        let check = check.filter(|_| precision == Precision::Fp32);
        self.stage(&name, about, check)
    }

    /// Encoder, decoder, and the config that X-AnyLabeling loads them by.
    fn promptable(&mut self, promptable: &Promptable<'_>) -> Result<()> {
        let layout = Layout::of(promptable);
        let (encoder, decoder) = ("encoder.onnx", "decoder.onnx");
        let paths = [encoder, decoder].map(|name| self.staging.join(name));
        let [encoder_path, decoder_path] = &paths;
        let from_pixels = (layout == Layout::SegmentAnything).then_some(self.preparation);
        let write = |work: &Self, precision| {
            let part = &promptable.encoder;
            write_encoder(encoder_path, work.recorded, part, from_pixels, precision, &work.label)
        };
        write(self, Precision::Fp32)?;
        let frame = Frame { layout, preparation: self.preparation };
        write_decoder(decoder_path, self.recorded, promptable, frame, &self.label)?;
        let side = self.preparation.side;
        let pair = Pair { encoder: encoder_path, decoder: decoder_path, layout, side };
        let check = match &self.python {
            Some(python) => Some(pair.check(python, promptable, (self.model, &self.images))?),
            None => None,
        };
        if let Some(check) = &check {
            check.require("the pair encoder.onnx, decoder.onnx")?;
        }
        let precision = self.options.precision;
        if precision != Precision::Fp32 {
            write(self, precision)?;
            if let Some(python) = &self.python {
                let folder = tempfile::tempdir().context("a temporary folder")?;
                let images = self.loss_images(folder.path())?;
                self.loss = Some(pair.loss(python, promptable, (self.model, &images))?);
            }
        }
        let kind = layout.name();
        let of_encoder = check.clone().filter(|_| precision == Precision::Fp32);
        let about = format!("ONNX, {}: encoder in the layout {kind}", precision.name());
        self.stage(encoder, about, of_encoder)?;
        self.stage(decoder, format!("ONNX, fp32: decoder in the layout {kind}"), check)?;
        let name = self.options.out.canonicalize().ok();
        let name = name.as_deref().and_then(Path::file_name);
        let name = name.map_or("model".into(), |name| name.to_string_lossy());
        let text = anylabeling::config(layout, &name, encoder, decoder);
        atomic_write(&self.staging.join("x_anylabeling.yaml"), text.as_bytes())?;
        self.stage("x_anylabeling.yaml", "config for X-AnyLabeling".to_owned(), None)
    }

    fn loss_images(&self, folder: &Path) -> Result<Images> {
        let named = (self.options.images.as_deref(), LOSS_IMAGES);
        images::gather(self.model, self.preparation, named, folder)
    }
}

fn outputs(part: &Part<'_>) -> String {
    part.outputs.iter().map(|output| output.name).collect::<Vec<_>>().join(", ")
}
