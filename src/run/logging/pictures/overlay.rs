//! Which objects of a prediction are drawn, in which order, colour and words.

use image::Rgb;
use sonotune_draw::{Object, Overlay, Prompt, colour::category_colour};

use sonotune_base::Category;
use sonotune_dataset::ObjectPrompt;
use sonotune_engine::task::{Instance, Prediction};

/// The instances of `prediction`, the highest score on top, with the `prompts` that they answer.
pub(super) fn overlay<'a>(
    prediction: &'a Prediction,
    prompts: &[ObjectPrompt],
    categories: &[Category],
) -> Overlay<'a> {
    let Prediction { instances, original_size, .. } = prediction;
    let mut order: Vec<_> = instances.iter().enumerate().rev().collect();
    order.sort_by(|(_, a), (_, b)| a.score.total_cmp(&b.score));
    let object = |(index, instance): (usize, &'a Instance)| {
        let prompt = instance.answers.and_then(|answer| prompts.get(answer.object));
        Object {
            bbox: instance.bbox,
            mask: instance.mask.as_ref(),
            prompt: prompt.map(drawn),
            label: label(instance, prompt, categories),
            colour: colour(index, instance, categories),
        }
    };
    Overlay { original_size: *original_size, objects: order.into_iter().map(object).collect() }
}

fn drawn(prompt: &ObjectPrompt) -> Prompt {
    let points = prompt.points.iter().map(|point| ((point.x, point.y), point.positive));
    Prompt { points: points.collect(), bbox: prompt.bbox }
}

/// By category, if that tells objects apart.
fn colour(index: usize, instance: &Instance, categories: &[Category]) -> Rgb<u8> {
    match (instance.answers, categories) {
        (Some(answer), _) => category_colour(answer.object),
        (None, [_]) => category_colour(index),
        (None, _) => category_colour(instance.category),
    }
}

/// The prompt's name, or else the category's, and the score.
fn label(instance: &Instance, prompt: Option<&ObjectPrompt>, categories: &[Category]) -> String {
    let category = || categories.get(instance.category).map_or("?", |c| c.name.as_str());
    let name = prompt.and_then(|prompt| prompt.name.as_deref());
    format!("{} {:.2}", name.unwrap_or_else(category), instance.score)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use sonotune_base::ImageId;
    use sonotune_dataset::PointPrompt;
    use sonotune_engine::task::Answer;

    fn instance(category: usize, score: f64) -> Instance {
        Instance { category, score, bbox: [0.0, 0.0, 4.0, 4.0], mask: None, answers: None }
    }

    fn prediction(instances: Vec<Instance>) -> Prediction {
        Prediction {
            image_id: ImageId::Unsigned(1),
            original_size: (8, 8),
            scores: vec![],
            labels: vec![],
            instances,
            values: BTreeMap::new(),
        }
    }

    fn categories(names: &[&str]) -> Vec<Category> {
        names.iter().map(|name| Category { id: 1, name: (*name).to_owned() }).collect()
    }

    #[test]
    fn the_highest_score_is_on_top_and_the_first_of_equal_ones() {
        let prediction = prediction(vec![instance(0, 0.5), instance(1, 0.9), instance(2, 0.5)]);
        let drawn = overlay(&prediction, &[], &categories(&["cyst", "solid"]));
        let labels: Vec<&str> = drawn.objects.iter().map(|o| o.label.as_str()).collect();
        assert_eq!(labels, ["? 0.50", "cyst 0.50", "solid 0.90"]);
        let colours: Vec<_> = drawn.objects.iter().map(|o| o.colour).collect();
        assert_eq!(colours, [2, 0, 1].map(category_colour));
    }

    #[test]
    fn objects_of_a_single_category_differ_in_colour() {
        let prediction = prediction(vec![instance(0, 0.9), instance(0, 0.5)]);
        let drawn = overlay(&prediction, &[], &categories(&["cyst"]));
        let colours: Vec<_> = drawn.objects.iter().map(|o| o.colour).collect();
        assert_eq!(colours, [1, 0].map(category_colour));
    }

    #[test]
    fn answers_have_the_prompt_with_its_name_and_colour() {
        let answers = |object| Some(Answer { object, pass: 0 });
        let named = ObjectPrompt {
            name: Some("left".to_owned()),
            points: vec![PointPrompt { x: 1.0, y: 2.0, positive: false }],
            bbox: Some([1.0, 1.0, 3.0, 3.0]),
            ..ObjectPrompt::default()
        };
        let prediction = prediction(vec![
            Instance { answers: answers(1), ..instance(0, 0.9) },
            Instance { answers: answers(7), ..instance(0, 0.8) },
        ]);
        let prompts = [ObjectPrompt::default(), named];
        let drawn = overlay(&prediction, &prompts, &categories(&["cyst"]));
        let [without, with] = &drawn.objects[..] else { panic!("two objects") };
        assert_eq!((with.label.as_str(), with.colour), ("left 0.90", category_colour(1)));
        let prompt = with.prompt.as_ref().unwrap();
        assert_eq!(prompt.points, [((1.0, 2.0), false)]);
        assert_eq!(prompt.bbox, Some([1.0, 1.0, 3.0, 3.0]));
        assert_eq!((without.label.as_str(), without.colour), ("cyst 0.80", category_colour(7)));
        assert!(without.prompt.is_none());
    }
}
