//! A model that answers one question after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use mask2former as _;
use sam_prompt as _;
use serde_json::{Value, json};
use sonotune_base::{
    Rle,
    error::{ErrorKind, kind},
    stop::StopFlag,
};
use sonotune_dataset::{FrameChoice, ObjectPrompt, PointPrompt, pixels::ImageFile};
use sonotune_engine::task::Instance;
use sonotune_phantom::PhantomConfig;
use sonotune_run::{
    Live, LiveImage, MaskFiles, ModelSource, PredictOptions, PromptSource, TrainOptions,
    config::{self, Loaded},
};
use sonotune_testing::{MASK2FORMER, Tiny};

const SAM_PROMPT: &str = r#"type = "sam_prompt"
[evaluation]
protocols = ["box"]"#;

/// A folder with phantoms that all tests here read.
fn phantoms() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let phantoms = PhantomConfig { num_images: 12, image_size: 64, ..PhantomConfig::default() };
        sonotune_phantom::generate(&phantoms, &folder.path().join("data"), false, &|_| ()).unwrap();
        folder
    });
    folder.path()
}

/// The config of a run that has made two steps.
fn trained(folder: &Path, task: &str) -> Loaded {
    let tiny = Tiny::run(folder).data(&phantoms().join("data")).steps(2).task(task);
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

fn images() -> Vec<PathBuf> {
    let entries = fs::read_dir(phantoms().join("data/images")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn image(path: &Path) -> LiveImage {
    LiveImage { file: ImageFile::new(path, None), version: "1".to_owned() }
}

fn click(x: f64, y: f64) -> Vec<ObjectPrompt> {
    let points = vec![PointPrompt { x, y, positive: true }];
    vec![ObjectPrompt { points, ..ObjectPrompt::default() }]
}

/// What `predict` writes for the images, by file name.
fn predicted(loaded: &Loaded, folder: &Path, prompts: PromptSource) -> Value {
    let options = PredictOptions {
        images: phantoms().join("data/images"),
        frames: FrameChoice::All,
        prompts,
        carry: false,
        out: folder.join("predicted"),
        source: ModelSource::BestOrLast,
        min_score: Some(0.0),
        masks: MaskFiles::None,
        pictures: false,
        overwrite: false,
        ranks: Default::default(),
    };
    let record = sonotune_run::predict(loaded, &options).unwrap().unwrap();
    serde_json::from_str(&fs::read_to_string(record.json).unwrap()).unwrap()
}

/// Objects of an image in what `predict` writes.
fn objects_of<'a>(coco: &'a Value, name: &str) -> Vec<&'a Value> {
    let images = coco["images"].as_array().unwrap();
    let id = &images.iter().find(|image| image["file_name"] == name).unwrap()["id"];
    let annotations = coco["annotations"].as_array().unwrap();
    annotations.iter().filter(|annotation| annotation["image_id"] == *id).collect()
}

fn assert_same(found: &[Instance], expected: &[&Value]) {
    assert_eq!(found.len(), expected.len());
    for (instance, expected) in found.iter().zip(expected) {
        let (score, expected_score) = (instance.score, expected["score"].as_f64().unwrap());
        assert!((score - expected_score).abs() < 1e-5, "{score}, predict gave {expected_score}");
        let counts = expected["segmentation"]["counts"].as_str().unwrap();
        let mask = Rle::from_compressed(64, 64, counts).unwrap();
        assert_eq!(instance.mask.as_ref(), Some(&mask));
    }
}

#[test]
fn prompts_get_the_answers_of_predict_whether_or_not_the_image_was_prepared() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = trained(folder.path(), SAM_PROMPT);
    let prompt = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        json!({ "file_name": name, "objects": [{ "points": [[30, 20]] }] })
    };
    let file = folder.path().join("prompts.json");
    let prompts = json!({ "images": images().iter().map(prompt).collect::<Vec<_>>() });
    fs::write(&file, prompts.to_string()).unwrap();
    let coco = predicted(&loaded, folder.path(), PromptSource::File(file));

    let live = Live::open(loaded, ModelSource::BestOrLast).unwrap();
    assert!(live.about().takes_prompts);
    assert_eq!((live.about().task.as_str(), live.about().step), ("sam_prompt", 2));
    for path in images() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let first = live.answer(&image(&path), Some(click(30.0, 20.0))).unwrap();
        assert!(!first.was_prepared);
        assert_same(&first.prediction.instances, &objects_of(&coco, name));
        let again = live.answer(&image(&path), Some(click(30.0, 20.0))).unwrap();
        assert!(again.was_prepared);
        assert_eq!(again.prediction, first.prediction);
    }
}

#[test]
fn an_announced_image_becomes_ready_without_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::open(trained(folder.path(), SAM_PROMPT), ModelSource::BestOrLast).unwrap();
    let [first, second, ..] = &images()[..] else { panic!("no images") };
    live.prepare(&image(first));
    // It is prepared before the second one, which is waited for, or after.
    live.answer(&image(second), Some(click(10.0, 10.0))).unwrap();
    let ready = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        live.answer(&image(first), Some(click(10.0, 10.0))).unwrap().was_prepared
    });
    assert!(ready);
}

#[test]
fn objects_found_without_prompts_are_those_of_predict() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = trained(folder.path(), MASK2FORMER);
    let coco = predicted(&loaded, folder.path(), PromptSource::None);
    let live = Live::open(loaded, ModelSource::BestOrLast).unwrap();
    let mut found = 0;
    for path in images().iter().take(4) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let answer = live.answer(&image(path), None).unwrap();
        assert_same(&answer.prediction.instances, &objects_of(&coco, name));
        found += answer.prediction.instances.len();
    }
    assert!(found > 0);
    let refused = live.answer(&image(&images()[0]), Some(click(1.0, 1.0))).unwrap_err();
    assert_eq!(kind(&refused), Some(ErrorKind::Config), "{refused:#}");
}

#[test]
fn a_bad_question_is_answered_with_what_is_wrong_and_the_next_one_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::open(trained(folder.path(), SAM_PROMPT), ModelSource::BestOrLast).unwrap();
    let good = image(&images()[0]);
    let broken = folder.path().join("broken.png");
    fs::write(&broken, "not an image").unwrap();
    let absent = folder.path().join("absent.png");
    let mut category = click(3.0, 3.0);
    category[0].category = Some(99);
    for (image, prompts, words) in [
        (image(&broken), click(3.0, 3.0), "broken.png"),
        (image(&absent), click(3.0, 3.0), "absent.png"),
        (good.clone(), click(64.5, 3.0), "outside the image"),
        (good.clone(), vec![ObjectPrompt::default()], "neither point nor box"),
        (good.clone(), category, "category 99"),
    ] {
        let error = live.answer(&image, Some(prompts)).unwrap_err();
        assert!(format!("{error:#}").contains(words), "{error:#}");
        assert_eq!(kind(&error), Some(ErrorKind::Data), "{error:#}");
        live.answer(&good, Some(click(3.0, 3.0))).unwrap();
    }
    // The file is replaced: its version says so.
    fs::copy(&images()[1], &broken).unwrap();
    let replaced = LiveImage { version: "2".to_owned(), ..image(&broken) };
    live.answer(&replaced, Some(click(3.0, 3.0))).unwrap();
}

#[test]
fn many_ask_at_once_and_each_gets_the_answer_to_its_own_question() {
    let folder = tempfile::tempdir().unwrap();
    let live = Live::open(trained(folder.path(), SAM_PROMPT), ModelSource::BestOrLast).unwrap();
    let ask = |path: &PathBuf| live.answer(&image(path), Some(click(30.0, 20.0))).unwrap();
    let alone: Vec<_> = images().iter().map(ask).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let ask = &ask;
        let asked: Vec<_> =
            images().into_iter().map(|path| scope.spawn(move || ask(&path))).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    for (one, other) in alone.iter().zip(&together) {
        assert_eq!(one.prediction, other.prediction);
    }
}
