//! The classifier as a function from an image to scores.

use sonotune_engine::prelude::*;

use crate::task::Classifier;

/// See [`Task::parts`].
pub(crate) fn parts(classifier: &Classifier, (height, width): Size) -> Result<Parts<'_>> {
    let device = classifier.head.device();
    let image = Tensor::zeros([1, 3, height, width], (Kind::Float, device));
    let names = classifier.category_names.join(", ");
    let meaning = if classifier.loss.config.is_softmax() {
        "they sum to 1"
    } else {
        "each category on its own"
    };
    Ok(Parts::Whole(Part {
        name: "classifier",
        inputs: vec![PartInput::fixed("image", image, "[1, 3, height, width] RGB, prepared")],
        outputs: vec![PartOutput::new(
            "scores",
            Meaning::Scores,
            format!("[1, {}] in [0, 1], {meaning}: {names}", classifier.category_names.len()),
        )],
        forward: Box::new(|inputs| {
            let [image] = inputs else { bail!("one image, not {}", inputs.len()) };
            let levels = classifier.backbone.forward(image, false)?;
            let coarsest = levels.last().context("the backbone gave no feature level")?;
            Ok(vec![classifier.scores(&classifier.head.forward(coarsest)?)])
        }),
    }))
}
