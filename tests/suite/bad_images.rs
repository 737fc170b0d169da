//! Complete runs over images of which some cannot be used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{
    Copied, PROMPTS, assert_fails, assert_success, eval, last, read_json, resume, sonotune,
    tiny_run,
};

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
    let (through, resumed) = (folder.path().join("through"), folder.path().join("resumed"));
    assert_success(&resume(&resumed, &["loader.num_workers=3", "train.max_steps=6"]));
    assert!(last(&through) == last(&resumed));

    let skipped = read_json(&through.join("skipped.json"));
    let (train_images, val_images) = (&skipped["train"], &skipped["val"]);
    assert_eq!(val_images.as_array().unwrap().len(), 3, "{skipped}");
    let listed = train_images.as_array().unwrap().len();
    assert!((1..=3).contains(&listed), "{skipped}");
    assert_eq!(read_json(&resumed.join("skipped.json"))["train"], *train_images);
    let reasons = skipped.to_string();
    assert!(reasons.contains("cannot read") && reasons.contains("100000x100000"), "{reasons}");
    let summary = read_json(&through.join("summary.json"));
    assert_eq!(summary["skipped_images"], listed + 3);
    let log = fs::read_to_string(through.join("train.log")).unwrap();
    assert_eq!(log.matches("warning: image skipped: image ").count(), listed + 3, "{log}");

    let record = eval(&through, "val");
    assert_eq!(record["skipped"].as_array().unwrap().len(), 3);
    let conditions = record["report"]["conditions"].to_string();
    assert!(conditions.contains("images, which could not be used"), "{conditions}");
    let run = through.display().to_string();
    let strict = ["eval", "--run", &run, "--split", "val", "loader.max_bad_images=2"];
    let strict = sonotune(&strict);
    assert_fails(&strict, 3, &["3 images cannot be used, more than loader.max_bad_images = 2"]);
}

#[test]
fn settings_of_the_loader_that_cannot_work_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = format!("embedding_cache={{dir=\"{}\"}}", folder.path().join("c").display());
    for (more, parts) in [
        // More threads than a process can start.
        (
            &["loader.num_workers=100000"][..],
            ["`loader.num_workers`: expected at most 1024", "got 100000"],
        ),
        (&["loader.bad_images=skip", &cache], ["`loader.bad_images`", "embedding_cache"]),
    ] {
        assert_fails(&tiny_run(folder.path(), PROMPTS, more), 2, &parts);
    }
}
