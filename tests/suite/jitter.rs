//! Training on crops and with scaled images.

use crate::support::{PROMPTS, assert_fails, assert_success, tiny_run};

/// Crops, many of which show no lesion.
const JITTER: &str = "augment.scale_range=[0.02, 8.0]";

#[test]
fn tasks_learn_from_crops_whatever_is_left_in_them() {
    let folder = tempfile::tempdir().unwrap();
    assert_success(&tiny_run(folder.path(), "type = \"classification\"", &[JITTER]));
    assert_success(&tiny_run(folder.path(), PROMPTS, &[JITTER]));
    let text = std::fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let gone: f64 = lines.filter_map(|l| l["objects_without_pixels"].as_f64()).sum();
    assert!(gone > 0.0, "crops have lost no object: too tame a test\n{text}");
}

#[test]
fn jitter_and_cached_embeddings_are_refused_together() {
    let folder = tempfile::tempdir().unwrap();
    let cache = format!("embedding_cache.dir={:?}", folder.path().join("cache"));
    let output = tiny_run(folder.path(), PROMPTS, &[JITTER, &cache, "backbone.freeze=all"]);
    assert_fails(&output, 2, &["`augment.scale_range`", "`embedding_cache`"]);
    assert!(!folder.path().join("run").exists());
}
