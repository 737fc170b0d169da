//! Conversions that are killed, stopped or lose bytes end in the same files.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sonotune_archive::pack::{Format, pack};
use sonotune_base::seed::Rng;
use sonotune_formats::write::{Numbers, nifti};
use tempfile::TempDir;

use crate::{
    raw_support::{PAIRS, SIDE, assert_same, mask, pairs, picture, snapshot, write_pairs},
    small_disk::SmallDisk,
    support::{assert_fails, assert_success, sonotune},
};

const COUNT: u32 = 300;
/// Slices of the volume.
const PLANES: u32 = 60;

const VOLUMES: &str = r#"
[volumes]
view = "axial"

[volumes.images]
files = "img/*.nii.gz"
key = '([^/]+)\.nii\.gz$'

[[volumes.masks]]
files = "seg/*.nii.gz"
key = '([^/]+)\.nii\.gz$'
decode = { at_least = 128 }
category = 1
"#;

/// Sources, specs, and the output of an undisturbed conversion with one thread.
struct Sources {
    folder: TempDir,
}

impl Sources {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, what: &str, out: &Path, threads: usize) -> Vec<String> {
        let spec = self.path(&format!("{what}.toml"));
        let source = self.path(if what == "zipped" { "zipped.zip" } else { what });
        let paths = [spec, source, out.to_owned()].map(|path| path.display().to_string());
        let mut arguments = vec!["data".to_owned(), "convert".to_owned()];
        arguments.extend(paths);
        arguments.extend(["--threads".to_owned(), threads.to_string()]);
        arguments
    }

    fn convert(&self, what: &str, out: &Path, threads: usize) -> std::process::Output {
        let arguments = self.arguments(what, out, threads);
        sonotune(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, what: &str, out: &Path) -> Child {
        Command::new(env!("CARGO_BIN_EXE_sonotune"))
            .args(self.arguments(what, out, 2))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

fn sources() -> &'static Sources {
    static SOURCES: OnceLock<Sources> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let sources = Sources { folder: tempfile::tempdir().unwrap() };
        write_pairs(&sources.path("pairs"), COUNT);
        fs::write(sources.path("pairs.toml"), PAIRS).unwrap();
        fs::write(sources.path("zipped.toml"), PAIRS).unwrap();
        pack(Format::Zip, &pairs(COUNT), &sources.path("zipped.zip")).unwrap();

        let volumes = sources.path("volumes");
        type Draw = fn(u32) -> Vec<u8>;
        for (name, draw) in [("img", picture as Draw), ("seg", mask as Draw)] {
            fs::create_dir_all(volumes.join(name)).unwrap();
            for volume in 0..2 {
                let planes: Vec<u8> = (0..PLANES).flat_map(|i| draw(volume * 100 + i)).collect();
                let path = volumes.join(name).join(format!("{volume}.nii.gz"));
                nifti(&path, &[PLANES as usize, SIDE, SIDE], Numbers::U8(&planes)).unwrap();
            }
        }
        let (head, _) = PAIRS.split_once("[rasters.images]").unwrap();
        fs::write(sources.path("volumes.toml"), format!("{head}{VOLUMES}")).unwrap();

        for what in ["pairs", "zipped", "volumes"] {
            let out = sources.path(&format!("undisturbed-{what}"));
            assert_success(&sources.convert(what, &out, 1));
        }
        sources
    })
}

fn undisturbed(what: &str) -> PathBuf {
    sources().path(&format!("undisturbed-{what}"))
}

fn num_images(out: &Path) -> usize {
    fs::read_dir(out.join("images")).map_or(0, Iterator::count)
}

/// Waits until `out` holds this many images; `false` if the process ended before.
fn wait_for_images(child: &mut Child, out: &Path, count: usize) -> bool {
    let begun = Instant::now();
    while num_images(out) < count {
        assert!(begun.elapsed() < Duration::from_secs(60), "no progress");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Kills ten conversions into one folder, each after a few more images, or after a random
/// time; the last call completes it.
fn kill_and_resume(what: &str, images: usize, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut rng = Rng::at(seed, &[]);
    let mut killed_within = 0;
    for round in 0..10 {
        let mut child = sources().start(what, &out);
        if round % 2 == 0 {
            // Also while it starts, unpacks or pairs.
            std::thread::sleep(Duration::from_micros(rng.below(20_000)));
        } else {
            let there = num_images(&out);
            let count = there + 1 + rng.below(images as u64 / 8) as usize;
            wait_for_images(&mut child, &out, count.min(images));
        }
        child.kill().unwrap();
        if child.wait().unwrap().signal() == Some(9) && num_images(&out) > 0 {
            killed_within += 1;
        }
    }
    assert!(killed_within > 0, "none of 10 was killed at work: the test tests nothing");
    assert_success(&sources().convert(what, &out, 2));
    assert_same(&undisturbed(what), &out);
}

#[test]
fn killed_conversions_of_a_folder_end_in_the_same_bytes() {
    kill_and_resume("pairs", COUNT as usize, 1);
}

#[test]
fn killed_conversions_of_an_archive_end_in_the_same_bytes() {
    kill_and_resume("zipped", COUNT as usize, 2);
}

#[test]
fn killed_conversions_of_volumes_end_in_the_same_bytes() {
    kill_and_resume("volumes", 2 * PLANES as usize, 3);
}

#[test]
fn a_stop_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    // While this process waits for its turn, the other may finish: then try again.
    let (out, output) = (0..TRIES)
        .find_map(|round| {
            let out = folder.path().join(format!("out{round}"));
            let mut child = sources().start("pairs", &out);
            if !wait_for_images(&mut child, &out, 5) {
                return None;
            }
            let terminate = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            assert!(terminate.unwrap().success());
            let output = child.wait_with_output().unwrap();
            (!output.status.success()).then_some((out, output))
        })
        .expect("it was too quick to be stopped");
    assert_fails(&output, 130, &["the same command continues"]);
    let there = num_images(&out);
    assert!(there < COUNT as usize, "it was too quick to be stopped");
    assert!(!out.join("annotations/all.json").exists());
    assert_success(&sources().convert("pairs", &out, 2));
    assert_same(&undisturbed("pairs"), &out);
}

/// How often a conversion that finished too soon is restarted.
const TRIES: usize = 50;

/// A conversion that is killed half way, in its own folder.
fn half_done() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = (0..TRIES)
        .map(|round| folder.path().join(format!("out{round}")))
        .find(|out| {
            let mut child = sources().start("pairs", out);
            wait_for_images(&mut child, out, COUNT as usize / 2);
            child.kill().unwrap();
            child.wait().unwrap();
            !out.join("conversion.json").exists()
        })
        .expect("it was too quick to be killed");
    (folder, out)
}

const JOURNAL: &str = ".conversion.jsonl";

/// File name of the image in a line of the journal.
fn image_of(line: &str) -> String {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap();
    entry["images"][0]["file_name"].as_str().unwrap().to_owned()
}

/// After a power failure a file may be shorter than it was, of the same length and full of zeros,
/// or gone.
#[test]
fn images_that_a_power_loss_damaged_are_written_anew() {
    let (_folder, out) = half_done();
    let journal = fs::read_to_string(out.join(JOURNAL)).unwrap();
    let files: Vec<PathBuf> =
        journal.lines().skip(1).take(4).map(|l| out.join("images").join(image_of(l))).collect();
    let bytes = fs::read(&files[0]).unwrap();
    fs::write(&files[0], &bytes[..bytes.len() / 2]).unwrap();
    fs::write(&files[1], b"").unwrap();
    let length = fs::metadata(&files[2]).unwrap().len() as usize;
    fs::write(&files[2], vec![0; length]).unwrap();
    fs::remove_file(&files[3]).unwrap();
    assert_success(&sources().convert("pairs", &out, 2));
    assert_same(&undisturbed("pairs"), &out);
}

#[test]
fn a_journal_whose_end_is_lost_goes_on() {
    // Within a line, before a line's end, in the first line, all of it.
    let cuts: [fn(&str) -> usize; 4] =
        [|text| text.len() - 20, |text| text.len() - 1, |_| 10, |_| 0];
    for cut in cuts {
        let (_folder, out) = half_done();
        let journal = fs::read_to_string(out.join(JOURNAL)).unwrap();
        // The kill itself may have cut the last line.
        let whole = &journal[..=journal.rfind('\n').unwrap()];
        let at = cut(whole);
        fs::write(out.join(JOURNAL), &whole[..at]).unwrap();
        let resumed = sources().convert("pairs", &out, 2);
        if at > 10 {
            assert_success(&resumed);
            assert_same(&undisturbed("pairs"), &out);
        } else {
            // Nothing says any more whose images these are: the user must decide.
            let before = snapshot(&out);
            assert_fails(&resumed, 2, &["--overwrite", "another folder"]);
            assert!(before == snapshot(&out));
        }
    }
}

/// Garbage in the middle that is not text: the lines before it count.
#[test]
fn a_journal_with_a_block_of_zeros_goes_on() {
    let (_folder, out) = half_done();
    let mut journal = fs::read(out.join(JOURNAL)).unwrap();
    let half = journal.len() / 2;
    journal[half..half + 40].fill(0);
    fs::write(out.join(JOURNAL), journal).unwrap();
    assert_success(&sources().convert("pairs", &out, 2));
    assert_same(&undisturbed("pairs"), &out);
}

#[test]
fn a_full_disk_is_named_and_the_same_command_goes_on() {
    let Some(disk) = SmallDisk::mount(800) else { return };
    let out = disk.path().join("out");
    let full = sources().convert("pairs", &out, 2);
    let place = out.display().to_string();
    assert_fails(&full, 6, &[&place, "disk is full", "bytes", "missing"]);
    assert!(num_images(&out) > 0 && !out.join("annotations/all.json").exists());
    disk.resize(20_000);
    assert_success(&sources().convert("pairs", &out, 2));
    assert_same(&undisturbed("pairs"), &out);
}
