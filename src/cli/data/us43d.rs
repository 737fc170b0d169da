//! `sonotune data us43d`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_coco::split::By;
use sonotune_curation::us43d::{BuildOptions, Built, Row, build, survey};

use super::convert::{Bar, ConversionChoices};
use sonotune_metrics::table::grid;

#[derive(Debug, Args)]
pub(crate) struct Us43dArgs {
    /// Folder with the downloads, each under the name its site gives it.
    root: PathBuf,
    /// Folder to write to.
    #[arg(long, value_name = "DIR", default_value = "data/us43d")]
    out: PathBuf,
    /// List what is there, what is missing and where to get it; convert nothing.
    #[arg(long)]
    list: bool,
    /// Only this dataset; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave out this dataset; may be repeated.
    #[arg(long, value_name = "NAME")]
    exclude: Vec<String>,
    #[command(flatten)]
    choices: ConversionChoices,
    /// Share of images for validation.
    #[arg(long, default_value_t = 0.05)]
    val: f64,
    /// What stays together in one split [default: auto; image with --as-published]
    #[arg(long, value_enum)]
    by: Option<Together>,
    /// Random seed of the splits.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Leave out of the merged files all objects smaller than this share of the largest in their
    /// image.
    #[arg(long, default_value_t = 0.05)]
    min_relative_area: f64,
    /// Replace conversions made with other options.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Together {
    /// Images of a patient; else of a clip; else frames of a file; else single images.
    Auto,
    /// Nothing: neighbouring frames may be separated, as in the reference.
    Image,
}

impl Us43dArgs {
    fn options(&self) -> BuildOptions {
        let published = self.choices.choice() == sonotune_curation::spec::Choice::AsPublished;
        BuildOptions {
            only: self.only.clone(),
            exclude: self.exclude.clone(),
            choice: self.choices.choice(),
            convert: self.choices.options(self.overwrite),
            val: self.val,
            by: match self.by {
                Some(Together::Image) => By::Image,
                None if published => By::Image,
                Some(Together::Auto) | None => By::Auto,
            },
            seed: self.seed,
            min_relative_area: self.min_relative_area,
        }
    }
}

pub(super) fn run(args: &Us43dArgs) -> Result<()> {
    let options = args.options();
    if args.list {
        let rows: Vec<Row> =
            survey(&args.root, &options)?.into_iter().map(|(row, _)| row).collect();
        return crate::present(args.json, &rows, |rows| print_presence(rows));
    }
    let stop = StopFlag::from_signals()?;
    let bar = Bar::new();
    let told = |row: &Row| bar.say(&format!("{} ({})", row.name, row.slug));
    let built = build(&args.root, &args.out, &options, &told, &|p| bar.tell(p), &stop);
    bar.finish();
    let built = built?;
    let any = built.datasets.iter().any(|row| row.images > 0);
    let figure = if any { Some(draw(&built, &args.out)?) } else { None };
    crate::present(args.json, &built, |built| print(built, figure.as_deref()))?;
    refuse_failures(&built)
}

/// Figure 2 of the paper, for the datasets that are there.
fn draw(built: &Built, out: &Path) -> Result<PathBuf> {
    let counts: Vec<sonotune_curation::figure::DatasetCount> = built
        .datasets
        .iter()
        .filter(|row| row.images > 0)
        .map(|row| sonotune_curation::figure::DatasetCount {
            name: row.name.clone(),
            application: row.application.clone(),
            images: row.images as u64,
            masks: row.masks as u64,
        })
        .collect();
    let figure = sonotune_curation::figure::draw(&counts)?;
    let path = out.join("datasets.png");
    figure.write_png(&path)?;
    figure.write_svg(&out.join("datasets.svg"))?;
    Ok(path)
}

fn refuse_failures(built: &Built) -> Result<()> {
    let failed: Vec<&Row> = built.datasets.iter().filter(|row| row.error.is_some()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let mut text =
        format!("{} datasets could not be converted; nothing was merged\n", failed.len());
    for row in failed {
        text.push_str(&format!("{}: {}\n", row.slug, row.error.as_deref().unwrap_or_default()));
    }
    text.push_str("leave them out with --exclude, or their faulty files with --on-problem skip");
    Err(Error::data(text).into())
}

fn print_presence(rows: &[Row]) {
    for row in rows {
        let access = serde_json::to_value(row.access).unwrap_or_default();
        println!(
            "{} {:<20} {}\n    {:<20} {}; {}; {}",
            if row.source.is_some() { "[x]" } else { "[ ]" },
            row.slug,
            row.expected.join(" or "),
            row.application,
            row.url,
            access.as_str().unwrap_or_default(),
            row.licence,
        );
    }
    let there = rows.iter().filter(|row| row.source.is_some()).count();
    println!("{there} of {} are there", rows.len());
}

fn print(built: &Built, figure: Option<&Path>) {
    let mut rows: Vec<&Row> = built.datasets.iter().collect();
    rows.sort_by(|a, b| a.application.cmp(&b.application).then(a.slug.cmp(b.slug)));
    let header = ["application", "dataset", "images", "masks", ""];
    let mut table = Vec::new();
    for row in rows {
        let note = match (&row.source, &row.error, row.problems) {
            (None, ..) => format!("missing: {}", row.url),
            (_, Some(_), _) => "failed (below)".to_owned(),
            (_, None, 0) => String::new(),
            (_, None, problems) => format!("{problems} left out (conversion.json)"),
        };
        table.push(vec![
            row.application.clone(),
            row.slug.to_owned(),
            row.images.to_string(),
            row.masks.to_string(),
            note,
        ]);
    }
    print!("{}", grid(&header.map(str::to_owned), table));
    for merged in &built.merged {
        println!(
            "{}: {} images, {} objects ({} small ones left out)",
            merged.file.display(),
            merged.images,
            merged.objects,
            merged.small
        );
    }
    for row in &built.datasets {
        if let Some(note) = &row.note {
            println!("note: {}: {note}", row.slug);
        }
    }
    for [name, other] in &built.overlaps {
        println!(
            "note: {name} and {other} show the same patients; once merged, an image may be in \
             training and its duplicate in validation. Leave one out with --exclude to avoid this"
        );
    }
    if let Some(figure) = figure {
        println!("picture: {}", figure.display());
    }
}
