//! Line charts as SVG within the page, drawn with the page's own colours and fonts.
//!
//! Text is in HTML above and below, where it wraps; the SVG has tick labels only, whose number and
//! length are bounded, so that none can overlap. It is drawn for a phone's width and scaled up.

use maud::{Markup, html};
use sonotune_base::words::short;

use super::scale::Scale;

const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 190.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
const RIGHT: f64 = 14.0;
/// Generous for 11 px digits of any sans-serif font.
const LETTER: f64 = 6.6;
/// Curves with more points are thinned to this many.
const MOST_POINTS: usize = 300;
/// Up to this many points, each one is marked.
const MARKED_POINTS: usize = 30;

/// One curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// By ascending step; a value that is not finite leaves a gap.
    pub points: Vec<(u64, f64)>,
    /// Curves that it is the mean of, drawn thin in its colour.
    pub repeats: Vec<Vec<(u64, f64)>>,
}

/// Curves over the steps of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub title: String,
    pub series: Vec<Series>,
    /// Uses a logarithmic axis if the values call for one.
    pub may_be_log: bool,
}

impl Series {
    fn all_points(&self) -> impl Iterator<Item = (u64, f64)> + Clone {
        self.points.iter().chain(self.repeats.iter().flatten()).copied()
    }
}

impl Chart {
    /// The chart; `resumed` are the steps after which the run was resumed.
    #[must_use]
    pub fn render(&self, resumed: &[u64]) -> Markup {
        let points = || self.series.iter().flat_map(Series::all_points);
        let scale = Scale::of(points().map(|(_, value)| value), self.may_be_log);
        let steps = points().map(|(step, _)| step);
        let (Some(y), Some(first), Some(last)) = (scale, steps.clone().min(), steps.max()) else {
            return html! {
                figure.chart {
                    figcaption { (self.title) }
                    p.none { "no defined value" }
                    (self.legend())
                }
            };
        };
        let x = Scale::steps(first.min(1), last);
        let thinned = self.series.iter().any(|s| s.points.len() > MOST_POINTS);
        html! {
            figure.chart {
                figcaption {
                    (self.title)
                    small {
                        " by step"
                        @if y.is_log() { ", logarithmic" }
                        @if thinned { ", thinned to the extremes of each stretch" }
                    }
                }
                (self.svg(x, y, resumed))
                (self.legend())
            }
        }
    }

    fn svg(&self, x: Scale, y: Scale, resumed: &[u64]) -> Markup {
        let y_ticks = y.ticks();
        let longest = y_ticks.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
        let left = 10.0 + LETTER * longest as f64;
        let across = |step: f64| left + x.place(step) * (WIDTH - left - RIGHT);
        let down = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - BOTTOM - TOP);
        let (floor, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let marks = resumed.iter().filter(|&&step| (0.0..=1.0).contains(&x.place(step as f64)));
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.spoken()) {
                @for (value, label) in &y_ticks {
                    line.grid x1=(at(left)) x2=(at(right)) y1=(at(down(*value))) y2=(at(down(*value))) {}
                    text x=(at(left - 5.0)) y=(at(down(*value) + 3.8)) text-anchor="end" { (label) }
                }
                @for (value, label) in x.whole_ticks() {
                    line.axis x1=(at(across(value))) x2=(at(across(value))) y1=(at(floor)) y2=(at(floor + 4.0)) {}
                    (x_label(across(value), &label))
                }
                line.axis x1=(at(left)) x2=(at(right)) y1=(at(floor)) y2=(at(floor)) {}
                @for step in marks {
                    line.resumed x1=(at(across(*step as f64))) x2=(at(across(*step as f64))) y1=(at(TOP)) y2=(at(floor)) {
                        title { "resumed after step " (step) }
                    }
                }
                @for (index, series) in self.series.iter().enumerate() {
                    g class=(colour(index)) {
                        @for piece in series.repeats.iter().flat_map(|points| pieces(&thin(points))) {
                            g.repeat { (curve(&piece, &across, &down, false)) }
                        }
                        @for piece in pieces(&thin(&series.points)) {
                            (curve(&piece, &across, &down, series.points.len() <= MARKED_POINTS))
                        }
                    }
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for (index, series) in self.series.iter().enumerate() {
                    li {
                        span class={ "key " (colour(index)) } {}
                        span.name { (series.name) }
                        " " b { (last_value(series)) }
                        @let undefined = series.points.iter().filter(|(_, v)| !v.is_finite()).count();
                        @if undefined > 0 {
                            small { " (" (undefined) " of " (series.points.len()) " not finite)" }
                        }
                    }
                }
            }
        }
    }

    /// For readers who cannot see it.
    fn spoken(&self) -> String {
        let last = |s: &Series| format!("{} ends at {}", s.name, last_value(s));
        format!("{}: {}", self.title, self.series.iter().map(last).collect::<Vec<_>>().join(", "))
    }
}

fn last_value(series: &Series) -> String {
    series.points.last().map_or_else(|| "n/a".to_owned(), |(_, value)| short(*value))
}

/// Class that gives the colour of a curve.
#[must_use]
pub fn colour(index: usize) -> String {
    format!("c{}", index % 10)
}

/// A coordinate: a hundredth of a pixel is enough.
fn at(value: f64) -> String {
    format!("{value:.2}")
}

/// Centred under its tick, unless it would leave the picture.
fn x_label(x: f64, label: &str) -> Markup {
    let half = LETTER * label.len() as f64 / 2.0;
    let x = x.min(WIDTH - 1.0 - half).max(half);
    html! { text x=(at(x)) y=(at(HEIGHT - 7.0)) text-anchor="middle" { (label) } }
}

fn curve(
    piece: &[(u64, f64)],
    across: &impl Fn(f64) -> f64,
    down: &impl Fn(f64) -> f64,
    marked: bool,
) -> Markup {
    let place = |&(step, value): &(u64, f64)| (at(across(step as f64)), at(down(value)));
    let path: Vec<String> = piece.iter().map(&place).map(|(x, y)| format!("{x},{y}")).collect();
    html! {
        @if piece.len() > 1 { polyline points=(path.join(" ")) {} }
        @if marked || piece.len() == 1 {
            @for point in piece {
                @let (x, y) = place(point);
                circle cx=(x) cy=(y) r="2.2" {
                    title { "step " (point.0) ": " (short(point.1)) }
                }
            }
        }
    }
}

/// The stretches of finite values.
fn pieces(points: &[(u64, f64)]) -> Vec<Vec<(u64, f64)>> {
    points
        .split(|(_, value)| !value.is_finite())
        .filter(|p| !p.is_empty())
        .map(<[_]>::to_vec)
        .collect()
}

/// The minimum and maximum of each stretch of a long curve: no spike is lost. A stretch without a
/// finite value stays a gap.
fn thin(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretches = MOST_POINTS / 2;
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for i in 0..stretches {
        let stretch = &points[i * points.len() / stretches..(i + 1) * points.len() / stretches];
        let finite = || stretch.iter().filter(|(_, v)| v.is_finite());
        let least = finite().min_by(|a, b| a.1.total_cmp(&b.1));
        let greatest = finite().max_by(|a, b| a.1.total_cmp(&b.1));
        match (least, greatest) {
            (Some(a), Some(b)) if a.0 == b.0 => kept.push(*a),
            (Some(a), Some(b)) => kept.extend(if a.0 < b.0 { [*a, *b] } else { [*b, *a] }),
            _ => kept.extend(stretch.first()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(u64, f64)>) -> Chart {
        let series = vec![Series { name: "<b>".into(), points, repeats: vec![] }];
        Chart { title: "loss".into(), series, may_be_log: true }
    }

    #[test]
    fn a_long_curve_keeps_its_spikes_and_its_gaps() {
        let mut points: Vec<_> = (1..=100_000).map(|i| (i, 1.0)).collect();
        points[54_321].1 = 99.0;
        points[70_000..80_000].iter_mut().for_each(|p| p.1 = f64::NAN);
        let thinned = thin(&points);
        assert!(thinned.len() <= MOST_POINTS);
        assert!(thinned.contains(&(54_322, 99.0)));
        assert_eq!(pieces(&thinned).len(), 2);
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let html = chart(points).render(&[50]).into_string();
        assert!(
            html.len() < 12_000 && html.contains("10000 of 100000 not finite"),
            "{}",
            html.len()
        );
    }

    #[test]
    fn a_single_step_is_a_mark_and_nothing_defined_is_said() {
        let html = chart(vec![(1, 0.5)]).render(&[]).into_string();
        assert!(html.contains("<circle") && html.contains("&lt;b&gt;") && !html.contains("<b>&"));
        let html = chart(vec![(1, f64::NAN)]).render(&[]).into_string();
        assert!(html.contains("no defined value") && !html.contains("<svg"));
        assert!(chart(vec![]).render(&[]).into_string().contains("no defined value"));
    }

    #[test]
    fn resumed_points_are_marked() {
        let html = chart((1..=9).map(|i| (i, 1.0 / i as f64)).collect()).render(&[4, 900]);
        let html = html.into_string();
        assert_eq!(html.matches("class=\"resumed\"").count(), 1);
        assert!(html.contains("resumed after step 4"));
    }
}
