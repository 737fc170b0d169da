//! From `metrics.jsonl` to charts: which values belong together.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use super::chart::{Chart, Series};

/// Maximum number of curves per chart: more cannot be told apart.
const MOST_SERIES: usize = 10;

/// Every value that was logged, as a curve, in the order of first appearance.
#[derive(Debug, Default)]
pub struct Logged {
    /// `split` and curve.
    series: Vec<(String, Series)>,
    /// Number of lines that are not records, such as one cut off by a crash.
    pub(super) unreadable_lines: usize,
}

/// One line, its values in the order they were written, which a map would not keep.
struct Line {
    step: u64,
    split: String,
    /// NaN for what is not a number: `null`.
    values: Vec<(String, f64)>,
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a step")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let (mut step, mut split, mut values) = (None, String::new(), Vec::new());
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    match name.as_str() {
                        "step" => step = value.as_u64(),
                        "split" => split = value.as_str().unwrap_or_default().to_owned(),
                        _ => values.push((name, value.as_f64().unwrap_or(f64::NAN))),
                    }
                }
                let step = step.ok_or_else(|| A::Error::custom("no step"))?;
                Ok(Line { step, split, values })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Logged {
    /// The values of a `metrics.jsonl`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut logged = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let Ok(Line { step, split, values }) = serde_json::from_str(line) else {
                logged.unreadable_lines += 1;
                continue;
            };
            for (name, value) in values {
                logged.push(&split, &name, (step, value));
            }
        }
        logged
    }

    fn push(&mut self, split: &str, name: &str, point: (u64, f64)) {
        let known = self.series.iter_mut().find(|(s, series)| s == split && series.name == name);
        match known {
            // A step that was logged twice counts as logged last.
            Some((_, series)) => match series.points.last_mut() {
                Some(last) if last.0 >= point.0 => last.1 = point.1,
                _ => series.points.push(point),
            },
            None => {
                let series =
                    Series { name: name.to_owned(), points: vec![point], ..Default::default() };
                self.series.push((split.to_owned(), series));
            }
        }
    }

    /// Curves of a split whose names are wanted.
    pub fn of(&self, split: &str, wanted: impl Fn(&str) -> bool) -> Vec<Series> {
        let of_split = self.series.iter().filter(|(s, series)| s == split && wanted(&series.name));
        of_split.map(|(_, series)| series.clone()).collect()
    }

    /// Losses and metrics: what is learnt.
    pub(super) fn learning(&self) -> Vec<Chart> {
        let mut charts = Vec::new();
        let total = self.of("train", |name| name == "loss");
        charts.extend(chart("Training loss", total, true));
        let terms = self.of("train", |name| is_loss(name) && name != "loss");
        // A single term says the same as the total.
        if terms.len() > 1 {
            let groups = by_group(terms.clone(), loss_kind);
            if groups.iter().all(|(_, series)| series.len() == 1) {
                charts.extend(in_portions("Loss terms", &terms, true));
            } else {
                for (term, series) in groups {
                    charts.extend(in_portions(&format!("Loss terms: {term}"), &series, true));
                }
            }
        }
        for series in self.of("train", |name| !is_loss(name) && !is_machine(name)) {
            let title = format!("Training: {}", series.name);
            charts.extend(chart(&title, vec![series], false));
        }
        charts.extend(self.metrics());
        charts
    }

    /// Metrics of the splits evaluated while training, except those by category.
    fn metrics(&self) -> Vec<Chart> {
        let mut charts = Vec::new();
        for split in ["val", "test"] {
            let metrics = self.of(split, |name| !name.starts_with("per_class/"));
            for (group, series) in by_group(metrics, metric_group) {
                let (fractions, others): (Vec<_>, Vec<_>) = series.into_iter().partition(|s| {
                    s.points.iter().all(|(_, v)| v.is_nan() || (0.0..=1.0).contains(v))
                });
                let title =
                    if group.is_empty() { split.to_owned() } else { format!("{split}: {group}") };
                charts.extend(in_portions(&format!("Metrics on {title}"), &fractions, false));
                for series in others {
                    let title = format!("{} on {split}", series.name);
                    charts.extend(chart(&title, vec![series], false));
                }
            }
        }
        charts
    }

    /// Learning rates, gradients, times: how it is learnt.
    pub(super) fn machine(&self) -> Vec<Chart> {
        let mut charts = Vec::new();
        let rates = self.of("train", |name| name.starts_with("lr/"));
        charts.extend(in_portions("Learning rate", &rates, true));
        charts.extend(chart("Gradient norm", self.of("train", |n| n == "grad_norm"), true));
        let times = self.of("train", |n| n == "time/step" || n == "time/data");
        let named = times.into_iter().map(|series| {
            let name =
                if series.name == "time/step" { "step" } else { "of which waiting for data" };
            Series { name: name.to_owned(), ..series }
        });
        charts.extend(chart("Time of a step in seconds", named.collect(), false));
        let rate = self.of("train", |n| n == "time/images_per_second");
        charts.extend(chart("Images per second", rate, false));
        charts.extend(chart("Peak memory in GiB", self.memory(), false));
        charts
    }

    fn memory(&self) -> Vec<Series> {
        let gib = |(step, bytes): &(u64, f64)| (*step, bytes / f64::from(1 << 30));
        let memory = self.of("train", |n| n == "memory/peak").into_iter();
        memory.map(|s| Series { points: s.points.iter().map(gib).collect(), ..s }).collect()
    }
}

fn is_loss(name: &str) -> bool {
    name.contains("loss")
}

fn is_machine(name: &str) -> bool {
    name == "grad_norm" || ["lr/", "time/", "memory/"].iter().any(|prefix| name.starts_with(prefix))
}

/// `loss_cls` of `d0.loss_cls` and of `loss_cls.0`: the same term of several layers goes into one chart.
fn loss_kind(name: &str) -> String {
    name.split('.').find(|part| is_loss(part)).unwrap_or(name).to_owned()
}

/// `box` for `box/mIoU`; `segm` for `segm_mAP`.
fn metric_group(name: &str) -> String {
    let (group, name) = name.rsplit_once('/').unwrap_or(("", name));
    let kind = ["bbox_", "segm_"].into_iter().find(|kind| name.starts_with(kind));
    let kind = kind.map_or("", |kind| kind.trim_end_matches('_'));
    [group, kind].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// In the order of first appearance.
fn by_group(series: Vec<Series>, group: impl Fn(&str) -> String) -> Vec<(String, Vec<Series>)> {
    let mut groups: Vec<(String, Vec<Series>)> = Vec::new();
    for series in series {
        let name = group(&series.name);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, members)) => members.push(series),
            None => groups.push((name, vec![series])),
        }
    }
    groups
}

fn chart(title: &str, series: Vec<Series>, may_be_log: bool) -> Option<Chart> {
    let title = title.to_owned();
    (!series.is_empty()).then_some(Chart { title, series, may_be_log })
}

fn in_portions(title: &str, series: &[Series], may_be_log: bool) -> Vec<Chart> {
    let portions = series.chunks(MOST_SERIES).enumerate().filter_map(|(i, portion)| {
        let title = if i == 0 { title.to_owned() } else { format!("{title}, continued") };
        chart(&title, portion.to_vec(), may_be_log)
    });
    portions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_belong_together_share_a_chart() {
        let text = r#"{"step":1,"split":"train","loss":3.0,"d0.loss_cls":1.0,"d0.loss_mask":1.0,"loss_cls":1.0,"accuracy":0.5,"lr/base":1e-4,"lr/head":1e-3,"grad_norm":null,"time/step":0.5,"time/data":0.1,"memory/peak":1073741824.0}
{"step":1,"split":"val","bbox_mAP":0.5,"segm_mAP":0.4,"box/mIoU":0.7,"box/hd95":14.0,"per_class/cyst/f1":1.0}
{"step":2,"spl"#;
        let logged = Logged::parse(text);
        assert_eq!(logged.unreadable_lines, 1);
        let titles = |charts: Vec<Chart>| charts.into_iter().map(|c| c.title).collect::<Vec<_>>();
        assert_eq!(
            titles(logged.learning()),
            [
                "Training loss",
                "Loss terms: loss_cls",
                "Loss terms: loss_mask",
                "Training: accuracy",
                "Metrics on val: bbox",
                "Metrics on val: segm",
                "Metrics on val: box",
                "box/hd95 on val",
            ]
        );
        let machine = logged.machine();
        assert_eq!(machine[0].series.len(), 2);
        assert_eq!(machine[3].series[0].points, [(1, 1.0)]);
        assert!(machine[1].series[0].points[0].1.is_nan());
    }
}
