//! Training on crops and with scaled images.

use crate::support::{PROMPTS, assert_fails, assert_success, metrics, tiny_run};

/// Crops, many of which show no lesion.
const JITTER: &str = "augment.scale_range=[0.02, 8.0]";

#[test]
fn tasks_learn_from_crops_whatever_is_left_in_them() {
    let folder = tempfile::tempdir().unwrap();
    assert_success(&tiny_run(folder.path(), "type = \"classification\"", &[JITTER]));
    assert_success(&tiny_run(folder.path(), PROMPTS, &[JITTER]));
    let lines = metrics(&folder.path().join("run"));
    let gone = lines.iter().filter_map(|line| line.get("objects_without_pixels")?.as_f64());
    assert!(gone.sum::<f64>() > 0.0, "crops have lost no object: too tame a test\n{lines:?}");
}

#[test]
fn jitter_and_cached_embeddings_are_refused_together() {
    let folder = tempfile::tempdir().unwrap();
    let cache = format!("embedding_cache.dir={:?}", folder.path().join("cache"));
    let output = tiny_run(folder.path(), PROMPTS, &[JITTER, &cache, "backbone.freeze=all"]);
    assert_fails(&output, 2, &["`augment.scale_range`", "`embedding_cache`"]);
    assert!(!folder.path().join("run").exists());
}
