//! The segmenter as a function from an image to what its queries found.

use sonotune_engine::prelude::*;

use crate::{head::LayerOutput, task::Mask2Former};

/// See [`Task::parts`].
pub(crate) fn parts(task: &Mask2Former, (height, width): Size) -> Result<Parts<'_>> {
    let image = Tensor::zeros([1, 3, height, width], (Kind::Float, task.head.device()));
    let categories = task.categories.join(", ");
    let count = task.categories.len();
    Ok(Parts::Whole(Part {
        name: "segmenter",
        inputs: vec![PartInput::fixed("image", image, "[1, 3, height, width] RGB, prepared")],
        outputs: vec![
            PartOutput::new(
                "class_probabilities",
                Meaning::Scores,
                format!("[1, queries, {}] in [0, 1]: {categories}, no object", count + 1),
            ),
            PartOutput::new(
                "mask_logits",
                Meaning::MaskLogits,
                "[1, queries, h, w]: inside where above 0",
            ),
        ],
        forward: Box::new(|inputs| {
            let [image] = inputs else { bail!("one image, not {}", inputs.len()) };
            let pixels = task.pixels_of(task.backbone.forward(image, false)?)?;
            let mut last = None;
            task.head.decode(&pixels, &mut |_, output| {
                last = Some(output);
                Ok(())
            })?;
            let output: LayerOutput = last.context("the decoder gave no output")?;
            let masks = at_least_float(&output.masks(&pixels.mask_features));
            Ok(vec![output.classes.softmax(-1, None), masks])
        }),
    }))
}
