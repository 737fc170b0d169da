//! Folders in place of files: the Hugging Face cache, downloads, and shards that an index joins.

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use sonotune_base::seed::Rng;
use sonotune_weights as weights;
use tch::{Kind, Tensor};
use weights::{BaseFile, Inspection};

/// Two tensors of a ViT, filled with `value`, as a file.
fn save(path: &Path, value: f64) {
    let full = |shape: &[i64]| Tensor::full(shape, value, (Kind::Float, tch::Device::Cpu));
    let tensors =
        [("patch_embed.weight".to_owned(), full(&[2, 3])), ("norm.bias".to_owned(), full(&[4]))];
    weights::save_safetensors(path, &tensors, &BTreeMap::new()).unwrap();
}

/// A file of one tensor.
fn shard(path: &Path, name: &str, value: f64) {
    let tensor = Tensor::full([2, 2], value, (Kind::Float, tch::Device::Cpu));
    weights::save_safetensors(path, &[(name.to_owned(), tensor)], &BTreeMap::new()).unwrap();
}

fn error(path: &Path) -> String {
    format!("{:#}", weights::open(path).unwrap_err())
}

/// The layout that `huggingface_hub` makes: links of a snapshot to blobs, named by their hash.
fn cached(cache: &Path, commits: &[&str]) -> std::path::PathBuf {
    let folder = cache.join("models--org--name");
    for part in ["blobs", "refs"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    for (number, commit) in commits.iter().enumerate() {
        let snapshot = folder.join("snapshots").join(commit);
        fs::create_dir_all(&snapshot).unwrap();
        let blob = format!("blob{number}");
        save(&folder.join("blobs").join(&blob), number as f64);
        symlink(format!("../../blobs/{blob}"), snapshot.join("model.safetensors")).unwrap();
    }
    folder
}

#[test]
fn a_folder_of_the_cache_leads_to_the_snapshot_of_main() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cached(cache.path(), &["aaa", "bbb"]);
    let message = error(&folder);
    assert!(
        message.contains("no refs/main and several snapshots") && message.contains("aaa, bbb"),
        "{message}"
    );

    fs::write(folder.join("refs/main"), "bbb").unwrap();
    let file = weights::open(&folder).unwrap();
    assert!(file.path().ends_with("snapshots/bbb/model.safetensors"), "{:?}", file.path());
    assert_eq!(f64::try_from(file.read("norm.bias").unwrap().mean(Kind::Float)).unwrap(), 1.0);
    // The hash is that of the content, whatever the path to it is.
    let blob = BaseFile::of(&folder.join("blobs/blob1")).unwrap();
    let found = BaseFile::of(&folder).unwrap();
    assert_eq!((found.sha256, found.bytes), (blob.sha256, blob.bytes));
    assert_eq!(found.name, "model.safetensors");

    let snapshot = weights::open(&folder.join("snapshots/aaa")).unwrap();
    assert_eq!(f64::try_from(snapshot.read("norm.bias").unwrap().mean(Kind::Float)).unwrap(), 0.0);
    weights::check_present(&folder).unwrap();
}

#[test]
fn an_incomplete_cache_says_what_to_download() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cached(cache.path(), &["aaa"]);
    weights::open(&folder).unwrap();
    fs::write(folder.join("refs/main"), "ccc").unwrap();
    assert!(error(&folder).contains("names commit ccc"), "{}", error(&folder));
    fs::write(folder.join("refs/main"), "../../elsewhere").unwrap();
    assert!(error(&folder).contains("expected a commit"), "{}", error(&folder));
    fs::write(folder.join("refs/main"), "aaa\n").unwrap();
    fs::remove_file(folder.join("blobs/blob0")).unwrap();
    let message = error(&folder);
    assert!(
        message.contains("`hf download org/name model.safetensors --revision aaa`"),
        "{message}"
    );
}

#[test]
fn a_folder_gives_the_first_known_name_or_its_only_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(error(path).contains("it is empty"), "{}", error(path));
    fs::write(path.join("training_args.bin"), "no weights").unwrap();
    assert!(error(path).contains("it holds training_args.bin"), "{}", error(path));
    save(&path.join("first.pt"), 1.0);
    assert!(weights::open(path).unwrap().path().ends_with("first.pt"));
    save(&path.join("second.pt"), 2.0);
    let message = error(path);
    assert!(message.contains("several files of weights, first.pt, second.pt"), "{message}");
    save(&path.join("pytorch_model.bin"), 3.0);
    assert!(weights::open(path).unwrap().path().ends_with("pytorch_model.bin"));
    save(&path.join("model.safetensors"), 4.0);
    assert!(weights::open(path).unwrap().path().ends_with("model.safetensors"));
}

fn index(folder: &Path, map: &[(&str, &str)]) {
    let map: BTreeMap<_, _> = map.iter().copied().collect();
    let json = serde_json::json!({ "metadata": { "total_size": 32 }, "weight_map": map });
    fs::write(folder.join("model.safetensors.index.json"), json.to_string()).unwrap();
}

#[test]
fn shards_are_one_state_dict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (one, two) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    shard(&path.join(one), "model.a.weight", 1.0);
    index(path, &[("model.a.weight", one), ("model.b.weight", two)]);
    let message = error(path);
    assert!(message.contains("1 of its 2 shards are not in") && message.contains(two), "{message}");

    shard(&path.join(two), "model.b.weight", 2.0);
    let file = weights::open(path).unwrap();
    assert_eq!(file.entries().len(), 2);
    for (name, value) in [("model.a.weight", 1.0), ("model.b.weight", 2.0)] {
        assert_eq!(f64::try_from(file.read(name).unwrap().mean(Kind::Float)).unwrap(), value);
    }
    let inspection = Inspection::of(&file);
    let sizes = [one, two].map(|name| fs::metadata(path.join(name)).unwrap().len());
    assert_eq!((inspection.shards.len(), inspection.file_bytes), (2, sizes[0] + sizes[1]));
    let narrowed = weights::open_state_dict(path, Some("model")).unwrap();
    assert_eq!(f64::try_from(narrowed.read("b.weight").unwrap().mean(Kind::Float)).unwrap(), 2.0);

    // The identity covers every shard.
    let before = BaseFile::of(path).unwrap();
    assert_eq!(before.bytes, sizes[0] + sizes[1]);
    shard(&path.join(two), "model.b.weight", 3.0);
    assert_ne!(BaseFile::of(path).unwrap().sha256, before.sha256);
}

#[test]
fn an_index_that_does_not_describe_its_shards_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    shard(&path.join("a.safetensors"), "a", 1.0);
    shard(&path.join("b.safetensors"), "a", 2.0);
    for (map, word) in [
        (&[("a", "../a.safetensors")][..], "expected the name of a file in the same folder"),
        (&[("a", "/etc/passwd")], "expected the name of a file in the same folder"),
        (&[("a", "sub/a.safetensors")], "expected the name of a file in the same folder"),
        (&[("a", "")], "expected the name of a file in the same folder"),
        (&[], "names no tensor"),
        (&[("a", "a.safetensors"), ("c", "b.safetensors")], "b.safetensors lacks 1 tensor"),
    ] {
        index(path, map);
        assert!(error(path).contains(word), "{map:?}: {}", error(path));
    }
    index(path, &[("a", "a.safetensors"), ("x", "b.safetensors")]);
    let both = tempfile::tempdir().unwrap();
    for (name, tensor) in [("a.safetensors", "a"), ("b.safetensors", "b")] {
        let tensors = ["shared", tensor]
            .map(|name| (name.to_owned(), Tensor::zeros([1], (Kind::Float, tch::Device::Cpu))));
        weights::save_safetensors(&both.path().join(name), &tensors, &BTreeMap::new()).unwrap();
    }
    index(both.path(), &[("a", "a.safetensors"), ("b", "b.safetensors")]);
    assert!(error(both.path()).contains("hold a tensor `shared`"), "{}", error(both.path()));
    fs::write(path.join("model.safetensors.index.json"), "{}").unwrap();
    assert!(error(path).contains("expected an index of shards"), "{}", error(path));
}

#[test]
fn a_damaged_index_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    shard(&path.join("a.safetensors"), "a", 1.0);
    index(path, &[("a", "a.safetensors")]);
    let file = path.join("model.safetensors.index.json");
    let valid = fs::read(&file).unwrap();
    let mut refused = 0;
    for round in 0..300 {
        let mut rng = Rng::at(5, &[round]);
        let mut bytes = valid.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.below(256) as u8;
        }
        fs::write(&file, bytes).unwrap();
        refused += u32::from(weights::open(path).is_err());
    }
    // Whatever else is in the file does not matter.
    assert!((100..300).contains(&refused), "{refused} of 300 were refused");
}
