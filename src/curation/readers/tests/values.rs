//! Values of images: read with their full depth, or refused with what to write.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat};

use super::*;
use crate::convert::Options;
use sonotune_coco::CocoFile;

/// The image of this name in the output.
fn output(source: &Source, name: &str) -> Vec<u8> {
    let path = source.0.path().join("out/images").join(name);
    image::open(&path).unwrap().into_luma8().into_raw()
}

/// Category and area of each object.
pub(super) fn objects(source: &Source) -> Vec<(u64, u64)> {
    let file = CocoFile::read(&source.0.path().join("out/annotations/all.json")).unwrap();
    file.annotations.iter().map(|a| (a.category_id, a.area as u64)).collect()
}

pub(super) fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// 4×4 16-bit grey values, all 0 but some.
pub(super) fn deep(values: &[(usize, u16)]) -> Vec<u8> {
    let mut data = vec![0; 16];
    values.iter().for_each(|&(at, value)| data[at] = value);
    let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(4, 4, data).unwrap();
    encoded(image, ImageFormat::Png)
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), data].concat()
}

/// A NIfTI-1 volume of 2×2×2 voxels, with the rows of its sform if it has one.
fn nifti(datatype: i16, data: &[u8], sform: Option<[f32; 12]>) -> Vec<u8> {
    let mut header = vec![0; 352];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348_i32.to_le_bytes());
    for (i, n) in [3_i16, 2, 2, 2].iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &datatype.to_le_bytes());
    put(108, &352_f32.to_le_bytes());
    if let Some(rows) = sform {
        put(254, &1_i16.to_le_bytes());
        for (i, value) in rows.iter().enumerate() {
            put(280 + 4 * i, &value.to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    header.extend_from_slice(data);
    header
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn words(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn stacks(keys: &str) -> String {
    format!(
        "{HEAD}
[npy_stacks]
{keys}
[npy_stacks.images]
files = \"image.npy\"
key = '()image'
[[npy_stacks.masks]]
files = \"mask.npy\"
key = '()mask'
decode = \"nonzero\"
category = 1
"
    )
}

/// Values of a 2×2 image, the spec's keys, and the grey levels or the message.
type Case<'a> = (&'a str, Vec<u8>, &'a str, Result<[u8; 4], &'a str>);

#[test]
fn numbers_of_arrays_become_grey_levels_or_say_what_to_write() {
    let nan = f32::NAN;
    let twelve = words(&[0, 1000, 2000, 4095]);
    let fractions = floats(&[0.0, 0.25, 0.5, 1.0]);
    let cases: Vec<Case> = vec![
        ("<u1", vec![0, 1, 2, 255], "", Ok([0, 1, 2, 255])),
        ("<i2", words(&[0, 1, 2, 255]), "", Ok([0, 1, 2, 255])),
        ("<f4", floats(&[0.0, 1.9, 2.0, 255.0]), "", Ok([0, 1, 2, 255])),
        ("|b1", vec![0, 1, 1, 0], "", Ok([0, 255, 255, 0])),
        ("<i2", twelve.clone(), "", Err("from 0 to 4095, not 0 to 255")),
        ("<i2", twelve.clone(), "", Err("{ window = [0, 4095] }")),
        ("<i2", twelve.clone(), "intensity = { window = [0, 4095] }", Ok([0, 62, 125, 255])),
        ("<i2", twelve.clone(), "intensity = \"range\"", Ok([0, 62, 125, 255])),
        ("<i2", twelve.clone(), "intensity = \"clip\"", Ok([0, 255, 255, 255])),
        ("<i2", twelve, "intensity = \"wrap\"", Ok([0, 232, 208, 255])),
        ("<i2", words(&[-50, 0, 9, 20]), "", Err("from -50 to 20, not 0 to 255")),
        ("<i2", words(&[-50, 0, 9, 20]), "", Err("{ window = [-50, 20] }")),
        ("<f4", floats(&[0.0, 0.1, 0.8, 0.5]), "", Err("{ window = [0, 1] }")),
        ("<f4", fractions.clone(), "", Err("from 0 to 1, so its images would be black")),
        ("<f4", fractions.clone(), "intensity = { window = [0, 1] }", Ok([0, 64, 128, 255])),
        ("<f4", fractions, "scale = 255.0", Ok([0, 63, 127, 255])),
        ("<u1", vec![0, 1, 1, 0], "", Err("from 0 to 1, so its images would be black")),
        ("<f4", floats(&[0.0, 9.0, nan, 5.0]), "", Err("plane 0: row 1, column 0 holds NaN")),
        ("<f4", floats(&[0.0, 9.0, nan, 5.0]), "intensity = \"clip\"", Err("holds NaN")),
        ("<f4", floats(&[0.0, 9.0, nan, 5.0]), "intensity = \"wrap\"", Ok([0, 9, 0, 5])),
        ("<f4", floats(&[0.0, 9.0, f32::INFINITY, 5.0]), "", Err("holds inf")),
    ];
    for (descr, data, keys, expected) in cases {
        let source = Source::of_four();
        source.write("image.npy", &npy(descr, "(1, 2, 2)", &data));
        source.write("mask.npy", &npy("|b1", "(1, 2, 2)", &[0, 1, 1, 0]));
        let spec = stacks(keys);
        match expected {
            Ok(levels) => {
                source.convert(&spec).unwrap_or_else(|e| panic!("{descr} {keys}: {e:#}"));
                assert_eq!(output(&source, "MINE____00000.png"), levels, "{descr} {keys}");
                assert_eq!(objects(&source), [(1, 2)]);
            }
            Err(part) => says(&source.refused(&spec), &[part, "image.npy", "intensity"]),
        }
    }
}

fn volumes(keys: &str) -> String {
    format!(
        "{HEAD}
[volumes]
{keys}
[volumes.images]
files = \"image.nii\"
key = '()image'
[[volumes.masks]]
files = \"mask.nii\"
key = '()mask'
decode = {{ values = {{ 1 = 1, 700 = 2 }} }}
"
    )
}

const AXIAL: &str = "view = \"axial\"";

#[test]
fn numbers_of_volumes_become_grey_levels_or_say_what_to_write() {
    let source = Source::of_four();
    let mask = [0, 1, 0, 0, 0, 0, 700, 0];
    source.write("mask.nii", &nifti(4, &words(&mask), None));
    source.write("image.nii", &nifti(4, &words(&[0, 7, 9, 255, 4, 3, 2, 1]), None));
    source.convert(&volumes(AXIAL)).unwrap();
    assert_eq!(output(&source, "MINE____00000.png"), [0, 7, 9, 255]);
    // Labels beyond 8 bits are compared as they are.
    assert_eq!(objects(&source), [(1, 1), (2, 1)]);
    source.write("image.nii", &nifti(4, &words(&[0, 7, 9, 4000, 4, 3, 2, 1]), None));
    says(&source.refused(&volumes(AXIAL)), &["image.nii", "from 0 to 4000", "window = [0, 4095]"]);
    source.convert(&volumes(&format!("{AXIAL}\nintensity = {{ window = [0, 4000] }}"))).unwrap();
    assert_eq!(output(&source, "MINE____00000.png"), [0, 0, 1, 255]);
    let fractions = [0.0, 0.5, 1.0, 0.1, 0.2, 0.3, 0.4, 0.5];
    source.write("image.nii", &nifti(16, &floats(&fractions), None));
    says(&source.refused(&volumes(AXIAL)), &["would be black", "{ window = [0, 1] }"]);
}

#[test]
fn a_mask_elsewhere_than_its_image_is_refused() {
    let identity = [1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.];
    let with = |changes: &[(usize, f32)]| {
        let mut rows = identity;
        changes.iter().for_each(|&(at, value)| rows[at] = value);
        Some(rows)
    };
    let cases = [
        (None, None),
        (with(&[]), None),
        (with(&[(3, 0.4), (0, 1.001)]), None),
        (
            with(&[(0, -1.), (3, 1.)]),
            Some("along x, the mask goes towards right, the image towards left"),
        ),
        (with(&[(0, 0.), (1, 1.), (4, 1.), (5, 0.)]), Some("along x, the mask goes towards")),
        (with(&[(5, 2.)]), Some("along y, the mask's voxels are 2 apart, the image's 1")),
        (
            with(&[(11, 1.)]),
            Some("the mask's first voxel is at (0, 0, 1), the image's at (0, 0, 0)"),
        ),
    ];
    let source = Source::of_four();
    let image = [0, 7, 9, 255, 4, 3, 2, 1];
    // Towards left and back, as DICOM and MetaImage count.
    source.write("image.nii", &nifti(4, &words(&image), with(&[(0, -1.), (5, -1.)])));
    for (sform, expected) in cases {
        let mut sform = sform;
        if let Some(rows) = &mut sform {
            [0, 1, 3, 4, 5, 7].into_iter().for_each(|at| rows[at] = 0.0 - rows[at]);
        }
        source.write("mask.nii", &nifti(4, &words(&[0, 1, 0, 0, 0, 0, 0, 0]), sform));
        match expected {
            None => drop(source.convert(&volumes(AXIAL)).unwrap()),
            Some(words) => {
                says(&source.refused(&volumes(AXIAL)), &["mask.nii", words, "geometry"]);
                source.convert(&volumes(&format!("{AXIAL}\ngeometry = \"ignore\""))).unwrap();
            }
        }
    }
}

#[test]
fn a_spec_without_a_view_names_the_choices() {
    let error = Source::of_four().convert(&volumes("")).unwrap_err();
    says(&format!("{error:#}"), &["missing field `view`", "axial", "sagittal", "coronal"]);
}

#[test]
fn images_of_12_bits_are_refused_until_the_spec_says_how() {
    let source = Source::of_four();
    source.write("images/b.png", &deep(&[(5, 4000), (6, 1)]));
    let message = source.refused(&spec());
    says(&message, &["images/b.png", "only 4000 of 65535", "rasters.intensity", "[0, 4095]"]);
    let scaled = spec().replace(
        "[rasters.images]",
        "[rasters]\nintensity = { window = [0, 4000] }\n[rasters.images]",
    );
    source.convert(&scaled).unwrap();
    assert_eq!(output(&source, "MINE__b.png")[5], 255);
    // Images of 8 bits stay as they are.
    assert_eq!(output(&source, "MINE__a.png")[5], 9);
}

#[test]
fn several_pages_are_named() {
    let page = encoded(image::GrayImage::from_pixel(4, 4, image::Luma([7])), ImageFormat::Tiff);
    let mut bytes = page.clone();
    // The second page is a copy of the first one's directory.
    let at = u32::from_le_bytes(page[4..8].try_into().unwrap()) as usize;
    let end = at + 2 + 12 * usize::from(page[at]);
    let next = (bytes.len() as u32).to_le_bytes();
    bytes[end..end + 4].copy_from_slice(&next);
    bytes.extend_from_slice(&page[at..end + 4]);
    for file in ["images/b.png", "masks/b.png"] {
        let source = Source::of_four();
        source.write(file, &bytes);
        says(&source.refused(&spec()), &[file, "has 2 pages or frames"]);
    }
}

#[test]
fn a_result_that_shows_nothing_is_refused() {
    let source = Source::of_four();
    let nothing = spec().replace("values = { 255 = 1 }", "values_else_background = { 7 = 1 }");
    says(&source.refused(&nothing), &["none of 4 images has an object", "empty = \"keep\""]);
    // The same again is the same error.
    says(&source.refused(&nothing), &["none of 4 images has an object"]);
    let kept = nothing.replace("title =", "empty = \"keep\"\ntitle =");
    assert_eq!(source.convert(&kept).unwrap().objects, 0);
    let skipped = nothing.replace("title =", "empty = \"skip\"\ntitle =");
    says(&source.refused(&skipped), &["no image is left: 4 have no object"]);
    for name in ["a", "b", "c", "d"] {
        source.picture(&format!("images/{name}.png"), 1);
    }
    says(&source.refused(&spec()), &["all 4 images are black"]);
}

#[test]
fn a_corrected_file_of_the_same_size_is_not_the_same_source() {
    let source = Source::of_four();
    let parsed = Spec::parse(&spec(), "mine.toml", &Choice::AsIntended).unwrap();
    let out = source.0.path().join("out");
    let run = |overwrite: bool| {
        let options = Options { overwrite, ..Options::default() };
        convert(&parsed, &source.path(""), &out, &options, &|_| {}, &StopFlag::default())
    };
    let bmp = |at: u32| {
        let mut image = image::GrayImage::new(4, 4);
        image.put_pixel(at, at, image::Luma([255]));
        encoded(image, ImageFormat::Bmp)
    };
    source.write("masks/a.png", &bmp(1));
    assert!(!run(false).unwrap().already_complete);
    assert!(run(false).unwrap().already_complete);
    // A copy with the same content and another time is the same source.
    source.write("masks/a.png", &bmp(1));
    assert!(run(false).unwrap().already_complete);
    let path = source.path("masks/a.png");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    source.write("masks/a.png", &bmp(2));
    fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    let error = run(false).unwrap_err();
    says(&format!("{error:#}"), &["names or contents", "--overwrite"]);
    assert!(!run(true).unwrap().already_complete);
    let file = CocoFile::read(&out.join("annotations/all.json")).unwrap();
    assert_eq!(file.annotations[0].bbox, [2.0, 2.0, 1.0, 1.0]);
    assert!(run(true).unwrap().already_complete);
}

#[cfg(feature = "miniatures")]
#[test]
fn numbers_of_hdf5_files_become_grey_levels_or_say_what_to_write() {
    use sonotune_formats::write::{Dataset, Numbers, hdf5};

    let spec = |keys: &str| {
        format!(
            "{HEAD}
[hdf5]
{keys}
image = \"image\"
mask = \"mask\"
decode = {{ values = {{ 1 = 1, 700 = 2 }} }}
[hdf5.files]
files = \"a.h5\"
key = '()a'
"
        )
    };
    let window = "intensity = { window = [0, 1] }";
    // The second plane alone would be dark, but is not.
    let dark = [0.0, 90.0, 1.0, 9.0, 0.0, 0.0, 1.0, 0.5];
    type Levels<'a> = Result<[u8; 4], &'a str>;
    let cases: [([f32; 8], &str, Levels); 5] = [
        (dark, "", Ok([0, 90, 1, 9])),
        ([0.0, 0.5, 1.0, 0.2, 0.1, 0.1, 0.1, 0.1], "", Err("so its images would be black")),
        ([0.0, 0.5, 1.0, 0.2, 0.1, 0.1, 0.1, 0.1], window, Ok([0, 128, 255, 51])),
        ([0.0, 5.0, 1.0, 2.0, 1.0, 1.0, 1.0, 4000.0], "", Err("window = [0, 4095]")),
        ([0.0, 5.0, 1.0, 2.0, 1.0, 1.0, 1.0, f32::NAN], "", Err("row 1, column 1 holds NaN")),
    ];
    for (numbers, keys, expected) in cases {
        let source = Source::of_four();
        let mask = [0, 1, 0, 0, 0, 0, 700, 0];
        let shape = || vec![2, 2, 2];
        let sets = [
            Dataset { name: "image", shape: shape(), numbers: Numbers::F32(&numbers) },
            Dataset { name: "mask", shape: shape(), numbers: Numbers::I16(&mask) },
        ];
        hdf5(&source.path("a.h5"), &sets, &[], false).unwrap();
        match expected {
            Ok(levels) => {
                source.convert(&spec(keys)).unwrap();
                assert_eq!(output(&source, "MINE__000000__00000.png"), levels);
                assert_eq!(objects(&source), [(1, 1), (2, 1)]);
            }
            Err(part) => says(&source.refused(&spec(keys)), &["a.h5", part, "intensity"]),
        }
    }
}
