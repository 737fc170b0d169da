//! What a new user reads when spec and source do not match.

mod dicom;
mod exports;
mod folders;

use std::{fs, path::Path};

use anyhow::Result;
use sonotune_base::{error::ErrorKind, stop::StopFlag};

mod mask_values;
mod values;

use crate::{
    Pixels,
    convert::{Converted, Options, convert},
    png,
    spec::{Choice, Spec},
};
use sonotune_coco::CocoFile;

const HEAD: &str = r#"name = "MINE"
title = "Mine"
application = "thyroid"
url = "https://example.org"
licence = "CC BY 4.0"
access = "open"
source = ["mine.zip"]
categories = [
    { id = 1, name = "nodule", supercategory = "nodule" },
    { id = 2, name = "cyst", supercategory = "nodule" },
]
"#;
const IMAGES: &str = "
[rasters.images]
files = \"images/*.png\"
key = '/([^/]+)\\.png$'
";
const MASKS: &str = "
[[rasters.masks]]
files = \"masks/*.png\"
key = '/([^/]+)\\.png$'
decode = { values = { 255 = 1 } }
";

struct Source(tempfile::TempDir);

impl Source {
    /// Images and masks named `a` to `d`, with one object each.
    fn of_four() -> Self {
        let source = Self(tempfile::tempdir().unwrap());
        for name in ["a", "b", "c", "d"] {
            source.picture(&format!("images/{name}.png"), 9);
            source.picture(&format!("masks/{name}.png"), 255);
        }
        source
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("source").join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// 4×4 pixels, one of them with this value.
    fn picture(&self, name: &str, value: u8) {
        let mut data = vec![0; 16];
        data[5] = value;
        self.write(name, &png::encode(&Pixels { height: 4, width: 4, channels: 1, data }).unwrap());
    }

    fn rename(&self, from: &str, to: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.path(from), to).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    fn convert(&self, spec: &str) -> Result<Converted> {
        let spec = Spec::parse(spec, "mine.toml", &Choice::AsIntended)?;
        // An earlier failed conversion does not block one with a fixed spec.
        let options = Options { overwrite: true, ..Options::default() };
        let out: &Path = &self.0.path().join("out");
        convert(&spec, &self.path(""), out, &options, &|_| {}, &StopFlag::default())
    }

    /// The COCO file that this spec makes of it.
    fn converted(&self, spec: &str) -> CocoFile {
        self.convert(spec).unwrap_or_else(|error| panic!("{error:#}"));
        CocoFile::read(&self.0.path().join("out/annotations/all.json")).unwrap()
    }

    /// The message when this spec is refused because it does not match the source.
    #[track_caller]
    fn refused(&self, spec: &str) -> String {
        let error = self.convert(spec).unwrap_err();
        assert_eq!(
            sonotune_base::error::exit_code(&error),
            ErrorKind::Data.exit_code(),
            "{error:#}"
        );
        format!("{error:#}")
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no `{part}` in\n{message}");
    }
}

fn spec() -> String {
    format!("{HEAD}{IMAGES}{MASKS}")
}

#[test]
fn the_source_itself_converts() {
    let converted = Source::of_four().convert(&spec()).unwrap();
    assert_eq!((converted.images, converted.objects), (4, 4));
}

#[test]
fn a_glob_that_matches_nothing_says_what_is_there() {
    let source = Source::of_four();
    source.write("readme.txt", b"");
    let message = source.refused(&spec().replace("images/*.png", "pictures/*.bmp"));
    says(
        &message,
        &[
            "rasters.images.files = `pictures/*.bmp` matches none of the 9 files",
            "4 like images/a.png",
            "4 like masks/a.png",
            "1 like readme.txt",
        ],
    );
    assert!(!message.contains("would match"), "{message}");
}

#[test]
fn a_glob_that_nearly_matches_says_what_would() {
    let source = Source::of_four();
    for name in ["a", "b", "c", "d"] {
        source.rename(&format!("images/{name}.png"), &format!("Data/images/{name}.PNG"));
    }
    let message = source.refused(&spec());
    says(&message, &["ignoring case, `**/images/*.png` would match 4, like Data/images/a.PNG"]);
    let near = |glob: &str| source.refused(&spec().replace("images/*.png", glob));
    says(&near("Data/images/*.png"), &["ignoring case, `Data/images/*.png` would match 4"]);
    says(&near("images/*.PNG"), &["  `**/images/*.PNG` would match 4, like Data/images/a.PNG"]);
    says(&near("mine/images/*.PNG"), &["`**/images/*.PNG` would match 4"]);
    let message = near("Data/images/*.PNG\"\nnot = \"**/images/*");
    says(&message, &["rasters.images.not excludes all 4 files that rasters.images.files matches"]);
}

#[test]
fn a_key_that_matches_half_says_which() {
    let source = Source::of_four();
    let message = source.refused(&spec().replacen("/([^/]+)\\.png$", "/([ab])\\.png$", 1));
    says(
        &message,
        &[
            "4 rasters.images like images/a.png",
            "2 that match the globs but not the key",
            "images/c.png: rasters.images.files matches it, rasters.images.key `/([ab])\\.png$`",
            "2 without a partner",
            "masks/c.png: no image has its key `c`",
            "--on-problem skip",
        ],
    );
}

#[test]
fn a_wrong_label_map_says_what_was_seen_and_what_is_known() {
    let source = Source::of_four();
    for (name, folder) in [("a", "Benign"), ("b", "Benign"), ("c", "malign"), ("d", "normal")] {
        source.rename(&format!("masks/{name}.png"), &format!("masks/{folder}/{name}.png"));
    }
    let masks = "
[[rasters.masks]]
files = \"masks/*/*.png\"
key = '/([^/]+)\\.png$'
decode = \"nonzero\"
class = { find = 'masks/([^/]+)/', to = { benign = 1, malign = 2 } }
";
    let message = source.refused(&format!("{HEAD}{IMAGES}{masks}"));
    says(
        &message,
        &[
            "labels: 2 `Benign`, 1 `malign`, 1 `normal`",
            "3 with labels that the rule does not list",
            "masks/Benign/a.png: rasters.masks[0].class.to has no entry for the label `Benign` (did \
             you mean `benign`?); it has benign, malign",
            "for the label `normal`;",
        ],
    );
}

#[test]
fn an_unknown_value_says_how_many_pixels_have_it() {
    let source = Source::of_four();
    source.picture("masks/b.png", 128);
    let message = source.refused(&spec());
    says(
        &message,
        &[
            "1 with values that the rule does not list",
            "masks/b.png: masks[0].decode does not know 128 in 1 pixels; it knows 255",
        ],
    );
    let colours = spec().replace("values = { 255 = 1 }", "colors = { \"255,255,255\" = 1 }");
    says(&source.refused(&colours), &["masks/b.png", "128,128,128 in 1 pixels", "255,255,255"]);
}

#[test]
fn a_mask_of_another_size_is_named_with_both_sizes() {
    let source = Source::of_four();
    let mask = Pixels { height: 2, width: 3, channels: 1, data: vec![255; 6] };
    source.write("masks/c.png", &png::encode(&mask).unwrap());
    let message = source.refused(&spec());
    says(&message, &["masks/c.png: 2×3 pixels (height × width), its image has 4×4", "resize"]);
}

#[test]
fn a_missing_partner_is_told_with_the_nearest_key() {
    let source = Source::of_four();
    source.picture("images/patient_017_left.png", 1);
    source.picture("masks/patient_17_left.png", 255);
    source.remove("masks/d.png");
    let message = source.refused(&spec());
    says(
        &message,
        &[
            "3 without a partner",
            "images/patient_017_left.png: no file of rasters.masks[0] has its key \
             `patient_017_left`; the most similar is `patient_17_left`",
            "masks/patient_17_left.png: no image has its key `patient_17_left`; the most similar \
             is `patient_017_left`",
            "images/d.png: no file of rasters.masks[0] has its key `d`",
        ],
    );
}

#[test]
fn two_files_of_one_key_are_both_named() {
    let source = Source::of_four();
    source.picture("masks/more/a.png", 255);
    let message = source.refused(&spec().replace("masks/*.png", "masks/**/*.png"));
    says(
        &message,
        &[
            "1 with a duplicate key",
            "rasters.masks[0]: key `a` is shared by masks/a.png and masks/more/a.png",
            "`duplicates`",
        ],
    );
}

const TABLE: &str = "
[[tables]]
files = \"list.csv\"
format = \"csv\"
key_column = \"image\"
key = '^([^.]+)'
patient = \"patient\"
required = true
";

#[test]
fn tables_tell_their_columns_and_missing_rows() {
    let source = Source::of_four();
    let spec = format!("{HEAD}{TABLE}{IMAGES}{MASKS}");
    source.write("List.csv", b"image,patient\na.png,1\nb.png,1\nc.png,2\n");
    let message = source.refused(&spec);
    says(&message, &["tables[0].files = `list.csv` matches none", "would match 1, like List.csv"]);
    source.rename("List.csv", "list.csv");
    let message = source.refused(&spec);
    says(&message, &["1 without a row", "images/d.png: list.csv has no row for its key `d`"]);
    let message = source.refused(&spec.replace("\"patient\"", "\"Patient\""));
    says(
        &message,
        &["list.csv: no column `Patient` (did you mean \"patient\"?)", "image, patient"],
    );
    let message = source.refused(&spec.replace("'^([^.]+)'", "'^(x[^.]+)'"));
    says(&message, &["no row of list.csv", "`^(x[^.]+)`", "column `image`", "like `a.png`"]);
}

#[test]
fn tables_are_read_as_spreadsheets_save_them_and_must_agree_with_themselves() {
    let source = Source::of_four();
    let tables = TABLE.replace("required = true", "class = \"class\"");
    let masks = MASKS.replace("{ values = { 255 = 1 } }", "\"nonzero\"")
        + "class = { to = { benign = 1, malign = 2 } }\n";
    let spec = format!("{HEAD}{tables}{IMAGES}{masks}");
    let table = "patient;image;class\r\n1;a;benign\r\n1;b;benign\r\n;c;malign\r\n2;d;malign\r\n";
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        [0xff, 0xfe].into_iter().chain(units).collect::<Vec<u8>>()
    };
    // Twice the same is no contradiction, nor is an empty entry.
    let repeated = format!("{table}1;a;benign\r\n;b;\r\n");
    for bytes in [
        table.as_bytes().to_vec(),
        table.replace(';', "\t").into_bytes(),
        utf16(&table.replace(';', "\t")),
        format!("sep=;\r\n{table}").into_bytes(),
        repeated.into_bytes(),
    ] {
        source.write("list.csv", &bytes);
        let file = source.converted(&spec);
        let categories: Vec<_> = file.annotations.iter().map(|a| a.category_id).collect();
        let patients: Vec<_> =
            file.images.iter().map(|image| image.provenance.patient.as_deref()).collect();
        assert_eq!(categories, [1, 1, 2, 2]);
        assert_eq!(patients, [Some("1"), Some("1"), None, Some("2")]);
    }
    for (row, what) in [("1;b;malign", "class"), ("3;b;benign", "patient")] {
        source.write("list.csv", format!("{table}{row}").as_bytes());
        let first = format!("list.csv, line 6: the {what} of `b` is `");
        says(&source.refused(&spec), &[&first, "`, but list.csv, line 3, says `"]);
    }
    source.write("list.csv", b"patient,image,class\nx,a_mask,benign\n");
    let unrelated = "tables[0]: none of its rows is about an image: their keys are like `a_mask`, those of \
                     images like `a`; tables[0].key must give the latter";
    says(&source.refused(&spec), &[unrelated]);
    source.write("list.csv", b"PK\x03\x04");
    says(
        &source.refused(&spec),
        &["list.csv: is a ZIP archive or a spreadsheet", "save a spreadsheet as CSV"],
    );
    source.write("list.csv", b"patient,image,class\n1,a,b\xf6sartig\n");
    says(&source.refused(&spec), &["list.csv, line 2: `b\u{fffd}sartig` is not UTF-8"]);
}

#[test]
fn after_a_spec_that_matches_nothing_the_mended_one_needs_no_overwrite() {
    let source = Source::of_four();
    let out = source.0.path().join("out");
    let run = |text: &str| {
        let spec = Spec::parse(text, "mine.toml", &Choice::AsIntended)?;
        convert(&spec, &source.path(""), &out, &Options::default(), &|_| {}, &StopFlag::default())
    };
    assert!(run(&spec().replace("images/*.png", "nowhere/*.png")).is_err());
    assert_eq!(run(&spec()).unwrap().images, 4);
}

#[test]
fn the_size_of_a_pixel_comes_from_a_table() {
    let source = Source::of_four();
    let table =
        |columns: &str| TABLE.replace("patient = \"patient\"", &format!("spacing = {columns}"));
    let spec = |columns: &str| format!("{HEAD}{}{IMAGES}{MASKS}", table(columns));
    source.write("list.csv", b"image,mm,wide\na,0.069135804,1\nb,.2,2\nc,3e-1,3\nd,,4\n");
    let spacings = |columns: &str| -> Vec<Option<[f64; 2]>> {
        source.converted(&spec(columns)).images.iter().map(|image| image.spacing).collect()
    };
    let both = |mm: f64| Some([mm; 2]);
    assert_eq!(spacings("\"mm\""), [both(0.069_135_804), both(0.2), both(0.3), None]);
    let pairs = [Some([0.069_135_804, 1.0]), Some([0.2, 2.0]), Some([0.3, 3.0]), None];
    assert_eq!(spacings("[\"mm\", \"wide\"]"), pairs);
    let three = source.convert(&spec("[\"mm\", \"wide\", \"mm\"]")).unwrap_err();
    says(&format!("{three:#}"), &["tables[0].spacing names 3 columns: expected one, or two"]);
    for wrong in ["0", "-0.1", "0,1 mm", "inf", "NaN"] {
        source.write(
            "list.csv",
            format!("image;mm;wide\na;0.1;1\nb;{wrong};1\nc;1;1\nd;1;1\n").as_bytes(),
        );
        let message = source.refused(&spec("\"mm\""));
        says(&message, &["list.csv, line 3: `mm` is `", wrong, "expected a positive number"]);
    }
    source.write("list.csv", b"image,mm\na,0.1\nb,0.1\nc,0.1\nd,0.1\na,0.2\n");
    says(
        &source.refused(&spec("\"mm\"")),
        &["the spacing of `a` is `0.2 x 0.2 mm`", "`0.1 x 0.1 mm`"],
    );
}
