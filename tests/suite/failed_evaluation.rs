//! A failed evaluation loses no steps, and one that would fail is refused before the first step.

use std::fs;

use sonotune_engine::checkpoint;

use crate::support::{
    CLASSIFICATION, Copied, MASK2FORMER, PROMPTS, assert_contains, assert_fails, assert_success,
    json, resume, sonotune, tiny_run,
};

#[test]
fn a_run_whose_evaluation_failed_goes_on_from_the_step_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = Copied::to(&folder.path().join("data"));
    let (root, image) = (data.root(), data.image("val", 0));
    let train = |name: &str| {
        let run = format!("run_dir={}", folder.path().join(name).display());
        let more = ["evaluation.every_steps=3", "evaluation.best_metric=box/mIoU"];
        tiny_run(folder.path(), PROMPTS, &[&[root.as_str(), &run], &more[..]].concat())
    };
    assert_success(&train("through"));

    let whole = fs::read(&image).unwrap();
    // Its header is intact: only decoding it fails.
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle..middle + 40].fill(0x55);
    fs::write(&image, damaged).unwrap();
    let name = image.file_name().unwrap().to_string_lossy().into_owned();
    assert_fails(&train("failed"), 3, &[&name]);
    let last = |run: &str| folder.path().join(run).join("checkpoints").join(checkpoint::LAST);
    let progress = checkpoint::read_progress(&last("failed")).unwrap();
    assert_eq!((progress.step, progress.evaluation_pending), (3, true));

    let run = folder.path().join("failed");
    assert_fails(&resume(&run, &[]), 3, &[&name]);
    assert_eq!(checkpoint::read_progress(&last("failed")).unwrap().step, 3);
    fs::write(&image, &whole).unwrap();
    assert_success(&resume(&run, &[]));
    for name in [checkpoint::LAST, checkpoint::BEST] {
        let file = |run: &str| fs::read(last(run).with_file_name(name)).unwrap();
        assert!(file("through") == file("failed"), "{name} differs");
    }
}

#[test]
fn a_metric_that_the_task_does_not_report_is_refused_with_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let metric = "evaluation.best_metric=center_point/f1";
    let expected = ["`evaluation.best_metric`", "\"center_point/f1\"", "center_point/segm_mAP,"];
    assert_fails(&tiny_run(folder.path(), PROMPTS, &[metric]), 2, &expected);
    assert!(!folder.path().join("run").exists());
    let config = folder.path().join("config.toml").display().to_string();
    let validated = sonotune(&["config", "validate", &config, "--set", metric]);
    assert_fails(&validated, 2, &["1 of 1 configs invalid"]);
    assert_contains(&String::from_utf8_lossy(&validated.stdout), &expected);
    // A metric of a protocol that is not in use.
    let boxes = ["task.evaluation.protocols=[\"box\"]", "evaluation.best_metric=center_point/mIoU"];
    assert_fails(&tiny_run(folder.path(), PROMPTS, &boxes), 2, &["it reports box/segm_mAP,"]);
    // One that needs the size of a pixel, which these images do not have.
    let millimetres = ["evaluation.best_metric=box/hd95_mm"];
    let expected = ["no image of", "`pixel_spacing`", "or use \"box/hd95\""];
    assert_fails(&tiny_run(folder.path(), PROMPTS, &millimetres), 2, &expected);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn tasks_report_the_metrics_that_they_declare() {
    let clicks = format!("{PROMPTS}\nevaluation = {{ protocols = [\"clicks\", \"box\"] }}");
    for task in [CLASSIFICATION, &clicks, MASK2FORMER] {
        let folder = tempfile::tempdir().unwrap();
        let data = Copied::to(&folder.path().join("data"));
        data.edit("val", |file| {
            // Without it, nothing is measured in millimetres.
            for image in file["images"].as_array_mut().unwrap() {
                image["pixel_spacing"] = serde_json::json!([0.2, 0.2]);
            }
        });
        let more = ["train.max_steps=1", &data.root(), "--json"];
        let summary = json(&tiny_run(folder.path(), task, &more));
        let metrics = summary["summary"]["metrics"].as_array().unwrap();
        let reported: Vec<_> = metrics.iter().map(|m| m["name"].as_str().unwrap()).collect();
        assert!(!reported.is_empty());
        let config = folder.path().join("config.toml");
        let declared =
            sonotune_run::config::load(&config, &[]).unwrap().config.task.metric_names().unwrap();
        for name in &reported {
            let fits =
                declared.iter().any(|pattern| sonotune_base::pattern::matches(pattern, name));
            assert!(fits, "{name} is not among {declared:?}");
        }
        for pattern in &declared {
            let fits = reported.iter().any(|name| sonotune_base::pattern::matches(pattern, name));
            assert!(fits, "{pattern} is declared, but not among {reported:?}");
        }
    }
}
