//! The encoder from pixels: resizes, normalises and pads within the graph, as loaders of exported SAMs expect.

use anyhow::{Result, ensure};
use sonotune_dataset::transforms::{Normalize, PadOrder, Resample};
use sonotune_engine::task::Part;
use tch::{Device, Kind, Tensor};

use super::{
    builder::{Attribute, Builder, ValueInfo},
    convert::convert,
    declare_outputs,
    proto::data_type,
};
use crate::{prepare::Preparation, recorded::Recorded};

/// The name that loaders use.
const INPUT: &str = "input_image";

/// `[height, width, 3]` RGB, 0 to 255, of any size, to the outputs of `part`.
pub(super) fn from_pixels(
    builder: &mut Builder,
    recorded: &Recorded,
    part: &Part<'_>,
    preparation: &Preparation,
) -> Result<()> {
    ensure!(part.inputs.len() == 1, "an encoder of one image");
    let sizes = [Err("image_height"), Err("image_width"), Ok(3)];
    let about = "[height, width, 3] RGB, 0 to 255; resized, normalised and padded by this file";
    let info = ValueInfo { data_type: data_type::FLOAT, sizes: &sizes, about };
    builder.input(INPUT, info);
    let image = prepared(builder, INPUT, preparation)?;
    let graph = recorded.graph(part.name)?;
    let outputs = convert(builder, graph, &[image], &|tensor| recorded.name_of(tensor))?;
    declare_outputs(builder, part, graph, &outputs)
}

/// `[1, 3, S, S]`.
fn prepared(b: &mut Builder, pixels: &str, preparation: &Preparation) -> Result<String> {
    let planes = b.node("Transpose", &[pixels], &[Attribute::Ints("perm", &[2, 0, 1])]);
    let zero = b.ints(&[0]);
    let planes = b.node("Unsqueeze", &[&planes, &zero], &[]);
    let shape = b.node("Shape", &[pixels], &[]);
    let original = shape_part(b, &shape);
    let original = b.cast(&original, data_type::DOUBLE);
    let size = input_size(b, &original, preparation);
    let size = b.cast(&size, data_type::INT64);
    let mut image = resized(b, &planes, &size, preparation);
    let (mean, std) = statistics(b, &image, preparation)?;
    let black_border = preparation.pad_order == PadOrder::PadThenNormalize;
    if black_border {
        image = padded(b, &image, &size, preparation)?;
    }
    let centred = b.node("Sub", &[&image, &mean], &[]);
    let normalised = b.node("Div", &[&centred, &std], &[]);
    if black_border { Ok(normalised) } else { padded(b, &normalised, &size, preparation) }
}

/// The first two of `[height, width, channels]`.
fn shape_part(b: &mut Builder, shape: &str) -> String {
    let [start, end] = [0, 2].map(|at| b.ints(&[at]));
    b.node("Slice", &[shape, &start, &end], &[])
}

/// `[2]` f64 (height, width) of an image to those of its resized form.
pub(super) fn input_size(b: &mut Builder, original: &str, preparation: &Preparation) -> String {
    scaled_size(b, original, preparation.side, preparation.rounding())
}

/// The longest side becomes `side`; `rounding` is added before the fraction is cut off, `None` stretches both.
pub(super) fn scaled_size(
    b: &mut Builder,
    original: &str,
    side: i64,
    rounding: Option<f64>,
) -> String {
    let Some(rounding) = rounding else {
        let twice: Vec<u8> = [side as f64; 2].iter().flat_map(|v| v.to_le_bytes()).collect();
        return b.initializer(None, vec![2], data_type::DOUBLE, twice);
    };
    let keep = [Attribute::Int("keepdims", 0)];
    let longest = b.node("ReduceMax", &[original], &keep);
    let shortest = b.node("ReduceMin", &[original], &keep);
    let target = b.double(side as f64);
    let by_longest = b.node("Div", &[&target, &longest], &[]);
    let by_shortest = b.node("Div", &[&target, &shortest], &[]);
    let scale = b.node("Min", &[&by_longest, &by_shortest], &[]);
    let exact = b.node("Mul", &[original, &scale], &[]);
    let rounding = b.double(rounding);
    let raised = b.node("Add", &[&exact, &rounding], &[]);
    let whole = b.node("Floor", &[&raised], &[]);
    let one = b.double(1.0);
    b.node("Max", &[&whole, &one], &[])
}

fn resized(b: &mut Builder, planes: &str, size: &str, preparation: &Preparation) -> String {
    let channels = b.ints(&[1, 3]);
    let sizes = b.node("Concat", &[&channels, size], &[Attribute::Int("axis", 0)]);
    let averages = matches!(preparation.resample, Resample::Antialias | Resample::Area);
    let attributes = [
        Attribute::Text("mode", "linear"),
        Attribute::Text("coordinate_transformation_mode", "half_pixel"),
        Attribute::Int("antialias", averages.into()),
    ];
    let image = b.node("Resize", &[planes, "", "", &sizes], &attributes);
    match preparation.resample {
        Resample::ReferenceFloat => image,
        // Whole levels, as the others give.
        _ => b.node("Round", &[&image], &[]),
    }
}

/// What is subtracted from the image, and what it is divided by.
fn statistics(b: &mut Builder, image: &str, preparation: &Preparation) -> Result<(String, String)> {
    if preparation.normalize == Normalize::MinMax {
        let keep = [Attribute::Int("keepdims", 1)];
        let low = b.node("ReduceMin", &[image], &keep);
        let high = b.node("ReduceMax", &[image], &keep);
        let range = b.node("Sub", &[&high, &low], &[]);
        let least = b.float(1e-8);
        return Ok((low, b.node("Max", &[&range, &least], &[])));
    }
    let mut of = |values: [f64; 3]| {
        let tensor = Tensor::from_slice(&values).to_kind(Kind::Float).view([1, 3, 1, 1]);
        b.constant(None, &tensor.to_device(Device::Cpu))
    };
    Ok((of(preparation.mean)?, of(preparation.std)?))
}

/// Zeros at the right and at the bottom.
fn padded(b: &mut Builder, image: &str, size: &str, preparation: &Preparation) -> Result<String> {
    let full = b.ints(&[preparation.side; 2]);
    let missing = b.node("Sub", &[&full, size], &[]);
    let none = b.ints(&[0; 6]);
    let pads = b.node("Concat", &[&none, &missing], &[Attribute::Int("axis", 0)]);
    let zero = b.float(0.0);
    Ok(b.node("Pad", &[image, &pads, &zero], &[]))
}
