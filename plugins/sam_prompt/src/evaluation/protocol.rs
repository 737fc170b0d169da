//! Prompts derived from annotations.

use sonotune_engine::prelude::*;

use crate::{
    Protocol,
    config::EvaluationConfig,
    postprocess::tight_box,
    prediction::{Reply, View},
    prompt::Question,
};

/// An annotated object that can be prompted for.
struct Subject<'a> {
    index: usize,
    object: &'a Object,
    mask: Rle,
}

/// Answers for every object of an image by every protocol, pass after pass.
///
/// Crowds are not prompted for, nor are objects without a pixel: a prompt needs a place to point at.
pub(crate) fn ask_about(view: &View<'_>, target: &Target) -> Result<Vec<Instance>> {
    let size = (u32::try_from(target.original_size.0)?, u32::try_from(target.original_size.1)?);
    let mut subjects = Vec::new();
    for (index, object) in target.objects.iter().enumerate().filter(|(_, o)| !o.is_crowd) {
        let mask = object
            .segmentation
            .rasterize(size, object.bbox)
            .with_context(|| format!("mask of object {index} of {}", target.path.display()))?;
        if mask.area() > 0 {
            subjects.push(Subject { index, object, mask });
        }
    }
    let (mut instances, mut pass) = (Vec::new(), 0);
    for &protocol in &view.config.evaluation.protocols {
        let config = &view.config.evaluation;
        let prompts = subjects.iter().map(|subject| prompt(config, target, subject, protocol));
        let mut prompts = prompts.collect::<Result<Vec<_>>>()?;
        let rounds = match protocol {
            Protocol::Clicks => view.config.evaluation.num_clicks,
            _ => 1,
        };
        let mut last: Vec<Reply> = Vec::new();
        for round in 0..rounds {
            if round > 0 {
                for ((prompt, subject), reply) in prompts.iter_mut().zip(&subjects).zip(&last) {
                    prompt.points.extend(next_click(&reply.mask, &subject.mask));
                }
            }
            let questions: Vec<_> = prompts
                .iter()
                .enumerate()
                .map(|(i, prompt)| Question {
                    mask: last.get(i).map(|reply| reply.logits.shallow_clone()),
                    ..Question::new(prompt, view.frame, view.config.convention)
                })
                .collect();
            last = view.ask(&questions)?;
            let answers = subjects.iter().zip(&last);
            instances.extend(answers.map(|(subject, reply)| instance(subject, reply, pass)));
            pass += 1;
        }
    }
    Ok(instances)
}

fn instance(subject: &Subject<'_>, reply: &Reply, pass: usize) -> Instance {
    Instance {
        category: subject.object.category as usize,
        score: reply.score,
        bbox: tight_box(&reply.mask),
        mask: Some(reply.mask.clone()),
        answers: Some(Answer { object: subject.index, pass }),
    }
}

/// For a mirror image, the mirrored prompt of the image itself: what is random is drawn there.
fn prompt(
    config: &EvaluationConfig,
    target: &Target,
    subject: &Subject<'_>,
    protocol: Protocol,
) -> Result<ObjectPrompt> {
    if !target.flipped {
        return Ok(drawn(config, target, subject, protocol));
    }
    let object = &subject.object.mirrored(target.original_size)?;
    let plain = Subject { index: subject.index, object, mask: subject.mask.mirrored() };
    drawn(config, target, &plain, protocol).mirrored(target.original_size)
}

fn drawn(
    config: &EvaluationConfig,
    target: &Target,
    subject: &Subject<'_>,
    protocol: Protocol,
) -> ObjectPrompt {
    let id = target.image_id.to_string();
    let id = id.bytes().fold(0u64, |hash, byte| Rng::at(hash, &[u64::from(byte)]).next_u64());
    let mut rng = Rng::at(config.seed, &[id, subject.index as u64]);
    let [x, y, width, height] = subject.object.bbox;
    let at = |(x, y): (f64, f64)| ObjectPrompt {
        points: vec![PointPrompt { x, y, positive: true }],
        ..ObjectPrompt::default()
    };
    let with_box = |bbox| ObjectPrompt { bbox: Some(bbox), ..ObjectPrompt::default() };
    match protocol {
        Protocol::CenterPoint | Protocol::Clicks => at(subject.mask.centroid().unwrap_or_default()),
        Protocol::RandomPoint => {
            let nth = rng.below(subject.mask.area().max(1));
            at(subject
                .mask
                .nth_pixel(nth)
                .map_or((0.0, 0.0), |(x, y)| (f64::from(x), f64::from(y))))
        }
        Protocol::Box => with_box([x, y, x + width, y + height]),
        Protocol::NoisyBox => {
            let mut moved =
                |v: f64, side: f64| v + (2.0 * rng.uniform() - 1.0) * config.box_noise * side;
            with_box([
                moved(x, width),
                moved(y, height),
                moved(x + width, width),
                moved(y + height, height),
            ])
        }
    }
}

/// A click at the deepest point of the missing or the surplus region, whichever is deeper; `None` if
/// the mask is correct.
fn next_click(mask: &Rle, truth: &Rle) -> Option<PointPrompt> {
    let (predicted, wanted) = (mask.to_mask(), truth.to_mask());
    let width = truth.width as usize;
    let deepest = |of: &dyn Fn(u8, u8) -> bool| {
        let region: Vec<u8> =
            predicted.iter().zip(&wanted).map(|(&p, &w)| u8::from(of(p, w))).collect();
        deepest_pixel(&region, width)
    };
    let missing = deepest(&|p, w| p == 0 && w != 0);
    let too_much = deepest(&|p, w| p != 0 && w == 0);
    let depth = |found: &Option<((usize, usize), u32)>| found.map_or(0, |(_, depth)| depth);
    let positive = depth(&missing) >= depth(&too_much);
    let ((x, y), _) = if positive { missing } else { too_much }?;
    Some(PointPrompt { x: x as f64, y: y as f64, positive })
}

/// `(x, y)` of the pixel of a row-major mask that needs the most steps (up, down, left, right) to leave
/// the mask, and their number; the first of equals. Pixels beyond the image count as outside.
fn deepest_pixel(mask: &[u8], width: usize) -> Option<((usize, usize), u32)> {
    let height = mask.len() / width.max(1);
    let mut steps: Vec<u32> = mask.iter().map(|&p| if p == 0 { 0 } else { u32::MAX - 1 }).collect();
    for y in 0..height {
        for x in 0..width {
            let i = y * width + x;
            let above = if y > 0 { steps[i - width] } else { 0 };
            let left = if x > 0 { steps[i - 1] } else { 0 };
            steps[i] = steps[i].min(above.min(left) + 1);
        }
    }
    for y in (0..height).rev() {
        for x in (0..width).rev() {
            let i = y * width + x;
            let below = if y + 1 < height { steps[i + width] } else { 0 };
            let right = if x + 1 < width { steps[i + 1] } else { 0 };
            steps[i] = steps[i].min(below.min(right) + 1);
        }
    }
    let depth = steps.iter().copied().max().filter(|&depth| depth > 0)?;
    let i = steps.iter().position(|&d| d == depth)?;
    Some(((i % width, i / width), depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: [&str; 5]) -> Rle {
        let pixels: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
        Rle::from_mask(&pixels, (5, 7)).unwrap()
    }

    #[test]
    fn a_mirror_image_is_asked_by_the_mirrored_prompt() {
        let pixels = mask([".......", ".##....", ".###...", "..##...", "......."]);
        let object = Object {
            category: 0,
            bbox: [1.0, 1.0, 3.0, 3.0],
            area: 7.0,
            is_crowd: false,
            segmentation: Segmentation::Runs(pixels.clone()),
        };
        let empty = || Tensor::zeros([0, 4], (Kind::Float, Device::Cpu));
        let target = |flipped| Target {
            image_id: ImageId::Unsigned(3),
            path: "a.png".into(),
            original_size: (5, 7),
            crop: None,
            spacing: None,
            input_size: (5, 7),
            flipped,
            image_labels: Vec::new(),
            labels: empty(),
            boxes: empty(),
            masks: empty(),
            is_crowd: empty(),
            objects: Vec::new().into(),
            prompts: None,
            values: Default::default(),
            stored: Default::default(),
        };
        let config = EvaluationConfig::default();
        let subject = Subject { index: 1, object: &object, mask: pixels.clone() };
        let there = object.mirrored((5, 7)).unwrap();
        let mirrored = Subject { index: 1, object: &there, mask: pixels.mirrored() };
        for protocol in
            [Protocol::CenterPoint, Protocol::Box, Protocol::RandomPoint, Protocol::NoisyBox]
        {
            let plain = prompt(&config, &target(false), &subject, protocol).unwrap();
            let asked = prompt(&config, &target(true), &mirrored, protocol).unwrap();
            assert_eq!(asked, plain.mirrored((5, 7)).unwrap());
            assert_ne!(asked, plain);
            if let [PointPrompt { x, y, .. }] = asked.points[..]
                && protocol == Protocol::RandomPoint
            {
                assert_eq!(pixels.mirrored().to_mask()[y as usize * 7 + x as usize], 1);
            }
        }
    }

    #[test]
    fn the_next_click_lies_deepest_in_the_larger_error() {
        let truth = mask([".......", ".###...", ".###...", ".###...", "......."]);
        let empty = mask([".......", ".......", ".......", ".......", "......."]);
        let click = next_click(&empty, &truth).unwrap();
        assert_eq!((click.x, click.y, click.positive), (2.0, 2.0, true));
        let click = next_click(&truth, &empty).unwrap();
        assert_eq!((click.x, click.y, click.positive), (2.0, 2.0, false));
        assert_eq!(next_click(&truth, &truth), None);
    }
}
