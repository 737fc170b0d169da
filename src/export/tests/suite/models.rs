//! Tiny trained models, and their exports.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use classification as _;
use mask2former as _;
use sam_prompt as _;
use sonotune_base::stop::StopFlag;
use sonotune_export::{ExportOptions, ExportRecord, Format, Precision, export};
use sonotune_phantom::PhantomConfig;
use sonotune_run::{
    ModelSource, TrainOptions,
    config::{self, Loaded},
};
use sonotune_testing::Tiny;

pub(crate) const SIDE: u32 = 64;

pub(crate) const CLASSIFICATION: &str = r#"type = "classification""#;

pub(crate) const SAM: &str = r#"type = "sam_prompt"
convention = "segment_anything"
decoder = { num_heads = 2, mlp_dim = 32 }
[evaluation]
protocols = ["box"]
multimask = "ambiguous""#;

/// A folder with phantoms that all tests here read: objects, and a category for each image.
pub(crate) fn phantoms() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let phantoms =
            PhantomConfig { num_images: 12, image_size: SIDE, ..PhantomConfig::default() };
        sonotune_phantom::generate(&phantoms, &folder.path().join("data"), false, &|_| ()).unwrap();
        folder
    });
    folder.path()
}

/// The config of a tiny run.
pub(crate) fn tiny(folder: &Path, task: &str) -> Tiny {
    Tiny::run(folder).data(&phantoms().join("data")).steps(2).task(task)
}

/// Makes the run's steps.
pub(crate) fn trained(tiny: &Tiny) -> Loaded {
    let loaded = config::load(&tiny.write(), &[]).unwrap();
    let options = TrainOptions {
        existing: sonotune_run_folder::Existing::Refuse,
        resume_from: ModelSource::Last,
        changed_data: false,
        stop: StopFlag::default(),
        ranks: Default::default(),
    };
    sonotune_run::train(&loaded, &options).unwrap();
    loaded
}

/// The Python that checks exports, or `None` with the reason printed.
pub(crate) fn python() -> Option<PathBuf> {
    sonotune_testing::python(&["numpy", "onnxruntime", "torch"])
}

/// Options for `out`; without a Python unchecked.
pub(crate) fn options(out: &Path, python: Option<PathBuf>) -> ExportOptions {
    ExportOptions {
        source: ModelSource::BestOrLast,
        out: out.to_owned(),
        formats: vec![Format::TorchScript, Format::Onnx],
        precision: Precision::Fp32,
        unchecked: python.is_none(),
        python,
        images: None,
        license: None,
        overwrite: false,
    }
}

/// Exports, and checks with Python if there is one.
pub(crate) fn exported(loaded: &Loaded, out: &Path) -> ExportRecord {
    export(loaded, &options(out, python())).unwrap()
}
