//! From downloads as their sites provide them to models trained on the converted data.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value;
use sonotune_archive::pack::{Format, pack};
use sonotune_base::stop::StopFlag;
use sonotune_coco::{CocoFile, split::By};
use sonotune_curation::{
    convert::Options,
    spec::Choice,
    us43d::{BuildOptions, Built, build, shipped},
};
use sonotune_formats::write::{Numbers, nifti};
use sonotune_testing::Tiny;
use tempfile::TempDir;

use crate::{
    raw_support::{SIDE, disc, mask, picture, png},
    support::{assert_success, eval, sonotune},
};

type Entries = Vec<(String, Vec<u8>)>;

/// Eight benign and eight malignant images, every fourth with a second mask, and normal ones.
fn busi() -> Entries {
    let mut entries = Entries::new();
    for (class, first) in [("benign", 0), ("malignant", 100)] {
        for i in 0..8 {
            let stem = format!("Dataset_BUSI_with_GT/{class}/{class} ({})", i + 1);
            entries.push((format!("{stem}.png"), png(&picture(first + i))));
            entries.push((format!("{stem}_mask.png"), png(&mask(first + i))));
            if i % 4 == 0 {
                let mut second = vec![0; SIDE * SIDE];
                disc(&mut second, (54, 54), 6, 255);
                entries.push((format!("{stem}_mask_1.png"), png(&second)));
            }
        }
    }
    for i in 0..2 {
        let stem = format!("Dataset_BUSI_with_GT/normal/normal ({})", i + 1);
        entries.push((format!("{stem}.png"), png(&picture(300 + i))));
        entries.push((format!("{stem}_mask.png"), png(&vec![0; SIDE * SIDE])));
    }
    entries
}

/// Two images of each of ten patients; patients 1 and 6 are in the first fold.
fn bus_bra() -> Entries {
    let mut entries = Entries::new();
    let mut table = "ID,Case,Histology,Pathology,BIRADS,kFold\n".to_owned();
    for patient in 1..=10_u32 {
        let class = if patient % 2 == 0 { "benign" } else { "malignant" };
        for (side, seed) in [("l", 2 * patient), ("r", 2 * patient + 1)] {
            let id = format!("{patient:04}-{side}");
            entries.push((format!("BUSBRA/Images/bus_{id}.png"), png(&picture(400 + seed))));
            entries.push((format!("BUSBRA/Masks/mask_{id}.png"), png(&mask(400 + seed))));
            let fold = (patient - 1) % 5 + 1;
            table.push_str(&format!("bus_{id},{patient},x,{class},3,{fold}\n"));
        }
    }
    entries.push(("BUSBRA/5-fold-cv.csv".to_owned(), table.into_bytes()));
    entries
}

fn write_stu_hospital(folder: &Path) {
    let folder = folder.join("Hospital");
    fs::create_dir_all(&folder).unwrap();
    for i in 1..=12 {
        fs::write(folder.join(format!("Test_Image_{i}.png")), png(&picture(500 + i))).unwrap();
        fs::write(folder.join(format!("mask_{i}.png")), png(&mask(500 + i))).unwrap();
    }
}

/// A view of two frames of each of six patients, with three structures.
fn camus(scratch: &Path) -> Entries {
    let mut entries = Entries::new();
    let mut volume = |name: &str, planes: &[Vec<u8>]| {
        let path = scratch.join("volume.nii.gz");
        nifti(&path, &[planes.len(), SIDE, SIDE], Numbers::U8(&planes.concat())).unwrap();
        entries.push((name.to_owned(), fs::read(path).unwrap()));
    };
    for patient in 1..=6_u32 {
        let stem =
            format!("database_nifti/patient{patient:04}/patient{patient:04}_2CH_half_sequence");
        let images = [picture(600 + patient), picture(700 + patient)];
        let structures = [0, 4].map(|shift| {
            let mut labels = vec![0; SIDE * SIDE];
            disc(&mut labels, (28 + shift, 30), 18, 2);
            disc(&mut labels, (28 + shift, 30), 11, 1);
            disc(&mut labels, (54, 30), 7, 3);
            labels
        });
        volume(&format!("{stem}.nii.gz"), &images);
        volume(&format!("{stem}_gt.nii.gz"), &structures);
    }
    entries
}

fn build_options() -> BuildOptions {
    BuildOptions {
        only: Vec::new(),
        exclude: Vec::new(),
        choice: Choice::AsIntended,
        convert: Options { threads: Some(2), ..Options::default() },
        val: 0.2,
        by: By::Auto,
        seed: 0,
        min_relative_area: 0.05,
    }
}

struct Dataset {
    folder: TempDir,
    built: Built,
}

impl Dataset {
    fn root(&self) -> PathBuf {
        self.folder.path().join("data/us43d")
    }
}

/// Four datasets, downloaded and built once.
fn dataset() -> &'static Dataset {
    static DATASET: OnceLock<Dataset> = OnceLock::new();
    DATASET.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let downloads = folder.path().join("downloads");
        fs::create_dir(&downloads).unwrap();
        let zip = |name: &str, entries: &Entries| {
            pack(Format::Zip, entries, &downloads.join(name)).unwrap();
        };
        zip("BUSI.zip", &busi());
        zip("BUSBRA.zip", &bus_bra());
        zip("CAMUS_public.zip", &camus(folder.path()));
        write_stu_hospital(&downloads.join("STU-Hospital"));
        let out = folder.path().join("data/us43d");
        let stop = StopFlag::default();
        let built = build(&downloads, &out, &build_options(), &|_| (), &|_| (), &stop).unwrap();
        Dataset { folder, built }
    })
}

fn images(file: &Path) -> CocoFile {
    CocoFile::read(file).unwrap()
}

#[test]
fn four_downloads_become_merged_splits() {
    let dataset = dataset();
    let present: Vec<(&str, usize, usize)> = dataset
        .built
        .datasets
        .iter()
        .filter(|row| row.source.is_some())
        .map(|row| (row.slug, row.images, row.masks))
        .collect();
    let expected =
        [("bus-bra", 20, 20), ("busi", 16, 20), ("camus", 12, 36), ("stu-hospital", 12, 12)];
    assert_eq!(present, expected);
    assert_eq!(dataset.built.datasets.len(), 43);
    let mut total = 0;
    let mut patients = Vec::new();
    for split in ["train", "val", "test"] {
        let file = images(&dataset.root().join(format!("{split}.agnostic.noSmall.coco.json")));
        assert_eq!(file.categories.len(), 1);
        total += file.images.len();
        let datasets: BTreeSet<&str> =
            file.images.iter().filter_map(|i| i.dataset.as_deref()).collect();
        match split {
            // Only the benchmarks' official test sets stay apart.
            "test" => assert_eq!(datasets, BTreeSet::from(["BUSBRA"])),
            _ => assert_eq!(datasets.len(), 4, "{split}: {datasets:?}"),
        }
        for image in &file.images {
            let folder = format!("{}/images/", image.dataset.as_deref().unwrap());
            assert!(image.file_name.starts_with(&folder), "{}", image.file_name);
            assert!(dataset.root().join(&image.file_name).is_file(), "{}", image.file_name);
        }
        let of_split = |i: &sonotune_coco::ImageRecord| {
            Some((i.dataset.clone(), i.provenance.patient.clone()?))
        };
        patients.push(file.images.iter().filter_map(of_split).collect::<BTreeSet<_>>());
    }
    assert_eq!(total, 60);
    assert!(patients.iter().all(|p| !p.is_empty()));
    assert!(patients[0].is_disjoint(&patients[1]), "{patients:?}");
    assert!(patients[0].is_disjoint(&patients[2]) && patients[1].is_disjoint(&patients[2]));
    let test = images(&dataset.root().join("BUSBRA/annotations/test.json"));
    let test: BTreeSet<&str> =
        test.images.iter().filter_map(|i| i.provenance.patient.as_deref()).collect();
    assert_eq!(test, BTreeSet::from(["0001", "0006"]));
}

/// A second build has nothing to do and changes nothing.
#[test]
fn building_again_changes_nothing() {
    let dataset = dataset();
    let file = dataset.root().join("train.agnostic.noSmall.coco.json");
    let image = images(&file).images[0].file_name.clone();
    let image = dataset.root().join(image);
    let modified = || fs::metadata(&image).unwrap().modified().unwrap();
    let (before, time) = (fs::read(&file).unwrap(), modified());
    let downloads = dataset.folder.path().join("downloads");
    let stop = StopFlag::default();
    build(&downloads, &dataset.root(), &build_options(), &|_| (), &|_| (), &stop).unwrap();
    assert!(before == fs::read(&file).unwrap());
    assert_eq!(time, modified());
}

/// A tiny backbone, the settings for a few training steps, and the tables of `more`.
fn write_config(folder: &Path, name: &str, out_channels: u32, more: &str) -> PathBuf {
    let tiny = Tiny::run(folder).without("dataset").with(more);
    let tiny = tiny.set(&format!("backbone.out_channels={out_channels}"));
    let run_dir = folder.join(name).display().to_string();
    let tiny = tiny.set("logging.num_images=1").set(&format!("run_dir={run_dir:?}"));
    tiny.write_to(&folder.join(format!("{name}.toml")))
}

/// Trains, then scores the test split; the metrics by name, all of them numbers.
fn train_and_test(folder: &Path, name: &str, config: &Path) -> Value {
    assert_success(&sonotune(&["train", &config.display().to_string()]));
    eval(&folder.join(name), "test")
}

fn metric(record: &Value, name: &str) -> f64 {
    let metrics = record["report"]["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name);
    let value = metric.and_then(|metric| metric["value"].as_f64());
    value.unwrap_or_else(|| panic!("no number for {name} in {record:#}"))
}

#[test]
fn the_merged_set_trains_the_promptable_task() {
    let root = dataset().root();
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        r#"
[dataset]
type = "coco"
root = "{}"
train = "train.agnostic.noSmall.coco.json"
val = "val.agnostic.noSmall.coco.json"
test = "test.agnostic.noSmall.coco.json"
keep_empty = false
[task]
type = "sam_prompt"
convention = "ultrasam"
decoder = {{ num_heads = 2, mlp_dim = 32 }}
[train]
max_steps = 6
[evaluation]
best_metric = "center_point/segm_mAP"
"#,
        root.display()
    );
    let config = write_config(folder.path(), "prompts", 32, &more);
    let record = train_and_test(folder.path(), "prompts", &config);
    for name in ["center_point/segm_mAP", "box/segm_mAP"] {
        assert!((0.0..=1.0).contains(&metric(&record, name)), "{record:#}");
    }
    assert_eq!(record["num_objects"], 4, "{record:#}");
}

#[test]
fn a_converted_dataset_trains_the_classification() {
    let folder = tempfile::tempdir().unwrap();
    // The shipped config, with the folder that was built here.
    let shipped = config_text("base/dataset-bus-bra.toml");
    let root = dataset().root().join("BUSBRA").display().to_string();
    let table = shipped.replace("data/us43d/BUSBRA", &root);
    assert_ne!(shipped, table);
    let more = format!(
        "{table}\n[task]\ntype = \"classification\"\n[train]\nmax_steps = 6\n[evaluation]\n\
         best_metric = \"f1\"\n"
    );
    let config = write_config(folder.path(), "classes", 0, &more);
    let record = train_and_test(folder.path(), "classes", &config);
    assert!((0.0..=1.0).contains(&metric(&record, "f1")), "{record:#}");
}

fn config_text(relative: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(relative);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `"…"` within the brackets after `key = [`.
fn listed(text: &str, key: &str) -> Vec<String> {
    let (_, list) = text.split_once(&format!("{key} = [")).unwrap();
    let (list, _) = list.split_once(']').unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn shipped_configs_name_what_is_built() {
    let specs: Vec<_> =
        shipped().iter().map(|shipped| shipped.spec(&Choice::AsIntended).unwrap()).collect();
    assert_eq!(specs.len(), 43);
    for slug in ["bus-bra", "gist514-db", "mmotu-2d"] {
        let text = config_text(&format!("base/dataset-{slug}.toml"));
        let spec = sonotune_curation::us43d::find(slug).unwrap().spec(&Choice::AsIntended).unwrap();
        assert!(text.contains(&format!("root = \"data/us43d/{}\"", spec.name)), "{slug}: {text}");
        assert!(spec.benchmark, "{slug} needs its official test set");
        let classes: BTreeSet<String> = spec.categories.iter().map(|c| c.name.clone()).collect();
        let wanted = listed(&text, "categories");
        assert_eq!(BTreeSet::from_iter(wanted), classes, "{slug}");

        let zero_shot = config_text(&format!("us43d/ultrasam-zero-shot-{slug}.toml"));
        let patterns = listed(&zero_shot, "exclude");
        let excluded = |name: &str| {
            let image = format!("{name}/images/{name}__1.png");
            patterns
                .iter()
                .filter(|pattern| sonotune_base::pattern::matches(pattern, &image))
                .count()
        };
        for pattern in &patterns {
            let image_of = |name: &str| format!("{name}/images/{name}__1.png");
            let hits = specs
                .iter()
                .filter(|s| sonotune_base::pattern::matches(pattern, &image_of(&s.name)));
            assert_eq!(hits.count(), 1, "{slug}: {pattern} names one dataset");
        }
        // All that show the organ are left out, and nothing else.
        for other in &specs {
            let same_organ = other.application == spec.application;
            assert_eq!(excluded(&other.name), usize::from(same_organ), "{slug}: {}", other.name);
        }
    }
}
