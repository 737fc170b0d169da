//! Checklists for reports: what the study can fill in, the rest marked for the author.

use maud::{Markup, html};
use sonotune_base::words::counted;
use sonotune_report::document::scrolled;

use super::super::{Answer, TaskAnswer};

/// Numbers and short titles of CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, 2024 update
/// (Tejani et al., doi 10.1148/ryai.240300).
const CLAIM: [(&str, &str); 44] = [
    ("1", "title names the AI method"),
    ("2", "structured abstract"),
    ("3", "background and clinical role"),
    ("4", "aims and hypotheses"),
    ("5", "prospective or retrospective"),
    ("6", "goal of the study"),
    ("7", "sources of the data"),
    ("8", "inclusion and exclusion"),
    ("9", "preprocessing"),
    ("10", "choice of subsets"),
    ("11", "de-identification"),
    ("12", "missing data"),
    ("13", "image acquisition"),
    ("14", "reference standard: definition"),
    ("15", "reference standard: rationale"),
    ("16", "annotators"),
    ("17", "annotation of the test set"),
    ("18", "variability of annotators"),
    ("19", "how data were partitioned"),
    ("20", "level at which partitions are disjoint"),
    ("21", "intended sample size"),
    ("22", "description of the model"),
    ("23", "software"),
    ("24", "initial parameters"),
    ("25", "training"),
    ("26", "choice of the final model"),
    ("27", "ensembles"),
    ("28", "metrics"),
    ("29", "uncertainty and significance"),
    ("30", "robustness or sensitivity"),
    ("31", "explainability"),
    ("32", "evaluation on internal data"),
    ("33", "test on external data"),
    ("34", "trial registration"),
    ("35", "numbers included and excluded"),
    ("36", "demographics of each partition"),
    ("37", "performance with uncertainty"),
    ("38", "diagnostic performance and its precision"),
    ("39", "analysis of failures"),
    ("40", "limitations"),
    ("41", "implications for practice"),
    ("42", "full protocol"),
    ("43", "availability of software, models, data"),
    ("44", "funding"),
];

/// Numbers and short titles of TRIPOD+AI (Collins et al. 2024, doi 10.1136/bmj-2023-078378).
const TRIPOD: [(&str, &str); 52] = [
    ("1", "title"),
    ("2", "abstract"),
    ("3a", "healthcare context"),
    ("3b", "population, purpose and users"),
    ("3c", "known health inequalities"),
    ("4", "objectives"),
    ("5a", "sources of the data"),
    ("5b", "dates of the data"),
    ("6a", "setting and centres"),
    ("6b", "eligibility"),
    ("6c", "treatments"),
    ("7", "data preparation"),
    ("8a", "outcome"),
    ("8b", "assessors of the outcome"),
    ("8c", "blinding of the outcome"),
    ("9a", "choice of predictors"),
    ("9b", "definition of predictors"),
    ("9c", "assessors of predictors"),
    ("10", "sample size"),
    ("11", "missing data"),
    ("12a", "how the data were used"),
    ("12b", "handling of predictors"),
    ("12c", "type and building of the model"),
    ("12d", "heterogeneity between clusters"),
    ("12e", "measures of performance"),
    ("12f", "updating of the model"),
    ("12g", "how predictions were computed"),
    ("13", "class imbalance"),
    ("14", "fairness"),
    ("15", "output of the model"),
    ("16", "training against evaluation data"),
    ("17", "ethical approval"),
    ("18a", "funding"),
    ("18b", "conflicts of interest"),
    ("18c", "protocol"),
    ("18d", "registration"),
    ("18e", "sharing of data"),
    ("18f", "sharing of code"),
    ("19", "involvement of patients and public"),
    ("20a", "flow of participants"),
    ("20b", "characteristics of participants"),
    ("20c", "comparison with the development data"),
    ("21", "numbers in each analysis"),
    ("22", "specification of the model"),
    ("23a", "performance with intervals"),
    ("23b", "heterogeneity of performance"),
    ("24", "results of updating"),
    ("25", "interpretation"),
    ("26", "limitations"),
    ("27a", "poor or missing input"),
    ("27b", "interaction and expertise of users"),
    ("27c", "next steps"),
];

/// What a study knows, whatever a checklist calls it.
struct Known {
    partitions: String,
    disjoint: Option<String>,
    software: String,
    training: String,
    choice: String,
    metrics: String,
    uncertainty: String,
    internal: String,
    numbers: String,
    performance: String,
    failures: String,
    predictions: String,
}

impl Known {
    fn of(answer: &Answer) -> Self {
        let design = &answer.design;
        let metrics: Vec<String> = answer
            .tasks
            .iter()
            .flat_map(|task| task.entries.first().map(|entry| (task, entry)))
            .map(|(task, entry)| {
                let names: Vec<&str> = entry.figures.iter().map(|figure| &*figure.name).collect();
                format!("{}; {} ranks", names.join(", "), task.metric)
            })
            .collect();
        let number = |task: &TaskAnswer| {
            format!(
                "{} of {}",
                counted(task.num_images, "image"),
                counted(task.num_patients, "patient")
            )
        };
        let numbers: Vec<String> = answer.tasks.iter().map(number).collect();
        Self {
            partitions: match &design.folds {
                Some(folds) => format!(
                    "{} folds{}: each is the test split once, the next one the validation split, the others train",
                    folds.count,
                    if folds.is_stratified { ", stratified by category" } else { "" }
                ),
                None => "fixed training, validation and test splits".to_owned(),
            },
            disjoint: design.folds.as_ref().map(|folds| format!("{} stay together", folds.unit)),
            software: design.software.clone(),
            training: format!(
                "the complete config of each run is in cells/, its log in runs/; seeds {}",
                design.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
            ),
            choice: "checkpoints were chosen on the validation split".to_owned(),
            metrics: metrics.join(". "),
            uncertainty: format!(
                "{} {} intervals over patients; permutation tests with Holm's correction",
                super::level(answer),
                design.interval
            ),
            internal: "see Ranking: the test images come from the same data as the training images, unless the \
                       config names others"
                .to_owned(),
            numbers: format!("tested: {}", numbers.join("; ")),
            performance: match design.subgroups.as_slice() {
                [] => "see Ranking and Who is better than whom".to_owned(),
                fields => format!(
                    "see Ranking, Who is better than whom, and Subgroups ({})",
                    fields.join(", ")
                ),
            },
            failures: "see Worst images, and the pages of the runs; what they have in common is for the \
                       author"
                .to_owned(),
            predictions: "`sonotune predict --run runs/NAME` computes predictions of each run".to_owned(),
        }
    }

    fn claim(&self, item: &str) -> Option<&str> {
        Some(match item {
            "19" => &self.partitions,
            "20" => return self.disjoint.as_deref(),
            "23" => &self.software,
            "25" => &self.training,
            "26" => &self.choice,
            "28" => &self.metrics,
            "29" => &self.uncertainty,
            "32" => &self.internal,
            "37" | "38" => &self.performance,
            "39" => &self.failures,
            _ => return None,
        })
    }

    fn tripod(&self, item: &str) -> Option<&str> {
        Some(match item {
            "12a" => &self.partitions,
            "12c" => &self.training,
            "12e" => &self.metrics,
            "12g" => &self.predictions,
            "21" => &self.numbers,
            "23a" => &self.performance,
            _ => return None,
        })
    }
}

pub(super) fn checklists(answer: &Answer) -> Markup {
    let known = Known::of(answer);
    html! {
        p.hint {
            "Titles are in our own words; the published lists say in full what each item asks for. What the study \
             fills in still has to be checked by the author."
        }
        (list("CLAIM 2024", &CLAIM, |item| known.claim(item)))
        (list("TRIPOD+AI", &TRIPOD, |item| known.tripod(item)))
    }
}

fn list<'a>(
    name: &str,
    items: &[(&str, &str)],
    filled: impl Fn(&str) -> Option<&'a str>,
) -> Markup {
    let count = items.iter().filter(|(item, _)| filled(item).is_some()).count();
    html! {
        details {
            summary { (name) ": " (count) " of " (items.len()) " items filled in, the rest for the author" }
            (scrolled(html! {
                table {
                    thead { tr { th { "item" } th { "about" } th { "this study" } } }
                    tbody {
                        @for (item, title) in items {
                            tr {
                                td { (item) }
                                td { (title) }
                                @match filled(item) {
                                    Some(text) => td.words { (text) },
                                    None => td.none { "for the author" },
                                }
                            }
                        }
                    }
                }
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_numbered_without_gaps() {
        for (place, (item, _)) in CLAIM.iter().enumerate() {
            assert_eq!(*item, (place + 1).to_string());
        }
        let numbers: std::collections::BTreeSet<u32> = TRIPOD
            .iter()
            .map(|(item, _)| item.trim_end_matches(char::is_alphabetic).parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=27).collect());
    }
}
