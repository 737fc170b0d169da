//! `sonotune coco-eval`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use sonotune_base::fs::atomic_write;
use sonotune_metrics::table;
use sonotune_metrics::{Table, coco::IouType};
use sonotune_run as run;
use sonotune_run::{CocoEvalOptions, CocoEvalRecord};

use crate::progress::Busy;

#[derive(Debug, Args)]
pub(super) struct CocoEvalArgs {
    /// Ground truth: a COCO file.
    #[arg(value_name = "GT")]
    ground_truth: PathBuf,
    /// Detections: a list of {image_id, category_id, score, bbox, segmentation}, or an object with
    /// such a list as `annotations`, `predictions`, `detections` or `results`.
    #[arg(value_name = "DT")]
    detections: PathBuf,
    /// Compare boxes or masks.
    #[arg(long, value_enum, default_value_t)]
    iou_type: IouType,
    /// Maximum detections per image and category; the reference uses 100,300,1000.
    #[arg(long, value_name = "N,N,N", value_delimiter = ',', default_values_t = [1, 10, 100])]
    max_dets: Vec<usize>,
    /// Treat all categories as one.
    #[arg(long)]
    class_agnostic: bool,
    /// With segm: assign detections to area ranges by their mask, as mmdetection does, even if they
    /// have a box, which pycocotools would use.
    #[arg(long)]
    mask_area: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Also write the JSON to this file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &CocoEvalArgs) -> Result<()> {
    let mut max_dets = args.max_dets.clone();
    // As pycocotools does.
    max_dets.sort_unstable();
    let busy = Busy::new("scoring");
    let record = run::coco_eval(&CocoEvalOptions {
        ground_truth: args.ground_truth.clone(),
        detections: args.detections.clone(),
        iou_type: args.iou_type,
        max_dets,
        class_agnostic: args.class_agnostic,
        mask_area: args.mask_area,
    })?;
    drop(busy);
    let json = serde_json::to_string_pretty(&record)?;
    if let Some(path) = &args.out {
        atomic_write(path, json.as_bytes())?;
    }
    if args.json {
        println!("{json}");
    } else {
        print_text(&record);
    }
    Ok(())
}

fn print_text(record: &CocoEvalRecord) {
    for line in summary_lines(record) {
        println!("{line}");
    }
    if !record.per_class.is_empty() {
        println!("\n{}", table::plain(&per_class(record)).trim_end());
    }
    let counts = &record.counts;
    println!(
        "\n{}: {} detections against {} objects ({} crowds) in {} images ({} without objects)",
        record.iou_type.as_str(),
        counts.detections,
        counts.objects,
        counts.crowds,
        counts.images,
        counts.images_without_objects
    );
    println!("annotations sha256 {}", record.annotations_sha256);
    for note in &record.notes {
        println!("note: {note}");
    }
}

/// The lines that pycocotools prints, character for character.
fn summary_lines(record: &CocoEvalRecord) -> Vec<String> {
    let nth =
        |i: usize| record.max_dets.get(i).or(record.max_dets.last()).copied().unwrap_or_default();
    let rows = [
        ("0.50:0.95", "all", 100),
        ("0.50", "all", nth(2)),
        ("0.75", "all", nth(2)),
        ("0.50:0.95", "small", nth(2)),
        ("0.50:0.95", "medium", nth(2)),
        ("0.50:0.95", "large", nth(2)),
        ("0.50:0.95", "all", nth(0)),
        ("0.50:0.95", "all", nth(1)),
        ("0.50:0.95", "all", nth(2)),
        ("0.50:0.95", "small", nth(2)),
        ("0.50:0.95", "medium", nth(2)),
        ("0.50:0.95", "large", nth(2)),
    ];
    let line = |(i, (iou, area, max_dets)): (usize, (&str, &str, usize))| {
        let (title, kind) =
            if i < 6 { ("Average Precision", "(AP)") } else { ("Average Recall", "(AR)") };
        format!(
            " {title:<18} {kind} @[ IoU={iou:<9} | area={area:>6} | maxDets={max_dets:>3} ] = {:.3}",
            record.stats[i]
        )
    };
    rows.into_iter().enumerate().map(line).collect()
}

fn per_class(record: &CocoEvalRecord) -> Table {
    // Precision, and recall at the most detections.
    const SHOWN: [usize; 7] = [0, 1, 2, 3, 4, 5, 8];
    let mut header = vec!["class".to_owned(), "objects".to_owned(), "detections".to_owned()];
    header.extend(SHOWN.map(|i| record.stat_names[i].clone()));
    let rows = record.per_class.iter().map(|class| {
        let mut row =
            vec![class.name.clone(), class.objects.to_string(), class.detections.to_string()];
        row.extend(SHOWN.map(|i| format!("{:.3}", class.stats[i])));
        row
    });
    Table { title: "Per class".to_owned(), header, rows: rows.collect() }
}
