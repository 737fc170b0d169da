use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::Deserialize;
use sonotune_base::error::exit_code;

use super::*;
use crate::{
    Values, fixture,
    write::{Numbers, metaimage, nifti},
};

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    components: usize,
    spacing: Vec<f64>,
    values: Vec<f64>,
    as_u8: Vec<u8>,
}

fn floats(values: Values) -> Vec<f64> {
    match values {
        Values::Bool(v) => v.into_iter().map(|v| f64::from(u8::from(v))).collect(),
        Values::U8(v) => v.into_iter().map(f64::from).collect(),
        Values::Int(v) => v.into_iter().map(|v| v as f64).collect(),
        Values::Float(v) => v,
    }
}

/// SimpleITK wrote `expected.json`; both compute in the same precision, so results must be equal.
#[test]
fn parity_with_simpleitk() {
    let text = fs::read_to_string(fixture("volumes/expected.json")).unwrap();
    let all: BTreeMap<String, Expected> = serde_json::from_str(&text).unwrap();
    assert_eq!(all.len(), 20);
    for (name, expected) in all {
        let volume = Volume::open(&fixture(&format!("volumes/{name}"))).unwrap();
        assert_eq!(
            (&volume.shape, volume.components),
            (&expected.shape, expected.components),
            "{name}"
        );
        for (a, b) in volume.spacing.iter().zip(&expected.spacing) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
        }
        let (mut values, mut wrapped) = (Vec::new(), Vec::new());
        for channel in 0..volume.num_channels() {
            for z in 0..volume.num_planes(View::Axial) {
                values.extend(floats(volume.plane(View::Axial, z, Some(channel)).unwrap().values));
                let intensity = Intensity::Wrap;
                wrapped
                    .extend(volume.pixels(View::Axial, z, Some(channel), intensity).unwrap().data);
            }
        }
        assert_eq!(values, expected.values, "{name}");
        assert_eq!(wrapped, expected.as_u8, "{name}");
    }
}

fn counting(folder: &tempfile::TempDir) -> Volume {
    let path = folder.path().join("v.nii.gz");
    let numbers: Vec<u8> = (0..24).collect();
    nifti(&path, &[2, 3, 4], Numbers::U8(&numbers)).unwrap();
    Volume::open(&path).unwrap()
}

#[test]
fn the_three_views() {
    let volume = counting(&tempfile::tempdir().unwrap());
    let plane = |view, index| volume.pixels(view, index, None, Intensity::Wrap).unwrap();
    let axial = plane(View::Axial, 1);
    assert_eq!((axial.height, axial.width), (3, 4));
    assert_eq!(axial.data, (12..24).collect::<Vec<u8>>());
    let sagittal = plane(View::Sagittal, 1);
    assert_eq!((sagittal.height, sagittal.width), (2, 3));
    assert_eq!(sagittal.data, [1, 5, 9, 13, 17, 21]);
    let coronal = plane(View::Coronal, 2);
    assert_eq!((coronal.height, coronal.width), (2, 4));
    assert_eq!(coronal.data, [8, 9, 10, 11, 20, 21, 22, 23]);
    assert_eq!(
        [View::Axial, View::Sagittal, View::Coronal].map(|v| volume.num_planes(v)),
        [2, 4, 3]
    );
    let error = volume.plane(View::Coronal, 3, None).unwrap_err().to_string();
    assert!(error.contains("no plane 3"), "{error}");
}

#[test]
fn a_series_needs_its_channel_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.nii");
    nifti(&path, &[2, 1, 1, 2], Numbers::U8(&[1, 2, 3, 4])).unwrap();
    let volume = Volume::open(&path).unwrap();
    assert_eq!(volume.labels(View::Axial, 0, Some(1)).unwrap().data, [3, 4]);
    let error = volume.plane(View::Axial, 0, None).unwrap_err().to_string();
    assert!(error.contains("holds 2 volumes"), "{error}");
    assert!(volume.plane(View::Axial, 0, Some(2)).is_err());
}

#[test]
fn intensities() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mha");
    let with = |fourth: f32| {
        let numbers = [-1.0, 300.0, 2.5, fourth, 3.5, 127.4];
        metaimage(&path, &[1, 2, 3], Numbers::F32(&numbers), true).unwrap();
        Volume::open(&path).unwrap()
    };
    let volume = with(f32::NAN);
    let of = |intensity| volume.pixels(View::Axial, 0, None, intensity).map(|p| p.data);
    assert_eq!(of(Intensity::Wrap).unwrap(), [255, 44, 2, 0, 3, 127]);
    for intensity in [Intensity::Clip, Intensity::Range, Intensity::Window([0.0, 9.0])] {
        let error = of(intensity).unwrap_err().to_string();
        assert!(error.contains("row 1, column 0 holds NaN"), "{error}");
    }
    let volume = with(0.0);
    let error = volume.pixels(View::Axial, 0, None, Intensity::Exact).unwrap_err().to_string();
    assert!(error.contains("from -1 to 300") && error.contains("window = [-1, 300]"), "{error}");
    let of = |intensity| volume.pixels(View::Axial, 0, None, intensity).unwrap().data;
    assert_eq!(of(Intensity::Clip), [0, 255, 2, 0, 4, 127]);
    assert_eq!(volume.range(), (-1.0, 300.0));
    assert_eq!(of(Intensity::Range), [0, 255, 3, 1, 4, 109]);
    assert_eq!(of(Intensity::Window([0.0, 100.0])), [0, 255, 6, 0, 9, 255]);

    let spec: BTreeMap<String, Intensity> =
        toml::from_str("a = \"wrap\"\nb = { window = [0, 1500] }\nc = \"range\"").unwrap();
    assert_eq!(spec["b"], Intensity::Window([0.0, 1500.0]));
    assert!(Intensity::Window([3.0, 3.0]).check().is_err());
}

#[test]
fn labels_are_whole_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mha");
    for (numbers, word) in [
        ([0.0, 1.0, 2.0, 0.5], "row 1, column 1 holds 0.5"),
        ([0.0, 256.0, 2.0, 1.0], "row 0, column 1 holds 256"),
        ([f64::NAN, 0.0, 2.0, 1.0], "row 0, column 0 holds NaN"),
        ([0.0, 0.0, -1.0, 1.0], "row 1, column 0 holds -1"),
    ] {
        metaimage(&path, &[1, 2, 2], Numbers::F64(&numbers), false).unwrap();
        let error = Volume::open(&path).unwrap().labels(View::Axial, 0, None).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(word) && error.contains("slice 0"), "{error}");
    }
}

fn open_error(path: &Path) -> String {
    let error = Volume::open(path).unwrap_err();
    assert_eq!(exit_code(&error), 3);
    let text = format!("{error:#}");
    assert!(text.contains(&path.display().to_string()), "{text}");
    text
}

#[test]
fn hostile_nifti_headers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.nii");
    nifti(&path, &[2, 3, 4], Numbers::U8(&[7; 24])).unwrap();
    let good = fs::read(&path).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, bad).unwrap();
        open_error(&path)
    };
    for (at, bytes, word) in [
        (40, &[0, 0][..], "claims 0 axes"),
        (40, &[9, 0], "claims 9 axes"),
        (40, &[0xff, 0xff], "claims -1 axes"),
        (42, &[0xff, 0xff], "length of -1 along axis 1"),
        (44, &[0, 0], "length of 0 along axis 2"),
        (42, &[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f], "more than the 8.0 GiB"),
        (42, &[0xff, 0x03, 0xff, 0x03, 0xff, 0x03], "the file has at most 24"),
        (70, &[32, 0], "complex"),
        (70, &[3, 0], "is not a NIfTI datatype"),
        (108, &f32::NAN.to_le_bytes(), "start at byte NaN"),
        (108, &(-3_f32).to_le_bytes(), "start at byte -3"),
        (108, &5000_f32.to_le_bytes(), "ends before its data"),
        (344, b"n+9\0", "magic"),
        (344, &[0], "Analyze"),
        (344, b"ni1\0", "the .img file with the same name is missing"),
        (0, &[1, 2, 3, 4], "neither a NIfTI file nor a MetaImage"),
    ] {
        let error = with(at, bytes);
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in
        ["volumes/u8.nii", "volumes/i16.nii.gz", "volumes/packed.mha", "volumes/version_2.nii"]
    {
        let bytes = fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name.rsplit('/').next().unwrap());
        for len in 0..bytes.len() {
            fs::write(&path, &bytes[..len]).unwrap();
            // The last bytes of a compressed file are its checksum, which is also needed.
            assert!(Volume::open(&path).is_err(), "{name} of {len} bytes");
        }
    }
}

#[test]
fn damaged_bytes_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = sonotune_base::seed::Rng::at(3, &[]);
    for name in ["volumes/u8.nii", "volumes/i16.nii.gz", "volumes/packed.mha", "volumes/plain.mha"]
    {
        let bytes = fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name.rsplit('/').next().unwrap());
        for _ in 0..300 {
            let mut bad = bytes.clone();
            for _ in 0..3 {
                let at = rng.below(bad.len() as u64) as usize;
                bad[at] = rng.below(256) as u8;
            }
            fs::write(&path, bad).unwrap();
            if let Ok(volume) = Volume::open(&path) {
                let _ = volume.plane(View::Axial, 0, Some(0));
                let _ = volume.range();
            }
        }
    }
}

#[test]
fn hostile_metaimage_headers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mha");
    let header = |change: (&str, &str)| -> String {
        [
            ("ObjectType", "Image"),
            ("NDims", "3"),
            ("DimSize", "2 3 4"),
            ("ElementType", "MET_UCHAR"),
            ("BinaryData", "True"),
            ("CompressedData", "False"),
            ("ElementDataFile", "LOCAL"),
        ]
        .map(|(key, value)| format!("{key} = {}\n", if key == change.0 { change.1 } else { value }))
        .concat()
    };
    for (change, word) in [
        (("ObjectType", "Tube"), "not an image"),
        (("NDims", "99"), "claims 99 axes"),
        (("NDims", "2"), "does not list 2 lengths"),
        (("NDims", "x"), "NDims = x is not a valid number"),
        (("DimSize", "2 3 -4"), "not a valid list of numbers"),
        (("DimSize", "2 0 4"), "does not list 3 lengths"),
        (("DimSize", "99999999999 99999999999 4"), "more than the 8.0 GiB"),
        (("DimSize", "20 30 40"), "the file has at most 24"),
        (("ElementType", "MET_STRING"), "MET_STRING is not supported"),
        (("BinaryData", "False"), "save it as binary"),
        (("CompressedData", "True"), "damaged after 0 bytes"),
        (("CompressedData", "perhaps"), "neither True nor False"),
        (("ElementDataFile", "../secret.raw"), "leaves the folder"),
        (("ElementDataFile", "/etc/passwd"), "leaves the folder"),
        (("ElementDataFile", "LIST"), "several files"),
        (("ElementDataFile", "missing.raw"), "missing.raw cannot be read"),
    ] {
        let mut bytes = header(change).into_bytes();
        bytes.extend([7; 24]);
        fs::write(&path, bytes).unwrap();
        let error = open_error(&path);
        assert!(error.contains(word), "{word}: {error}");
    }
    fs::write(&path, "NDims = 3\nDimSize = 1 1 1\n").unwrap();
    assert!(open_error(&path).contains("does not end with ElementDataFile"));
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, write: &dyn Fn(&PathBuf)| {
        let path = folder.path().join(name);
        write(&path);
        Volume::open(&path).unwrap()
    };
    let (shape, i16s) = ([3, 2, 2], [-3_i16, 2, 900, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let expected = Values::Int(vec![9, 10, 11, 12]);
    let written = [
        open("a.nii", &|path| nifti(path, &shape, Numbers::I16(&i16s)).unwrap()),
        open("a.nii.gz", &|path| nifti(path, &shape, Numbers::I16(&i16s)).unwrap()),
        open("a.mha", &|path| metaimage(path, &shape, Numbers::I16(&i16s), false).unwrap()),
        open("b.mha", &|path| metaimage(path, &shape, Numbers::I16(&i16s), true).unwrap()),
    ];
    for volume in written {
        assert_eq!(volume.shape, shape);
        assert_eq!(volume.plane(View::Axial, 2, None).unwrap().values, expected);
        assert_eq!(volume.range(), (-3.0, 900.0));
    }
    assert!(nifti(&folder.path().join("x.nii"), &[5], Numbers::U8(&[1])).is_err());
}

#[test]
fn headers_of_one_geometry_agree() {
    let folder = tempfile::tempdir().unwrap();
    let (nii, mha) = (folder.path().join("a.nii"), folder.path().join("a.mha"));
    nifti(&nii, &[2, 2, 2], Numbers::U8(&[7; 8])).unwrap();
    metaimage(&mha, &[2, 2, 2], Numbers::U8(&[7; 8]), false).unwrap();
    let geometry = |path: &PathBuf| Volume::open(path).unwrap().geometry;
    assert_eq!((geometry(&nii), geometry(&mha)), (None, None));

    // Voxels go 2 towards left, 1 towards front and 1 towards head, from (10, -20, 5).
    let text = fs::read(&mha).unwrap();
    let keys = b"ElementSpacing = 2 1 1\nTransformMatrix = 1 0 0 0 -1 0 0 0 1\nOffset = 10 -20 5\n";
    let spacing = b"ElementSpacing = 1 1 1\n";
    let at = text.windows(spacing.len()).position(|w| w == spacing).unwrap();
    fs::write(&mha, [&text[..at], keys, &text[at + spacing.len()..]].concat()).unwrap();
    let meta = geometry(&mha).unwrap();
    assert_eq!(meta.steps, [[2.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]);

    // The same as a rotation by half a turn about z, and as a matrix; NIfTI counts towards right and front.
    let plain = fs::read(&nii).unwrap();
    let write = |fields: &[(usize, f32)], codes: [i16; 2]| {
        let mut bytes = plain.clone();
        for (code, at) in codes.iter().zip([252, 254]) {
            bytes[at..at + 2].copy_from_slice(&code.to_le_bytes());
        }
        for (at, value) in fields {
            bytes[*at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        fs::write(&nii, bytes).unwrap();
        geometry(&nii).unwrap()
    };
    let offset = [(268, -10.0), (272, 20.0), (276, 5.0)];
    let matrix = [(280, -2.0), (292, -10.0), (300, 1.0), (308, 20.0), (320, 1.0), (324, 5.0)];
    // About y, and the third axis the other way round: x and z are negated, then z again.
    let rotated = [&[(76, -1.0), (80, 2.0), (260, 1.0)][..], &offset].concat();
    for nifti in [write(&matrix, [0, 1]), write(&rotated, [1, 0])] {
        assert_eq!(meta.difference(&nifti, [2, 2, 2]), None, "{nifti:?}");
    }
    let plain = write(&[(280, 1.0), (300, 1.0), (320, 1.0)], [0, 2]);
    let words = meta.difference(&plain, [2, 2, 2]).unwrap();
    assert!(words.contains("along x, the mask goes towards right"), "{words}");
    // An axis of one voxel has no direction.
    assert!(meta.difference(&plain, [1, 2, 2]).is_some_and(|words| words.contains("voxel")));
}

#[test]
fn other_volumes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    let dicom = [&[0; 128][..], b"DICM"].concat();
    let cases: [(&[u8], &str); 2] = [(b"BZh91AY&SY", "a bzip2 file"), (&dicom, "a DICOM file")];
    for (bytes, expected) in cases {
        fs::write(&path, bytes).unwrap();
        assert!(open_error(&path).contains(expected));
    }
}

/// The header of 2 x 3 bytes with further lines.
fn nrrd(lines: &str) -> Vec<u8> {
    let head = "NRRD0004\n# made by hand\ntype: uchar\ndimension: 2\nsizes: 3 2\n";
    let mut bytes = format!("{head}{lines}\n").into_bytes();
    bytes.extend([1, 2, 3, 4, 5, 6]);
    bytes
}

#[test]
fn nrrd_positions_point_left_back_and_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    let lines = "encoding: raw\nspace: RAS\nspace directions: (0.5,0,0) (0,0.25,0)\nspace origin: (1,2,3)\n";
    fs::write(&path, nrrd(lines)).unwrap();
    let volume = Volume::open(&path).unwrap();
    assert_eq!(volume.spacing, [0.25, 0.5]);
    let geometry = volume.geometry.unwrap();
    assert_eq!(geometry.steps, [[-0.5, 0.0, 0.0], [0.0, -0.25, 0.0], [0.0, 0.0, 1.0]]);
    assert_eq!(geometry.origin, [-1.0, -2.0, 3.0]);
    assert_eq!(
        volume.pixels(View::Axial, 0, None, Intensity::Exact).unwrap().data,
        [1, 2, 3, 4, 5, 6]
    );
}

#[test]
fn nrrd_that_cannot_be_read_says_why() {
    let cases = [
        ("encoding: ascii\n", "the encoding ascii, which is not read; save it with gzip"),
        ("encoding: bzip2\n", "the encoding bzip2"),
        ("encoding: raw\nsizes: 3 200\n", "which is 600 bytes of data; the file has at most 6"),
        ("encoding: raw\nsizes: 3\n", "`sizes: 3` does not list 2 lengths"),
        ("encoding: raw\nsizes: 99999999999 99999999999\n", "more than the 8.0 GiB"),
        ("encoding: raw\ntype: block\n", "its type block is not supported"),
        ("encoding: raw\ntype: short\n", "`endian` is missing"),
        ("encoding: raw\nkinds: vector vector\n", "several axes of colours"),
        ("encoding: raw\nspace directions: (1,0) (a,1)\n", "`(a,1)` is not a vector"),
        ("encoding: raw\nbyte skip: -2\n", "`byte skip` is negative"),
        ("encoding: raw\nline skip: 9\n", "within the lines that `line skip: 9` names"),
        ("encoding: raw\ndata file: ../secret\n", "leaves the folder"),
        ("encoding: raw\ndata file: LIST\n", "spread over several files"),
        ("encoding: gzip\n", "its data"),
        ("", "its header has no `encoding`"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nrrd");
    for (lines, expected) in cases {
        fs::write(&path, nrrd(lines)).unwrap();
        let error = Volume::open(&path).unwrap_err();
        assert_eq!(exit_code(&error), 3);
        let error = error.to_string();
        assert!(error.contains(expected) && error.contains("a.nrrd"), "{error}\nlacks: {expected}");
    }
}

#[test]
fn the_size_of_a_pixel_is_that_of_the_planes_axes_in_millimetres() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.nii");
    nifti(&path, &[2, 3, 4], Numbers::U8(&[7; 24])).unwrap();
    let known = Volume::open(&path).unwrap();
    assert_eq!(View::ALL.map(|view| known.plane_spacing(view)), [None; 3]);
    let mut bytes = fs::read(&path).unwrap();
    // pixdim along x, y, z, and xyzt_units.
    for (axis, distance) in [0.1_f32, 0.25, 2.0].into_iter().enumerate() {
        bytes[80 + 4 * axis..84 + 4 * axis].copy_from_slice(&distance.to_le_bytes());
    }
    let mut in_unit = |unit: u8, view| {
        bytes[123] = unit;
        fs::write(&path, &bytes).unwrap();
        Volume::open(&path).unwrap().plane_spacing(view)
    };
    for unit in [0, 2, 2 | 8] {
        assert_eq!(in_unit(unit, View::Axial), Some([0.25, 0.1]));
        assert_eq!(in_unit(unit, View::Sagittal), Some([2.0, 0.25]));
        assert_eq!(in_unit(unit, View::Coronal), Some([2.0, 0.1]));
    }
    assert_eq!(in_unit(1, View::Axial), Some([250.0, 100.0]));
    assert_eq!(in_unit(3, View::Axial), Some([0.25 * 1e-3, 0.1 * 1e-3]));
    bytes[84..88].copy_from_slice(&0_f32.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let volume = Volume::open(&path).unwrap();
    assert_eq!(volume.plane_spacing(View::Axial), None);

    let path = folder.path().join("a.mha");
    let header = "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementSpacing = 0.1 0.3\n\
                  ElementDataFile = LOCAL\n";
    fs::write(&path, [format!("ObjectType = Image\n{header}").as_bytes(), &[1; 4]].concat())
        .unwrap();
    assert_eq!(Volume::open(&path).unwrap().plane_spacing(View::Axial), Some([0.3, 0.1]));
}
