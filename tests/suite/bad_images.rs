//! Complete runs over images of which some cannot be used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{Copied, PROMPTS, assert_fails, assert_success, sonotune, tiny_run};

/// A copy of the phantoms with three bad images in each split: truncated, missing, and with a
/// header that claims ten gigapixels.
pub(crate) fn harmed(folder: &Path) -> PathBuf {
    let copied = Copied::to(&folder.join("harmed"));
    for split in ["train", "val"] {
        let images = [0, 1, 2].map(|index| copied.image(split, index));
        let image = |index: usize| &images[index];
        let half = fs::read(image(0)).unwrap();
        fs::write(image(0), &half[..half.len() / 2]).unwrap();
        fs::remove_file(image(1)).unwrap();
        let mut huge = fs::read(image(2)).unwrap();
        huge[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
        let checksum = crc32fast::hash(&huge[12..29]);
        huge[29..33].copy_from_slice(&checksum.to_be_bytes());
        fs::write(image(2), huge).unwrap();
    }
    copied.0
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_with_bad_images_lists_them_and_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let root = format!("dataset.root={}", harmed(folder.path()).display());
    let train = |name: &str, more: &[&str]| {
        let run = format!("run_dir={}", folder.path().join(name).display());
        let common = [root.as_str(), &run, "dataset.check_files=none"];
        tiny_run(folder.path(), PROMPTS, &[&common[..], more].concat())
    };
    let skip = "loader.bad_images=skip";
    // Those to be scored are refused before the first step, those to train on when their step comes.
    let failed = train("fails", &[]);
    assert_fails(&failed, 3, &["val.json: 3 of", "cannot be used; the first is image"]);
    assert!(!folder.path().join("fails").exists());
    let few = train("fails", &[skip, "loader.max_bad_images=2"]);
    assert_fails(&few, 3, &["val.json: 3 of", "more than loader.max_bad_images = 2 allows"]);
    let one = ["~dataset.val", "loader.shuffle=false", "loader.num_workers=1"];
    let failed = train("fails", &one);
    assert_fails(&failed, 3, &["training step 0", "image 1 of 4 (position 0)", ".png"]);

    assert_success(&train("through", &[skip]));
    assert_success(&train("resumed", &[skip, "loader.num_workers=1", "train.max_steps=3"]));
    let resumed = folder.path().join("resumed").display().to_string();
    let more = ["loader.num_workers=3", "train.max_steps=6"];
    assert_success(&sonotune(&[&["train", "--resume", &resumed], &more[..]].concat()));
    let through = folder.path().join("through");
    let file = |run: &Path, name: &str| fs::read(run.join(name)).unwrap();
    let last = "checkpoints/last.safetensors";
    assert!(file(&through, last) == file(Path::new(&resumed), last));

    let skipped = json(&through.join("skipped.json"));
    let (train_images, val_images) = (&skipped["train"], &skipped["val"]);
    assert_eq!(val_images.as_array().unwrap().len(), 3, "{skipped}");
    let listed = train_images.as_array().unwrap().len();
    assert!((1..=3).contains(&listed), "{skipped}");
    assert_eq!(json(&Path::new(&resumed).join("skipped.json"))["train"], *train_images);
    let reasons = skipped.to_string();
    assert!(reasons.contains("cannot read") && reasons.contains("100000x100000"), "{reasons}");
    let summary = json(&through.join("summary.json"));
    assert_eq!(summary["skipped_images"], listed + 3);
    let log = fs::read_to_string(through.join("train.log")).unwrap();
    assert_eq!(log.matches("warning: image skipped: image ").count(), listed + 3, "{log}");

    let run = through.display().to_string();
    let eval = sonotune(&["eval", "--run", &run, "--split", "val", "--json"]);
    assert_success(&eval);
    let record: Value = serde_json::from_slice(&eval.stdout).unwrap();
    assert_eq!(record["skipped"].as_array().unwrap().len(), 3);
    let conditions = record["report"]["conditions"].to_string();
    assert!(conditions.contains("images, which could not be used"), "{conditions}");
    let strict = ["eval", "--run", &run, "--split", "val", "loader.max_bad_images=2"];
    let strict = sonotune(&strict);
    assert_fails(&strict, 3, &["3 images cannot be used, more than loader.max_bad_images = 2"]);
}

#[test]
fn more_threads_than_a_process_can_start_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = tiny_run(folder.path(), PROMPTS, &["loader.num_workers=100000"]);
    assert_fails(&output, 2, &["`loader.num_workers`: expected at most 1024", "got 100000"]);
}

#[test]
fn skipping_contradicts_an_embedding_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = format!("embedding_cache={{dir=\"{}\"}}", folder.path().join("c").display());
    let output = tiny_run(folder.path(), PROMPTS, &["loader.bad_images=skip", &cache]);
    assert_fails(&output, 2, &["`loader.bad_images`", "embedding_cache"]);
}
