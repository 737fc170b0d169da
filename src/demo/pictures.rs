//! Pictures of predictions beside the truth.

use anyhow::{Context, Result};
use image::{Rgb, RgbImage};
use sonotune_base::Rle;
use sonotune_draw::{
    Object as Drawn, Overlay, colour, draw_box, draw_disc, draw_mask, draw_outline, fit, grid,
};
use sonotune_report::Picture;

use crate::{
    answers::Object,
    folder::Predicted,
    shown::{ClassCase, PromptedCase},
    test_split::{TestImage, Truth},
};

/// Side of a picture in pixels.
const SIDE: u32 = 256;
/// Radius of a click: it must be seen where three pictures share the width of a phone.
const CLICK: f64 = 6.0;

/// Pictures side by side, each with what it shows.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    pub(crate) panels: Vec<(&'static str, RgbImage)>,
}

impl Panels {
    /// For the page.
    pub(crate) fn embedded(&self, image: &TestImage) -> Result<Vec<(&'static str, Picture)>> {
        let embed = |(name, panel): &(&'static str, RgbImage)| {
            Ok((*name, Picture::new(&image.path, f64::NAN, Vec::new(), panel)?))
        };
        self.panels.iter().map(embed).collect()
    }

    /// One sheet, for a file.
    pub(crate) fn sheet(&self) -> RgbImage {
        let panels: Vec<RgbImage> = self.panels.iter().map(|(_, panel)| panel.clone()).collect();
        grid(&panels, panels.len() as u32)
    }
}

/// Blue: what the model found.
fn found() -> Rgb<u8> {
    colour::category_colour(1)
}

/// Green: the truth.
fn truth() -> Rgb<u8> {
    colour::category_colour(3)
}

/// The image as it is on disk, enlarged.
fn open(image: &TestImage) -> Result<(RgbImage, f64)> {
    let opened = image::open(&image.path)
        .with_context(|| format!("cannot open {}", image.path.display()))?
        .to_rgb8();
    let scale = f64::from(SIDE) / f64::from(opened.width().max(opened.height()).max(1));
    Ok((fit(&opened, SIDE), scale))
}

/// The prompt, the mask that answers it, and the lesion.
pub(crate) fn prompted(case: &PromptedCase<'_>, predicted: Predicted) -> Result<Panels> {
    let (picture, scale) = open(case.image)?;
    let mut asked = picture.clone();
    let first = match predicted {
        Predicted::Boxes => {
            draw_box(&mut asked, case.truth.bbox.map(|side| side * scale), 2, colour::ORANGE);
            "box"
        }
        _ => {
            let (x, y) = case.truth.centre;
            let centre = ((x + 0.5) * scale, (y + 0.5) * scale);
            draw_disc(&mut asked, centre, CLICK + 2.0, colour::WHITE);
            draw_disc(&mut asked, centre, CLICK, colour::RIGHT);
            "click"
        }
    };
    let mut answer = picture.clone();
    draw_mask(&mut answer, &case.answer.mask, found());
    draw_outline(&mut answer, &case.truth.mask, truth());
    let panels =
        vec![(first, asked), ("model", answer), ("truth", annotated(&picture, [case.truth]))];
    Ok(Panels { panels })
}

/// The image with lesions that are true.
fn annotated<'a>(picture: &RgbImage, lesions: impl IntoIterator<Item = &'a Truth>) -> RgbImage {
    let mut picture = picture.clone();
    lesions.into_iter().for_each(|lesion| draw_mask(&mut picture, &lesion.mask, truth()));
    picture
}

/// The image, the lesions that the model found with their classes, and the true ones.
pub(crate) fn instances(image: &TestImage, found: &[Object], classes: &[String]) -> Result<Panels> {
    let (picture, _) = open(image)?;
    let drawn = |mask: &Rle, category: &str, label: String| {
        let colour = classes.iter().position(|class| class == category).unwrap_or(0);
        (mask.clone(), label, colour::category_colour(colour))
    };
    let draw = |objects: Vec<(Rle, String, Rgb<u8>)>| {
        let mut picture = picture.clone();
        let objects = objects.iter().map(|(mask, label, colour)| Drawn {
            bbox: xyxy(mask),
            mask: Some(mask),
            prompt: None,
            label: label.clone(),
            colour: *colour,
        });
        let original_size = image
            .objects
            .first()
            .map_or((1, 1), |truth| (i64::from(truth.mask.height), i64::from(truth.mask.width)));
        Overlay { original_size, objects: objects.collect() }.draw(&mut picture);
        picture
    };
    let answers = found.iter().map(|object| {
        let label = format!("{} {:.2}", object.category, object.score);
        drawn(&object.mask, &object.category, label)
    });
    let truths = image
        .objects
        .iter()
        .map(|truth| drawn(&truth.mask, &truth.category, truth.category.clone()));
    let (answers, truths) = (draw(answers.collect()), draw(truths.collect()));
    Ok(Panels { panels: vec![("image", picture), ("model", answers), ("truth", truths)] })
}

fn xyxy(mask: &Rle) -> [f64; 4] {
    let [x, y, width, height] = mask.bbox();
    [x, y, x + width, y + height]
}

/// The image with its lesions outlined in the colour of right or wrong.
pub(crate) fn classified(case: &ClassCase<'_>) -> Result<RgbImage> {
    let (mut picture, _) = open(case.image)?;
    let colour = if case.is_right() { colour::RIGHT } else { colour::WRONG };
    for lesion in &case.image.objects {
        draw_outline(&mut picture, &lesion.mask, colour);
    }
    Ok(picture)
}
