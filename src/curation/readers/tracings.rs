//! Videos with polygons in a table.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use sonotune_base::Error;

use super::{
    Detail, Emit, Plan, Reader, RoleCount, Tracing, Unit,
    cine::Cine,
    outlines::{filled, labelled},
    pairing::{Pairing, nearest, sort},
};
use crate::{
    Frame, Mask, Pixels,
    problem::{Fault, Problem, ProblemKind},
    select::{KeyRule, globs, nothing_matches},
    spec::{Spec, TracingPoints, Tracings, Unpaired},
    tables::Tables,
};
use sonotune_archive::Tree;
use sonotune_formats::csv_file::CsvFile;

pub(super) struct TracingReader<'a> {
    spec: &'a Spec,
    settings: &'a Tracings,
    pairing: Pairing<'a>,
    key: KeyRule,
}

/// Rows by video and frame.
type Rows = BTreeMap<String, BTreeMap<i64, Vec<Vec<f64>>>>;

impl<'a> TracingReader<'a> {
    pub(super) fn new(spec: &'a Spec, settings: &'a Tracings) -> Result<Self> {
        let pairing = Pairing::new(spec, "tracings", &settings.videos, &[], settings.unpaired)?;
        let key = KeyRule::new("tracings.key", &settings.key, settings.videos.numeric_key)?;
        Ok(Self { spec, settings, pairing, key })
    }

    fn rows(&self, tree: &Tree, plan: &mut Plan) -> Result<Rows> {
        let set = globs("tracings.tables", &self.settings.tables)?;
        let paths: Vec<&str> = tree.paths().filter(|path| set.is_match(path)).collect();
        let Some(example) = paths.first() else {
            let patterns = &self.settings.tables.0;
            bail!(Error::data(nothing_matches("tracings.tables", patterns, tree)));
        };
        plan.roles.push(RoleCount {
            role: "tracings.tables".to_owned(),
            files: paths.len(),
            example: (*example).to_owned(),
            labels: BTreeMap::new(),
        });
        let mut rows = Rows::new();
        for path in paths {
            self.read_table(tree, path, &mut rows, plan)?;
        }
        Ok(rows)
    }

    fn read_table(&self, tree: &Tree, path: &str, rows: &mut Rows, plan: &mut Plan) -> Result<()> {
        let settings = self.settings;
        let points: &[String] = match &settings.points {
            TracingPoints::Chords(columns) => columns,
            TracingPoints::Contour(columns) => columns,
        };
        let needed = [&settings.name_column, &settings.frame_column].into_iter().chain(points);
        let needed: Vec<&str> = needed.map(String::as_str).collect();
        let table = CsvFile::read(&tree.read(path)?, path, &[], &needed)?;
        let columns = needed.iter().map(|name| table.column(name)).collect::<Result<Vec<_>>>()?;
        let (name, frame, points) = (columns[0], columns[1], &columns[2..]);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, row) in &table.rows {
            let field = |at: usize| row.get(at).map_or("", String::as_str);
            if settings.no_frame.iter().any(|none| none == field(frame)) {
                continue;
            }
            let file = format!("{folder}/{}", field(name));
            let Some((key, _)) = self.key.key(&file) else {
                plan.problems.push(Problem::new(
                    ProblemKind::NoKey,
                    format!("{path}, line {line}: tracings.key does not match `{file}`"),
                ));
                continue;
            };
            let number = |at: usize| {
                let number = field(at).parse().ok().filter(|number: &f64| number.is_finite());
                number.ok_or_else(|| {
                    Error::data(format!("{path}, line {line}: `{}` is not a number", field(at)))
                })
            };
            // pandas may save whole numbers as 46.0.
            let index = number(frame)? as i64 - settings.first_frame;
            let values = points.iter().map(|&at| number(at)).collect::<Result<Vec<_>, _>>()?;
            rows.entry(key).or_default().entry(index).or_default().push(values);
        }
        Ok(())
    }

    fn tracings(
        &self,
        frames: BTreeMap<i64, Vec<Vec<f64>>>,
        video: &str,
    ) -> Result<Vec<Tracing>, Problem> {
        frames
            .into_iter()
            .map(|(frame, rows)| {
                let frame = u32::try_from(frame).map_err(|_| {
                    Problem::new(
                        ProblemKind::FrameCount,
                        format!("{video}: frame {frame} (from 0) is before the first"),
                    )
                })?;
                Ok(Tracing { frame, points: self.polygon(&rows) })
            })
            .collect()
    }

    fn polygon(&self, rows: &[Vec<f64>]) -> Vec<(f64, f64)> {
        let rows =
            if self.settings.drop_first_row { rows.get(1..).unwrap_or_default() } else { rows };
        match &self.settings.points {
            TracingPoints::Contour(_) => rows.iter().map(|row| (row[0], row[1])).collect(),
            TracingPoints::Chords(_) => {
                let down = rows.iter().map(|row| (row[0], row[1]));
                down.chain(rows.iter().rev().map(|row| (row[2], row[3]))).collect()
            }
        }
    }
}

impl Reader for TracingReader<'_> {
    fn plan(&self, tree: &Tree) -> Result<Plan> {
        let mut plan = Plan::default();
        let tables = Tables::read(&self.spec.tables, tree)?;
        let videos = self.pairing.images(tree, &mut plan)?;
        let mut rows = self.rows(tree, &mut plan)?;
        for (key, files) in &videos.by_key {
            let video = &files[0];
            // Not every video is traced, and that is not a mistake.
            let Some(frames) = rows.remove(key) else {
                plan.skipped.push(video.path.clone());
                continue;
            };
            match self.tracings(frames, &video.path) {
                Ok(tracings) => {
                    let mut provenance = self.pairing.provenance(key, video, &tables);
                    provenance.clip.get_or_insert_with(|| key.clone());
                    plan.units.push(Unit {
                        key: key.clone(),
                        provenance,
                        masks: Vec::new(),
                        detail: Detail::Tracings(tracings),
                        spacing: None,
                    });
                }
                Err(problem) => plan.problems.push(problem),
            }
        }
        for key in rows.keys() {
            if self.settings.unpaired == Unpaired::Skip {
                plan.skipped.push(key.clone());
                continue;
            }
            plan.problems.push(Problem::new(
                ProblemKind::MissingPartner,
                format!(
                    "the tables trace `{key}`, but no video has this key{}",
                    nearest(key, videos.by_key.keys())
                ),
            ));
        }
        sort(&mut plan.units);
        Ok(plan)
    }

    fn read(&self, tree: &Tree, unit: &Unit, emit: &mut Emit<'_>) -> Result<(), Fault> {
        let name = &unit.provenance.source_file;
        let video = Cine::open(&tree.path(name)).map_err(|e| Problem::unreadable(&e))?;
        let Detail::Tracings(tracings) = &unit.detail else { return Ok(()) };
        let count = video.num_frames();
        if let Some(beyond) = tracings.iter().find(|tracing| tracing.frame as usize >= count) {
            return Err(Problem::new(
                ProblemKind::FrameCount,
                format!(
                    "{name}: has {count} frames, but frame {} (from 0) is traced",
                    beyond.frame
                ),
            )
            .into());
        }
        let mut emit_one = |tracing: &Tracing, image: Pixels| -> Result<(), Fault> {
            let place = format!("{name}, frame {}", tracing.frame);
            let mask = filled(&tracing.points, &image, self.settings.rule, &place)?;
            let masks = vec![Mask::Labels(labelled(mask, &image, self.settings.category))];
            emit(Frame {
                image,
                encoded: None,
                masks,
                marked: true,
                left_out: false,
                frame: Some(tracing.frame),
                spacing: unit.spacing.or_else(|| video.spacing()),
            })
        };
        let frames: Vec<u32> = tracings.iter().map(|tracing| tracing.frame).collect();
        super::frames::visit(&video, name, &frames, &mut |index, image| match tracings
            .iter()
            .find(|tracing| tracing.frame as usize == index)
        {
            Some(tracing) => emit_one(tracing, image),
            None => Ok(()),
        })
    }
}
