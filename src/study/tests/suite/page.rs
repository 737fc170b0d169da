//! The answer and its page.

use sonotune_study::Decision;

use crate::written::{Written, classes, dice};

fn fast(more: &str) -> String {
    format!("[statistics]\nresamples = 400\n{more}")
}

fn segmentation(means: &[f64], patients: usize, more: &str) -> Written {
    let names: Vec<String> = (0..means.len()).map(|i| format!("m{i} <b>&\"")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let written = Written::new(&names, &fast(more));
    for (place, cell) in written.cells().iter().enumerate() {
        written.score(cell, &dice(patients, means[place % means.len()], place as u64));
    }
    written
}

#[test]
fn the_page_needs_nothing_else_and_escapes_names() {
    let written = segmentation(&[0.8, 0.6], 20, "");
    let (_, page) = written.answer();
    let tags = page.split('<').skip(1).filter_map(|part| part.split_once('>'));
    for (tag, _) in tags {
        for word in ["script", "http:", "https:", "src=", "@import", "url(", "onload"] {
            assert!(!tag.contains(word), "{tag}");
        }
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("m0 &lt;b&gt;&amp;") && !page.contains("m0 <b>"));
    assert!(page.contains("a note of the &lt;study&gt;"));
    assert!(page.contains("@media (prefers-color-scheme:dark)"));
}

#[test]
fn a_clear_difference_is_a_verdict_with_intervals() {
    let (answer, page) = segmentation(&[0.6, 0.8], 20, "").answer();
    let task = &answer.tasks[0];
    assert_eq!(task.verdict.decision, Decision::Best);
    assert_eq!(task.entries[0].model, "m1 <b>&\"");
    let pair = &task.comparisons[0];
    assert!(pair.is_significant && pair.first == "m1 <b>&\"");
    assert!(pair.difference > 0.15 && pair.interval.unwrap()[0] > 0.15);
    let figure = &task.entries[0].figures[0];
    assert!(page.contains(&figure.text()) && figure.text().contains('['));
    assert!(page.contains("significantly better than all others (20 patients)"));
    // An interval and a dot for each of two entries.
    assert_eq!(page.matches("class=\"interval\"").count(), 6);
    for id in ["ranking", "pairs", "curves", "cost", "failures", "methods", "checklists", "notes"] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    // Four runs, and the mean of two seeds for each entry.
    assert_eq!(page.matches("<g class=\"repeat\">").count(), 4);
    assert!(page.contains("dice on val") && page.contains("1m 30s") && page.contains("1.0 GiB"));
}

#[test]
fn too_few_patients_are_said_to_be_too_few() {
    let (answer, page) = segmentation(&[0.70, 0.705], 5, "").answer();
    let verdict = &answer.tasks[0].verdict;
    assert_eq!(verdict.decision, Decision::Undecided);
    // With five patients the smallest p-value is 2 / 32.
    assert!(verdict.is_hopeless);
    assert!(page.contains("too few to decide (5 patients)"));
    assert!(page.contains("or more would be likely to show") && page.contains("takes about"));
    assert!(!page.contains("significantly better than all"));
    let pair = &answer.tasks[0].comparisons[0];
    assert!(pair.detectable > pair.difference && pair.patients_needed.unwrap() > 5);
}

#[test]
fn a_lone_model_has_nothing_to_be_compared_with() {
    let (answer, page) = segmentation(&[0.7], 6, "").answer();
    assert_eq!(answer.tasks[0].verdict.decision, Decision::NothingToCompare);
    assert!(page.contains("nothing to compare it with") && !page.contains("id=\"pairs\""));
}

#[test]
fn four_entries_get_a_matrix() {
    let (_, page) = segmentation(&[0.9, 0.7, 0.5, 0.3], 12, "").answer();
    assert_eq!(page.matches('▲').count(), 6 + 1);
    assert_eq!(page.matches('▽').count(), 6 + 1);
}

#[test]
fn subgroups_have_a_table_and_unknown_fields_a_note() {
    let more = "subgroups = [\"device\", \"site\"]";
    let (answer, page) = segmentation(&[0.8, 0.6], 24, more).answer();
    let table = &answer.tasks[0].subgroups[0];
    assert_eq!((table.field.as_str(), table.rows.len()), ("device", 4));
    assert!(table.rows.iter().all(|row| row.num_patients == 12 && row.gap.is_some()));
    assert!(page.contains("dice by device") && page.contains("B &amp; C"));
    assert!(page.contains("no subgroups by site: no image has such a field; there are device"));
}

#[test]
fn classifications_are_calibrated_and_tested_image_by_image() {
    let written = Written::new(&["good", "poor"], &fast(""));
    for (place, cell) in written.cells().iter().enumerate() {
        let right = if cell.model == "good" { 0.95 } else { 0.6 };
        written.score(cell, &classes(60, right, place as u64));
    }
    let (answer, page) = written.answer();
    let task = &answer.tasks[0];
    let [good, poor] = &task.calibration[..] else { panic!("{:?}", task.calibration) };
    assert_eq!((good.name.as_str(), poor.name.as_str()), ("good", "poor"));
    assert!(poor.temperature > good.temperature && poor.brier > good.brier);
    assert_eq!(good.bins.iter().map(|bin| bin.count).sum::<usize>(), 120);
    let test = &task.single_image_tests[0];
    assert!(test.only_first > test.only_second && test.p_mcnemar < 0.05);
    assert_eq!(test.aurocs.len(), 1);
    assert!(test.aurocs[0].first > test.aurocs[0].second && test.aurocs[0].p_adjusted < 0.05);
    assert!(page.contains("Reliability of good") && page.contains("p (DeLong)"));
}

#[test]
fn several_images_per_patient_forbid_tests_of_single_images() {
    let (answer, page) = segmentation(&[0.8, 0.6], 8, "").answer();
    assert!(answer.tasks[0].single_image_tests.is_empty());
    assert!(page.contains("Not given: they compare classifications, and this task is none."));
    let written = Written::new(&["a", "b"], &fast(""));
    for (place, cell) in written.cells().iter().enumerate() {
        let csv = classes(40, 0.8, place as u64).replace(",p1,", ",p0,");
        written.score(cell, &csv);
    }
    let (answer, page) = written.answer();
    assert!(answer.tasks[0].single_image_tests.is_empty());
    assert!(page.contains("the 40 images are of 39 patients"));
}

#[test]
fn failures_and_runs_to_come_are_on_the_page() {
    let written = Written::new(&["a", "b"], &fast(""));
    let cells = written.cells();
    written.score(&cells[0], &dice(8, 0.7, 0));
    written.fail(&cells[1], "out of <memory>");
    let (answer, page) = written.answer();
    assert_eq!((answer.failures.len(), answer.missing.len()), (1, 2));
    assert!(page.contains("out of &lt;memory&gt;") && page.contains("1 run failed"));
    assert!(page.contains("2 runs to come"));
    assert!(page.contains("b is not in the table"));
}

#[test]
fn the_worst_prediction_of_each_image_is_shown_once() {
    let written = segmentation(&[0.8, 0.6], 8, "");
    let picture = |path: &str, score: f64| {
        format!(
            r#"{{"path": "{path}", "score": {score}, "lines": ["found: <none>"], "width": 4, "height": 3, "jpeg": "QUJD"}}"#
        )
    };
    for (place, cell) in
        written.cells().iter().filter(|cell| cell.model.starts_with("m0")).enumerate()
    {
        let worst = [picture("a.png", 0.1 + place as f64 / 10.0), picture("b.png", 0.5)].join(",");
        let shown = format!(
            r#"{{"split": "test", "step": 4, "counts": {COUNTS}, "report": {{"metrics": [], "notes": [], "tables": []}},
            "ranked": {{"score": "Dice", "num_images": 16, "best": [], "worst": [{worst}]}}}}"#
        );
        let folder = written.study.files.run(&cell.name).join("report");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("eval-test.json"), shown).unwrap();
    }
    let (_, page) = written.answer();
    assert_eq!(page.matches("data:image/jpeg;base64,QUJD").count(), 2);
    assert!(page.contains("Dice 0.1000") && !page.contains("Dice 0.2000"));
    assert!(page.contains("found: &lt;none&gt;"));
}

const COUNTS: &str = r#"{"source": "t.json", "source_sha256": null, "num_images": 16, "num_objects": 16, "num_crowds": 0,
    "images_without_objects": 0, "images_without_label": 0, "image_sizes": null, "categories": [], "notes": []}"#;

#[test]
fn tables_are_linked_by_names_that_exist() {
    let written = segmentation(&[0.8, 0.6], 8, "");
    let (_, page) = written.answer();
    let links: Vec<&str> = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(link, _)| link))
        .collect();
    assert!(links.contains(&"tables/ranking.md") && links.contains(&"tables/figures.csv"));
    for link in links {
        assert!(written.path(link).is_file(), "{link}");
    }
}

#[test]
fn the_methods_say_what_was_done_and_checklists_what_is_open() {
    let (_, page) = segmentation(&[0.8, 0.6], 8, "").answer();
    for words in [
        "We compared 2 models",
        "2 seeds (0 and 1)",
        "expanded BCa bootstrap (for other figures) intervals from 400 resamples of patients",
        "Holm",
        concat!("made with Sonotune ", env!("CARGO_PKG_VERSION")),
        "CLAIM 2024: ",
        "of 52 items filled in",
        "for the author",
    ] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_wrong_level_has_the_exit_code_of_the_config() {
    let mut written = segmentation(&[0.8, 0.6], 8, "");
    written.study.config.statistics.level = 2.0;
    let error = sonotune_study::Answer::of(
        &written.study,
        &written.cells(),
        &sonotune_study::Groups::new(),
        Vec::new(),
    )
    .unwrap_err();
    let kind = error.downcast_ref::<sonotune_base::Error>().map(|error| error.kind);
    assert_eq!(kind, Some(sonotune_base::ErrorKind::Config), "{error:?}");
}

#[test]
fn unfinished_seeds_leave_ranking_and_pairs_in_agreement() {
    let written = Written::new(&["a", "b"], &fast(""));
    let cells = written.cells();
    // The second seed of `a` is far better than its first, and `b` has one seed only.
    for (place, right) in [(0, 0.6), (1, 0.7), (2, 1.0)] {
        written.score(&cells[place], &classes(40, right, place as u64));
    }
    let (answer, page) = written.answer();
    let task = &answer.tasks[0];
    let pair = &task.comparisons[0];
    assert_eq!((task.entries[0].model.as_str(), pair.first.as_str()), ("a", "a"));
    let value = |entry: usize| task.entries[entry].figures[0].value;
    assert!((pair.difference - (value(0) - value(1))).abs() < 1e-12);
    assert!(page.contains("not all have the same number of finished seeds"));
}
