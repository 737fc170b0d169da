//! The decoder as loaders of exported SAMs expect it: prompts become tokens, and logits the mask of the
//! original image, within the graph.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sonotune_base::{Error, fs::atomic_write};
use sonotune_engine::task::{PromptRules, Promptable};
use tch::Tensor;

use super::{
    Label,
    builder::{Attribute, Builder, ValueInfo},
    convert::convert,
    declare_input,
    encoder::{input_size, scaled_size},
    proto::data_type,
};
use crate::{layout::Layout, prepare::Preparation, recorded::Recorded};

/// Side of the frame that prompts of `segment_anything` are in, whatever the network's input.
pub(crate) const PROMPT_SIDE: i64 = 1024;

/// The frames of a prompt and its mask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) layout: Layout,
    pub(crate) preparation: &'a Preparation,
}

/// Values of the graph under way, by name.
struct Sizes {
    /// `[2]` f64 (height, width) of the image file.
    original: String,
    /// The same of the image in the network's input.
    input: String,
}

/// The tokens of a pass.
#[derive(Clone)]
struct Tokens {
    /// `[1, T, 2]` f32.
    coords: String,
    /// `[1, T]` i64.
    labels: String,
}

/// Builds the decoder of `promptable` and writes it.
///
/// # Errors
/// Of kind config if an operator has no counterpart, or the layout has no place for a second pass.
pub(crate) fn write_decoder(
    path: &Path,
    recorded: &Recorded,
    promptable: &Promptable<'_>,
    frame: Frame<'_>,
    label: &Label,
) -> Result<()> {
    let mut builder = Builder::default();
    build(&mut builder, recorded, promptable, frame)?;
    atomic_write(path, &builder.finish("decoder", &label.about, &label.properties)?)
}

fn build(
    b: &mut Builder,
    recorded: &Recorded,
    promptable: &Promptable<'_>,
    frame: Frame<'_>,
) -> Result<()> {
    let image = declare(b, promptable, frame)?;
    let rules = &promptable.prompts;
    let sizes = (frame.layout == Layout::SegmentAnything).then(|| {
        let original = b.cast("orig_im_size", data_type::DOUBLE);
        let input = input_size(b, &original, frame.preparation);
        Sizes { original, input }
    });
    let coords = in_input(b, sizes.as_ref(), rules)?;
    let (tokens, has_box) = tokens(b, &coords, rules)?;
    let mask = resized_mask(b, promptable);
    let run = |b: &mut Builder, name: &str, tokens: &Tokens, mask: &str, has_mask: &str| {
        let prompt = [&tokens.coords, &tokens.labels, mask, has_mask].map(str::to_owned);
        let inputs: Vec<_> = image.iter().cloned().chain(prompt).collect();
        let outputs = convert(b, recorded.graph(name)?, &inputs, &|t| recorded.name_of(t))?;
        <[String; 2]>::try_from(outputs).map_err(|_| anyhow::anyhow!("a decoder of two outputs"))
    };
    let decoder = &promptable.decoder;
    let [mut low, mut iou] = run(b, decoder.name, &tokens, &mask, "has_mask_input")?;
    if let Some(refinement) = &promptable.refinement {
        let sizes = sizes.as_ref().ok_or_else(|| {
            Error::config(
                "a second pass needs the size of the image, which this decoder's loaders do not give; \
                 set task.refinement = false",
            )
        })?;
        let mask = enlarged(b, &low, sizes, frame, rules)?;
        let bbox = tight_box(b, &mask, sizes)?;
        let options = (refinement.offset, refinement.box_of_empty);
        let second = second_tokens(b, &tokens, &has_box, &bbox, options)?;
        let one = b.constant(None, &Tensor::from_slice(&[1f32]))?;
        [low, iou] = run(b, refinement.decoder.name, &second, &low, &one)?;
    }
    outputs(b, promptable, (&low, &iou), (sizes.as_ref(), frame))
}

/// Declares the inputs; returns the names of those of the image, in the decoder's order.
fn declare(b: &mut Builder, promptable: &Promptable<'_>, frame: Frame<'_>) -> Result<Vec<String>> {
    let inputs = &promptable.decoder.inputs;
    let count = promptable.encoder.outputs.len();
    ensure!(inputs.len() == count + 4, "a decoder of {} inputs", count + 4);
    let mut order: Vec<_> = inputs.iter().take(count).collect();
    if frame.layout == Layout::SegmentAnything2 {
        // Loaders pass it first, by place.
        order.rotate_right(1);
    }
    for input in order {
        let (example, about) = (&input.example, &input.about);
        declare_input(b, input.name, example.kind(), &example.size(), about)?;
    }
    let mask = inputs[count + 2].example.size();
    let (points, h, w) = (Err("num_points"), Err("mask_height"), Err("mask_width"));
    let is_sam2 = frame.layout == Layout::SegmentAnything2;
    let (h, w) = if is_sam2 { (Ok(mask[2]), Ok(mask[3])) } else { (h, w) };
    let coords_about = if is_sam2 { "(x, y) in input pixels" } else { COORDS };
    let mut float = |name: &str, sizes: &[Result<i64, &str>], about: &str| {
        b.input(name, ValueInfo { data_type: data_type::FLOAT, sizes, about });
    };
    float("point_coords", &[Ok(1), points, Ok(2)], coords_about);
    float("point_labels", &[Ok(1), points], LABELS);
    float("mask_input", &[Ok(1), Ok(1), h, w], "logits of an earlier mask of the padded input");
    float("has_mask_input", &[Ok(1)], "1 if mask_input holds one, else 0");
    if !is_sam2 {
        float("orig_im_size", &[Ok(2)], "(height, width) of the image, pixels");
    }
    Ok(inputs.iter().take(count).map(|input| input.name.to_owned()).collect())
}

const COORDS: &str = "(x, y) in pixels of the image with its longest side scaled to 1024";
const LABELS: &str = "-1 filler, 0 background, 1 foreground, 2 and 3 the corners of a box";

/// Coordinates in input pixels, with the offset.
fn in_input(b: &mut Builder, sizes: Option<&Sizes>, rules: &PromptRules) -> Result<String> {
    let mut coords = "point_coords".to_owned();
    if let Some(Sizes { original, input }) = sizes {
        let given = scaled_size(b, original, PROMPT_SIDE, Some(0.5));
        let scale = b.node("Div", &[input, &given], &[]);
        let scale = swapped(b, &scale);
        let wide = b.cast(&coords, data_type::DOUBLE);
        let wide = b.node("Mul", &[&wide, &scale], &[]);
        coords = b.cast(&wide, data_type::FLOAT);
    }
    let offset = b.float(rules.offset);
    Ok(b.node("Add", &[&coords, &offset], &[]))
}

/// `[2]` (height, width) to (width, height).
fn swapped(b: &mut Builder, pair: &str) -> String {
    let order = b.ints(&[1, 0]);
    b.node("Gather", &[pair, &order], &[Attribute::Int("axis", 0)])
}

/// Fillers that the caller gave are replaced by those that the model was trained with. Also `[]` bool: whether
/// there is a box.
fn tokens(b: &mut Builder, coords: &str, rules: &PromptRules) -> Result<(Tokens, String)> {
    let flat = b.ints(&[-1]);
    let labels = b.node("Reshape", &["point_labels", &flat], &[]);
    let [zero, two] = [b.float(0.0), b.float(2.0)];
    let is_real = b.node("GreaterOrEqual", &[&labels, &zero], &[]);
    let at = b.node("NonZero", &[&is_real], &[]);
    let at = b.node("Reshape", &[&at, &flat], &[]);
    let along = Attribute::Int("axis", 1);
    let coords = b.node("Gather", &[coords, &at], &[along]);
    let labels = b.node("Gather", &["point_labels", &at], &[along]);
    let labels = b.cast(&labels, data_type::INT64);

    let corner = b.node("GreaterOrEqual", &["point_labels", &two], &[]);
    let corner = b.cast(&corner, data_type::INT32);
    let keep = [Attribute::Int("keepdims", 0)];
    let most = b.node("ReduceMax", &[&corner], &keep);
    let has_box = b.cast(&most, data_type::BOOL);

    // Without a real token there is no filler.
    let count = b.node("Shape", &[&at], &[]);
    let none = b.ints(&[0]);
    let is_any = b.node("Greater", &[&count, &none], &[]);
    let wanted = if rules.filler_with_box {
        is_any
    } else {
        let no_box = b.node("Not", &[&has_box], &[]);
        b.node("And", &[&is_any, &no_box], &[])
    };
    let filler = b.cast(&wanted, data_type::INT64);
    let end = b.node("Add", &[&count, &filler], &[]);
    let nowhere = b.constant(None, &Tensor::from_slice(&[0f32, 0.0]).view([1, 1, 2]))?;
    let label = b.constant(None, &Tensor::from_slice(&[-1i64]).view([1, 1]))?;
    let cut = |b: &mut Builder, first: &str, more: &str| {
        let all = b.node("Concat", &[first, more], &[along]);
        let axis = b.ints(&[1]);
        b.node("Slice", &[&all, &none, &end, &axis], &[])
    };
    let tokens = Tokens { coords: cut(b, &coords, &nowhere), labels: cut(b, &labels, &label) };
    Ok((tokens, has_box))
}

/// Loaders give 256 × 256 logits, whatever the network's size.
fn resized_mask(b: &mut Builder, promptable: &Promptable<'_>) -> String {
    let inputs = &promptable.decoder.inputs;
    let sizes = b.ints(&inputs[inputs.len() - 2].example.size());
    b.node("Resize", &["mask_input", "", "", &sizes], &bilinear())
}

fn bilinear() -> [Attribute<'static>; 2] {
    [
        Attribute::Text("mode", "linear"),
        Attribute::Text("coordinate_transformation_mode", "half_pixel"),
    ]
}

/// Logits of the decoder to those of the original image.
fn enlarged(
    b: &mut Builder,
    low: &str,
    sizes: &Sizes,
    frame: Frame<'_>,
    rules: &PromptRules,
) -> Result<String> {
    let mut low = low.to_owned();
    if rules.cut_first {
        let zero = b.float(0.0);
        let inside = b.node("Greater", &[&low, &zero], &[]);
        low = b.cast(&inside, data_type::FLOAT);
    }
    let channels = b.ints(&[1, 1]);
    let along = [Attribute::Int("axis", 0)];
    let input = b.cast(&sizes.input, data_type::INT64);
    // Images that do not fill the input are enlarged in two steps; of one that does, nothing is cut off.
    if !(rules.direct && frame.preparation.rounding().is_none()) {
        let side = frame.preparation.side;
        let padded = b.ints(&[1, 1, side, side]);
        let large = b.node("Resize", &[&low, "", "", &padded], &bilinear());
        let [start, axes] = [b.ints(&[0, 0]), b.ints(&[2, 3])];
        low = b.node("Slice", &[&large, &start, &input, &axes], &[]);
    }
    let original = b.cast(&sizes.original, data_type::INT64);
    let full = b.node("Concat", &[&channels, &original], &along);
    Ok(b.node("Resize", &[&low, "", "", &full], &bilinear()))
}

/// The box of the pixels above 0, in input pixels: `[4]` f64 (x0, y0, x1, y1), zeros if there are none; and `[]`
/// bool, whether there are none.
struct MaskBox {
    corners: String,
    is_empty: String,
}

fn tight_box(b: &mut Builder, mask: &str, sizes: &Sizes) -> Result<MaskBox> {
    let zero = b.float(0.0);
    let inside = b.node("Greater", &[mask, &zero], &[]);
    let inside = b.cast(&inside, data_type::FLOAT);
    let keep = [Attribute::Int("keepdims", 0)];
    let original = b.cast(&sizes.original, data_type::INT64);
    let scale = b.node("Div", &[&sizes.input, &sizes.original], &[]);
    let (mut first, mut last) = (Vec::new(), Vec::new());
    // Columns, then rows: all axes but one are reduced.
    for (axes, at) in [([0, 1, 2], 1), ([0, 1, 3], 0)] {
        let axes = b.ints(&axes);
        let line = b.node("ReduceMax", &[&inside, &axes], &keep);
        let line = b.cast(&line, data_type::BOOL);
        let [index, start, step] = [b.int(at), b.int(0), b.int(1)];
        let length = b.node("Gather", &[&original, &index], &[Attribute::Int("axis", 0)]);
        let places = b.node("Range", &[&start, &length, &step], &[]);
        let before = b.int(-1);
        let there = b.node("Where", &[&line, &places, &length], &[]);
        let low = b.node("ReduceMin", &[&there], &keep);
        let there = b.node("Where", &[&line, &places, &before], &[]);
        let high = b.node("ReduceMax", &[&there], &keep);
        let high = b.node("Add", &[&high, &step], &[]);
        // Empty: the first place is the length, the last 0.
        let low = b.node("Min", &[&low, &high], &[]);
        let factor = b.node("Gather", &[&scale, &index], &[Attribute::Int("axis", 0)]);
        let wide = |b: &mut Builder, place: &str| {
            let place = b.cast(place, data_type::DOUBLE);
            let place = b.node("Mul", &[&place, &factor], &[]);
            let axis = b.ints(&[0]);
            b.node("Unsqueeze", &[&place, &axis], &[])
        };
        first.push(wide(b, &low));
        last.push(wide(b, &high));
    }
    let corners: Vec<_> = first.iter().chain(&last).map(String::as_str).collect();
    let corners = b.node("Concat", &corners, &[Attribute::Int("axis", 0)]);
    let most = b.node("ReduceMax", &[&inside], &keep);
    let any = b.cast(&most, data_type::BOOL);
    Ok(MaskBox { corners, is_empty: b.node("Not", &[&any], &[]) })
}

/// The box in place of the first pass's tokens, unless those include one.
fn second_tokens(
    b: &mut Builder,
    first: &Tokens,
    has_box: &str,
    mask_box: &MaskBox,
    (offset, box_of_empty): (f64, bool),
) -> Result<Tokens> {
    let keeps = if box_of_empty {
        has_box.to_owned()
    } else {
        b.node("Or", &[has_box, &mask_box.is_empty], &[])
    };
    let offset = b.double(offset);
    let corners = b.node("Add", &[&mask_box.corners, &offset], &[]);
    let corners = b.cast(&corners, data_type::FLOAT);
    let shape = b.ints(&[1, 2, 2]);
    let corners = b.node("Reshape", &[&corners, &shape], &[]);
    let labels = b.constant(None, &Tensor::from_slice(&[2i64, 3]).view([1, 2]))?;
    let flat = b.ints(&[-1]);
    let row = b.node("Reshape", &[&first.labels, &flat], &[]);
    let count = b.node("Shape", &[&row], &[]);
    let [none, two, axis] = [0, 2, 1].map(|n| b.ints(&[n]));
    let more = b.node("Add", &[&count, &two], &[]);
    let start = b.node("Where", &[&keeps, &none, &count], &[]);
    let end = b.node("Where", &[&keeps, &count, &more], &[]);
    let along = [Attribute::Int("axis", 1)];
    let mut cut = |first: &str, more: &str| {
        let all = b.node("Concat", &[first, more], &along);
        b.node("Slice", &[&all, &start, &end, &axis], &[])
    };
    Ok(Tokens { coords: cut(&first.coords, &corners), labels: cut(&first.labels, &labels) })
}

fn outputs(
    b: &mut Builder,
    promptable: &Promptable<'_>,
    (low, iou): (&str, &str),
    (sizes, frame): (Option<&Sizes>, Frame<'_>),
) -> Result<()> {
    let inputs = &promptable.decoder.inputs;
    let mask = inputs[inputs.len() - 2].example.size();
    let [h, w] = [mask[2], mask[3]];
    let low_sizes = [Ok(1), Ok(1), Ok(h), Ok(w)];
    let info = |sizes, about| ValueInfo { data_type: data_type::FLOAT, sizes, about };
    let masks = match sizes {
        Some(sizes) => enlarged(b, low, sizes, frame, &promptable.prompts)?,
        None => low.to_owned(),
    };
    let full = [Ok(1), Ok(1), Err("height"), Err("width")];
    let sizes = if sizes.is_some() { &full[..] } else { &low_sizes };
    b.output("masks", &masks, info(sizes, "inside where above 0"));
    b.output("iou_predictions", iou, info(&[Ok(1), Ok(1)], "predicted IoU of the mask"));
    b.output("low_res_masks", low, info(&low_sizes, "logits, of the padded input"));
    inputs.last().context("a decoder with inputs").map(drop)
}
