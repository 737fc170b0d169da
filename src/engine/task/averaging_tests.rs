use super::*;
use sonotune_base::ImageId;

/// A row of pixels, `#` in the mask.
fn mask(row: &str) -> Rle {
    let pixels: Vec<u8> = row.bytes().map(|b| u8::from(b == b'#')).collect();
    Rle::from_mask(&pixels, (1, row.len() as u32)).unwrap()
}

fn object(category: usize, score: f64, row: &str) -> Instance {
    let mask = mask(row);
    Instance { category, score, bbox: tight_box(&mask), mask: Some(mask), answers: None }
}

fn answer(object_index: usize, score: f64, row: &str) -> Instance {
    let answers = Some(Answer { object: object_index, pass: 0 });
    Instance { answers, ..object(0, score, row) }
}

fn prediction(instances: Vec<Instance>) -> Prediction {
    Prediction {
        image_id: ImageId::Unsigned(1),
        original_size: (1, 4),
        scores: Vec::new(),
        labels: Vec::new(),
        instances,
        values: BTreeMap::new(),
    }
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-12, "{got} instead of {expected}");
}

#[test]
fn scores_are_averaged_by_category() {
    let scores = |scores: [f64; 2]| Prediction { scores: scores.into(), ..prediction(vec![]) };
    let mean = mean_scores(&[scores([0.2, 0.8]), scores([0.6, 0.1])]).unwrap();
    close(mean[0], 0.4);
    close(mean[1], 0.45);
    assert_eq!(mean_scores(&[scores([0.3, 0.7])]).unwrap(), [0.3, 0.7]);
    let error = mean_scores(&[scores([0.2, 0.8]), prediction(vec![])]).unwrap_err().to_string();
    assert!(error.contains("2 and of 0 categories"), "{error}");
    assert!(mean_scores(&[]).is_err());
}

#[test]
fn the_majority_decides_about_a_pixel_of_an_answer() {
    let three = [answer(0, 0.9, "##.."), answer(0, 0.5, ".##."), answer(0, 0.4, ".#.#")];
    let found = answers(&three.map(|a| prediction(vec![a]))).unwrap();
    assert_eq!(found[0].mask, Some(mask(".#..")));
    assert_eq!(found[0].bbox, [1.0, 0.0, 2.0, 1.0]);
    close(found[0].score, 0.6);
    assert_eq!(found[0].answers, Some(Answer { object: 0, pass: 0 }));
}

#[test]
fn with_equal_votes_the_scores_decide_and_then_the_foreground() {
    let both = |a: f64, b: f64| {
        let (a, b) = (answer(0, a, "##.."), answer(0, b, ".##."));
        answers(&[prediction(vec![a]), prediction(vec![b])]).unwrap().remove(0).mask.unwrap()
    };
    assert_eq!(both(0.9, 0.5), mask("##.."));
    assert_eq!(both(0.5, 0.9), mask(".##."));
    assert_eq!(both(0.5, 0.5), mask("###."));
    // Two for each side: 0.9 + 0.2 against 0.6 + 0.4.
    let four = [(0.9, "#..."), (0.2, "#..."), (0.6, "...#"), (0.4, "...#")];
    let four = four.map(|(score, row)| prediction(vec![answer(0, score, row)]));
    assert_eq!(answers(&four).unwrap()[0].mask, Some(mask("#...")));
}

#[test]
fn answers_are_matched_by_question_in_any_order() {
    let first = prediction(vec![answer(2, 0.5, "#..."), answer(0, 0.9, "..##")]);
    let second = prediction(vec![answer(0, 0.7, "..##"), answer(2, 0.1, "#...")]);
    let found = answers(&[first.clone(), second]).unwrap();
    assert_eq!(found.iter().map(|a| a.answers.unwrap().object).collect::<Vec<_>>(), [2, 0]);
    close(found[0].score, 0.3);
    close(found[1].score, 0.8);
    assert_eq!(answers(std::slice::from_ref(&first)).unwrap(), first.instances);
    // An empty answer is an answer: against one vote it wins only with the higher score.
    let empty = answers(&[
        prediction(vec![answer(0, 0.6, "....")]),
        prediction(vec![answer(0, 0.5, "##..")]),
    ]);
    let empty = empty.unwrap().remove(0);
    assert_eq!((empty.mask, empty.bbox), (Some(mask("....")), [0.0; 4]));
}

#[test]
fn without_masks_the_boxes_of_answers_are_averaged() {
    let plain = |bbox| Instance { mask: None, bbox, ..answer(0, 0.5, "....") };
    let boxes = [[0.0, 0.0, 4.0, 2.0], [2.0, 0.0, 4.0, 4.0]].map(|b| prediction(vec![plain(b)]));
    assert_eq!(answers(&boxes).unwrap()[0].bbox, [1.0, 0.0, 4.0, 3.0]);
    let mixed = [boxes[0].clone(), prediction(vec![answer(0, 0.5, "#...")])];
    assert!(answers(&mixed).unwrap_err().to_string().contains("have a mask"));
}

#[test]
fn answers_to_different_questions_are_refused() {
    let one = prediction(vec![answer(0, 0.5, "#...")]);
    for other in [vec![answer(1, 0.5, "#...")], vec![], vec![object(0, 0.5, "#...")]] {
        let error = answers(&[one.clone(), prediction(other)]).unwrap_err().to_string();
        assert!(error.contains("question"), "{error}");
    }
}

#[test]
fn objects_of_several_predictions_become_one_if_they_overlap() {
    // IoU 2/3: one object; the more confident mask holds more than half of the scores.
    let first = prediction(vec![object(0, 0.9, "##...."), object(1, 0.2, "....##")]);
    let second = prediction(vec![object(0, 0.6, "###..."), object(0, 0.5, "....##")]);
    let found = instances(&[first, second], 10).unwrap();
    let shown: Vec<_> = found.iter().map(|i| (i.category, i.mask.clone().unwrap())).collect();
    // The two on the right are of different categories.
    let expected = [(0, mask("##....")), (0, mask("....##")), (1, mask("....##"))];
    assert_eq!(shown, expected);
    for (instance, score) in found.iter().zip([0.75, 0.25, 0.1]) {
        close(instance.score, score);
    }
    assert_eq!(found[0].bbox, [0.0, 0.0, 2.0, 1.0]);
}

#[test]
fn the_pixels_of_an_object_are_those_that_hold_half_of_the_scores() {
    let rows = [(0.8, "####.."), (0.5, ".####."), (0.4, ".#####")];
    let three = rows.map(|(score, row)| prediction(vec![object(0, score, row)]));
    let found = instances(&three, 10).unwrap();
    // IoU with the first: 3/5 and 3/6. Half of 1.7 is 0.85: column 0 has 0.8, 4 has 0.9, 5 has 0.4.
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].mask, Some(mask(".####.")));
    assert_eq!(found[0].bbox, [1.0, 0.0, 5.0, 1.0]);
    close(found[0].score, 1.7 / 3.0);
}

#[test]
fn objects_of_one_prediction_stay_apart_and_the_best_are_kept() {
    let twins =
        prediction(vec![object(0, 0.9, "##.."), object(0, 0.8, "##.."), object(0, 0.1, "...#")]);
    assert_eq!(instances(std::slice::from_ref(&twins), 10).unwrap(), twins.instances);
    assert_eq!(instances(std::slice::from_ref(&twins), 2).unwrap(), twins.instances[..2]);
    let pair = instances(&[twins, prediction(vec![object(0, 0.7, "##..")])], 10).unwrap();
    assert_eq!(pair.len(), 3);
    close(pair[0].score, 0.8);
    close(pair[1].score, 0.4);
    close(pair[2].score, 0.05);
    let nothing = [prediction(vec![]), prediction(vec![])];
    assert_eq!(instances(&nothing, 10).unwrap(), []);
}

#[test]
fn of_two_groups_an_object_joins_the_one_it_overlaps_more() {
    // IoU with the first 3/6, with the second 4/5.
    let first = prediction(vec![object(0, 0.9, "#####..."), object(0, 0.8, "..####..")]);
    let second = prediction(vec![object(0, 0.5, "..#####.")]);
    let found = instances(&[first, second], 10).unwrap();
    let scores: Vec<f64> = found.iter().map(|i| i.score).collect();
    close(scores[0], 0.65);
    close(scores[1], 0.45);
    assert_eq!(found[0].mask, Some(mask("..####..")));
}
