//! The hostile files of `tests/fixtures/hostile`: each is passed to the function that is fuzzed with it,
//! and is refused for the right reason. Files that would be large are generated here, and read by the
//! program under a limit on its memory.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::Result;
use serde_json::{self, json};
use sonotune_base::seed::Rng;
use sonotune_base::{
    ErrorKind,
    image_io::{DecodeOptions, decode_file},
};
use sonotune_dataset::{DatasetConfig, Split};
use sonotune_weights as weights;

use crate::support::{assert_fails, fixture};

#[allow(unreachable_pub, dead_code)]
#[path = "../../fuzz/src/engine_targets/mod.rs"]
mod engine_targets;
#[allow(unreachable_pub, dead_code)]
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

fn files_of(target: &str) -> Vec<PathBuf> {
    let folder = fixture(&format!("hostile/{target}"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Findings of the fuzzer stay fixed: no panic, no failed assertion.
#[test]
fn every_hostile_file_passes_through_its_fuzz_target() {
    for (name, target) in targets::ALL.iter().chain(engine_targets::ALL) {
        let files = files_of(name);
        assert!(!files.is_empty(), "{name}");
        for file in files {
            eprintln!("{}", file.display());
            target(&std::fs::read(&file).unwrap());
        }
    }
}

/// A truncated file may be read by accident, but it must not cause a panic.
#[test]
fn small_files_cut_off_anywhere_pass_through_their_fuzz_targets() {
    for (name, target) in targets::ALL.iter().chain(engine_targets::ALL) {
        let good: Vec<_> = files_of(name)
            .into_iter()
            .filter(|file| file.file_name().unwrap().to_string_lossy().contains("good"))
            .collect();
        for file in good {
            let bytes = std::fs::read(&file).unwrap();
            // Every byte of the head and of the tail, where the structure is.
            let ends = (0..bytes.len()).filter(|end| *end < 200 || bytes.len() - end < 100);
            ends.for_each(|end| target(&bytes[..end]));
        }
    }
}

/// Random changes, as from a fuzzer without coverage. `SONOTUNE_HOSTILE_ROUNDS` sets their number.
#[test]
fn hostile_files_with_bytes_changed_pass_through_their_fuzz_targets() {
    let rounds = std::env::var("SONOTUNE_HOSTILE_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds: u64 = rounds.unwrap_or(60);
    let only = std::env::var("SONOTUNE_HOSTILE_TARGET").ok();
    let all = targets::ALL.iter().chain(engine_targets::ALL).enumerate();
    for (number, (name, target)) in all.filter(|(_, (n, _))| only.as_ref().is_none_or(|o| o == n)) {
        let seeds: Vec<_> = files_of(name).iter().map(|f| std::fs::read(f).unwrap()).collect();
        for round in 0..rounds {
            let mut rng = Rng::at(17, &[number as u64, round]);
            let mut bytes = seeds[rng.below(seeds.len() as u64) as usize].clone();
            for _ in 0..=rng.below(4) {
                change(&mut bytes, &seeds, &mut rng);
            }
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned();
            assert!(outcome.is_ok(), "{name}, round {round}: {shown:?}");
        }
    }
}

/// Overwrites, cuts, repeats, or inserts a part of another file.
fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    let place = |rng: &mut Rng, len: usize| rng.below(len as u64 + 1) as usize;
    let at = place(rng, bytes.len());
    match rng.below(6) {
        0 => bytes.truncate(at),
        1 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
        3 => {
            let value = [0x00, 0xff, 0x7f, 0x80][rng.below(4) as usize];
            let end = (at + 1 + rng.below(8) as usize).min(bytes.len());
            bytes[at..end].fill(value);
        }
        4 => {
            let digits: &[u8] =
                [&b"-1"[..], b"1e308", b"4294967296", b"null", b"[", b"{"][rng.below(6) as usize];
            bytes.splice(at..at, digits.iter().copied());
        }
        _ => {
            let other = &seeds[rng.below(seeds.len() as u64) as usize];
            let from = place(rng, other.len());
            let to = (from + rng.below(64) as usize).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
    }
}

fn open_weights(path: &Path) -> Result<()> {
    let file = weights::open(path)?;
    file.entries().iter().try_for_each(|entry| file.read(&entry.name).map(drop))
}

fn open_coco(path: &Path) -> Result<()> {
    let table = json!({ "type": "coco", "train": path, "check_files": "none" });
    let config: Box<dyn DatasetConfig> = serde_json::from_value(table)?;
    let dataset = config.open(Split::Train)?;
    for record in &dataset.records {
        for object in &record.objects {
            // With 2³² pixels or more it is refused where it is used.
            let _ = object.segmentation.rasterize(record.size.unwrap_or((4, 4)), object.bbox);
        }
    }
    Ok(())
}

fn open_image(path: &Path) -> Result<()> {
    decode_file(path, DecodeOptions { exif: true, max_pixels: 100_000_000 }).map(drop)
}

type Open = fn(&Path) -> Result<()>;
type Said = (&'static str, &'static str);

/// File, and the text that its error must contain; if empty, the file is accepted.
const REFUSED: &[(&str, ErrorKind, Open, &[Said])] = &[
    (
        "torch_pth",
        ErrorKind::Weights,
        open_weights,
        &[
            ("shape_2_62.pth", "its size overflows"),
            ("shape_product.pth", "its size overflows"),
            ("shape_product_hidden.pth", "its size overflows"),
            ("shape_negative.pth", "negative size"),
            ("shape_beyond_64_bits.pth", "holds a non-integer"),
            ("shape_no_numbers.pth", "holds a non-integer"),
            ("stride_negative.pth", "negative strides"),
            ("stride_2_62.pth", "overflows"),
            ("strides_too_few.pth", "1 strides for 2 dimensions"),
            ("offset_2_62.pth", "a storage of 16"),
            ("offset_negative.pth", "storage offset is -1"),
            ("behind_the_storage.pth", "number 16 of a storage of 16"),
            ("expanded.pth", "expands 64 stored bytes"),
            ("storage_missing.pth", "its storage 9 is not in the file"),
            ("storage_beyond_view.pth", "bad offset or size"),
            ("storage_complex.pth", "it holds no tensor"),
            ("dimensions_65.pth", "has 65 numbers"),
            ("arguments_missing.pth", "0 arguments, expected at least 4"),
            ("two_pickles.pth", "several data.pkl"),
            ("entry_twice.pth", "its storage 0 is not in the file"),
            ("zip_in_zip.pth", "in data.pkl"),
            ("path_outside.pth", ""),
            ("torchscript.pth", "TorchScript"),
            ("cut.pth", "is the file cut off?"),
            ("directory_elsewhere.pth", "zip"),
            ("good.pth", ""),
            ("name_with_nul.pth", ""),
            ("call_os_system.pth", ""),
            ("call_eval.pth", ""),
            ("call_getattr.pth", ""),
            ("call_build.pth", ""),
            ("call_instance.pth", ""),
            ("call_object.pth", ""),
            ("call_stack_global.pth", ""),
        ],
    ),
    (
        "safetensors",
        ErrorKind::Weights,
        open_weights,
        &[
            ("overlap.safetensors", "invalid offset for tensor `b`"),
            ("same_place.safetensors", "invalid offset for tensor"),
            ("gap.safetensors", "invalid offset for tensor `b`"),
            ("behind_the_end.safetensors", "invalid offset"),
            ("offset_2_62.safetensors", "invalid offset"),
            ("backwards.safetensors", "invalid offset"),
            ("shape_2_62.safetensors", "overflow"),
            ("shape_product.safetensors", "overflow"),
            ("shape_product_hidden.safetensors", "overflow"),
            ("shape_beyond_64_bits.safetensors", "in the JSON header"),
            ("shape_negative.safetensors", "in the JSON header"),
            ("shape_nan.safetensors", "in the JSON header"),
            ("shape_1e400.safetensors", "in the JSON header"),
            ("size_differs.safetensors", "invalid shape, data type, or offset"),
            ("dimensions_65.safetensors", "65 dimensions"),
            ("dtype_unknown.safetensors", "F31"),
            ("metadata_no_text.safetensors", "in the JSON header"),
            ("nothing.safetensors", "it holds no tensor"),
            ("not_utf8.safetensors", "in the JSON header"),
            ("deep.safetensors", "in the JSON header"),
            ("header_2_63.safetensors", "claims 9223372036854775808 bytes"),
            ("header_longer.safetensors", "claims 4096 bytes"),
            ("header_100_mb.safetensors", "claims 99999999 bytes"),
            ("header_list.safetensors", "its kind is unknown"),
            ("name_with_nul.safetensors", ""),
            ("good.safetensors", ""),
        ],
    ),
    (
        "coco_dataset",
        ErrorKind::Data,
        open_coco,
        &[
            ("size_1e400.json", "images[0] (id 1): `height`: number out of range"),
            ("size_nan.json", "images[0] (id 1): `height`: invalid value: NaN"),
            ("size_2_64.json", "images[0]"),
            ("size_huge.json", ""),
            ("area_1e400.json", "annotations[0] (id 1): `area`: number out of range"),
            ("area_of_huge_polygon.json", "annotations[0] (id 1): area"),
            ("box_of_huge_polygon.json", "annotations[0] (id 1): bbox"),
            ("polygon_1e400.json", "annotations[0] (id 1): `segmentation`: number out of range"),
            ("counts_beyond_64_bits.json", "annotations[0] (id 1): segmentation: RLE counts"),
            ("counts_sum_overflows.json", "annotations[0] (id 1)"),
            ("size_of_mask_2_32.json", "annotations[0]"),
            ("size_of_mask_0.json", "annotations[0] (id 1)"),
            ("deep_segmentation.json", "annotations[0]"),
            ("key_twice.json", "duplicate field `area`"),
            ("list_twice.json", "duplicate field `images`"),
            ("lone_surrogate.json", "images[0]"),
            ("not_utf8.json", "categories[0]"),
            ("id_128_bits.json", "128 bits"),
            ("polygon_1e308.json", ""),
            ("polygon_1e9.json", ""),
            ("box_1e308.json", ""),
            ("counts_of_4_gigapixels.json", ""),
            ("deep_extra.json", ""),
            ("good.json", ""),
        ],
    ),
    (
        "images",
        ErrorKind::Data,
        open_image,
        &[
            ("png_10_gigapixels", "10000000000 pixels, the limit is 100000000"),
            ("png_2_31", "image"),
            ("png_no_pixels", "image"),
            ("png_short_data", "image"),
            ("bmp_10_gigapixels", "image"),
            ("bmp_negative", "image"),
            ("bmp_lowest", "image"),
            ("tiff_10_gigapixels", "image"),
            ("tiff_2_32", "image"),
            ("tiff_strips", "image"),
            ("tiff_loops", "image"),
            ("jpeg_4_gigapixels", "4290250000 pixels, the limit is 100000000"),
            ("jpeg_no_rows", "image"),
            ("webp_largest", "image"),
        ],
    ),
];

#[test]
fn every_hostile_file_is_refused_for_its_reason_with_its_name() {
    let mut wrong = Vec::new();
    for (target, kind, open, files) in REFUSED {
        for (name, words) in *files {
            let path = fixture(&format!("hostile/{target}/{name}"));
            match (words.is_empty(), open(&path)) {
                (true, Ok(())) => {}
                (true, Err(error)) => wrong.push(format!("{target}/{name}: {error:#}")),
                (false, Ok(())) => wrong.push(format!("{target}/{name} is accepted")),
                (false, Err(error)) => {
                    let text = format!("{error:#}");
                    let found =
                        error.downcast_ref::<sonotune_base::Error>().map(|error| error.kind);
                    if found != Some(*kind) || !text.contains(words) || !text.contains(name) {
                        wrong.push(format!("{target}/{name}: {found:?}, {text}"));
                    }
                }
            }
        }
    }
    // Files that the calls in pickles would have created.
    assert!(!Path::new("witness").exists());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The program with at most this many megabytes of address space.
fn limited(megabytes: u64, args: &[&str]) -> Output {
    Command::new("sh")
        .args(["-c", "ulimit -v $0; exec \"$@\"", &(megabytes << 10).to_string()])
        .arg(env!("CARGO_BIN_EXE_sonotune"))
        .args(args)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

/// Address space beyond what the libraries and their threads take before a file is read.
const MEGABYTES: u64 = 768;

/// Address space that the program takes to list its commands.
fn megabytes_at_rest() -> u64 {
    (1..64)
        .map(|step| step * 256)
        .find(|&megabytes| limited(megabytes, &["list"]).status.success())
        .expect("the program runs within 16 GB")
}

/// `count` values, each within the one before.
fn nested(open: &str, close: &str, count: usize) -> String {
    open.repeat(count) + &close.repeat(count)
}

fn legacy_pickle(object: &[u8]) -> Vec<u8> {
    let start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
    [start, object, b".\x80\x02]."].concat()
}

/// A zip of a few kilobytes whose pickle creates 15 million values and discards them.
fn zip_bomb(path: &Path) {
    let pickle = b"N0".repeat(15_000_000);
    let entries = [("a/data.pkl".to_owned(), pickle)];
    sonotune_archive::pack::pack(sonotune_archive::pack::Format::Zip, &entries, path).unwrap();
}

#[test]
fn large_files_of_nothing_are_refused_within_their_memory() {
    let folder = tempfile::tempdir().unwrap();
    let limit = megabytes_at_rest() + MEGABYTES;
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path.display().to_string()
    };
    let coco = |segmentation: &str| {
        format!(
            "{{\"images\": [{{\"id\": 1, \"file_name\": \"a\", \"height\": 9, \"width\": 9}}], \
             \"annotations\": [{{\"id\": 1, \"image_id\": 1, \"category_id\": 1, \
             \"segmentation\": {segmentation}}}], \"categories\": [{{\"id\": 1, \"name\": \"a\"}}]}}"
        )
    };
    let found = put("found.json", b"[]");

    let tuples = [b")".as_slice(), &b"\x85".repeat(1_000_000)].concat();
    let tuples = put("tuples.pth", &legacy_pickle(&tuples));
    assert_fails(
        &limited(limit, &["weights", "inspect", &tuples]),
        4,
        &["tuples.pth", "no tensor"],
    );

    let bomb = folder.path().join("bomb.pth");
    zip_bomb(&bomb);
    let bomb = bomb.display().to_string();
    assert_fails(&limited(limit, &["weights", "inspect", &bomb]), 4, &["bomb.pth", "in data.pkl"]);

    let header = format!("{{\"__metadata__\": {{\"a\": {}}}}}", nested("[", "]", 500_000));
    let header = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let header = put("deep.safetensors", &header);
    let inspected = limited(limit, &["weights", "inspect", &header]);
    assert_fails(&inspected, 4, &["deep.safetensors", "in the JSON header"]);

    let deep = put("deep.json", coco(&nested("[", "]", 500_000)).as_bytes());
    let scored = limited(limit, &["coco-eval", &deep, &found]);
    assert_fails(&scored, 3, &["deep.json", "annotations[0]"]);
    let out = folder.path().join("out.json").display().to_string();
    assert_fails(&limited(limit, &["data", "filter", &deep, "--out", &out]), 3, &["deep.json"]);

    let name = "n".repeat(1 << 20);
    let named = coco("[]").replace("\"name\": \"a\"", &format!("\"name\": \"{name}\""));
    let named = put("named.json", named.replace("\"segmentation\"", "\"bbox\"").as_bytes());
    assert_fails(&limited(limit, &["coco-eval", &named, &found]), 3, &["named.json", "bbox"]);

    let keys = put("keys.toml", vec!["a"; 1_000_000].join(".").as_bytes());
    assert_fails(&limited(limit, &["config", "show", &keys]), 2, &["keys.toml:1"]);
    let arrays = put("arrays.toml", format!("a = {}", nested("[", "]", 1_000_000)).as_bytes());
    assert_fails(&limited(limit, &["config", "show", &arrays]), 2, &["arrays.toml:1"]);
}
