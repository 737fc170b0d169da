//! `sonotune annotate`.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use sonotune_annotate::{Options, Order, Session, Summary};
use sonotune_base::{Error, stop::StopFlag};
use sonotune_serve::Inference;

use crate::{OneModelArgs, live::LiveModel, predict::FrameArgs};

#[derive(Debug, Args)]
pub(crate) struct AnnotateArgs {
    /// An image, DICOM file or clip, or a folder to search for them.
    images: PathBuf,
    /// Keys of the model's config to change: KEY=VALUE.
    overrides: Vec<String>,
    #[command(flatten)]
    model: OneModelArgs,
    #[command(flatten)]
    frames: FrameArgs,
    /// COCO file to continue or begin. Default: annotations.json in the folder of the images.
    #[arg(long, value_name = "FILE")]
    annotations: Option<PathBuf>,
    /// Names of categories, added to those of the file.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    categories: Vec<String>,
    /// Who annotates; kept beside each object.
    #[arg(long, value_name = "NAME")]
    reader: Option<String>,
    /// COCO file of a first reader: annotate the same images without seeing it, and be compared.
    #[arg(long, value_name = "FILE")]
    second_reading_of: Option<PathBuf>,
    /// The order in which images are offered.
    #[arg(long, value_enum, default_value_t = OrderChoice::Name)]
    order: OrderChoice,
    /// Port to listen on. Default: any that is free.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Do not open the page; print its address only.
    #[arg(long)]
    no_browser: bool,
    /// Print JSON, an object on each line: the address at the start, the summary at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrderChoice {
    /// By file name.
    Name,
    /// Those first that the model is least certain about.
    Uncertainty,
}

pub(super) fn run(args: &AnnotateArgs) -> Result<()> {
    if !args.model.names_one() && !args.overrides.is_empty() {
        return Err(Error::config(format!(
            "`{}` changes a key of a model's config: name the model with --run or --config",
            args.overrides[0]
        ))
        .into());
    }
    let options = Options {
        images: args.images.clone(),
        annotations: args.annotations.clone(),
        categories: args.categories.clone(),
        reader: args.reader.clone(),
        second_reading_of: args.second_reading_of.clone(),
        order: match args.order {
            OrderChoice::Name => Order::Name,
            OrderChoice::Uncertainty => Order::Uncertainty,
        },
        port: args.port,
        frames: args.frames.choice(),
    };
    let mut notes = Vec::new();
    let model = match args.model.names_one() {
        false => None,
        true => {
            let model = LiveModel::open(&args.model, &args.overrides)?;
            notes.extend_from_slice(model.notes());
            Some(Arc::new(model) as Arc<dyn Inference>)
        }
    };
    let stop = StopFlag::from_signals()?;
    let session = Session::open(&options, model)?.log(Arc::new(|line| eprintln!("{line}")));
    notes.extend(session.notes());
    let Summary { file, images, untouched, .. } = session.summary();
    if args.json {
        println!(
            "{}",
            json!({ "url": session.url(), "file": file, "images": images, "notes": notes })
        );
    } else {
        for note in &notes {
            println!("note: {note}");
        }
        println!(
            "{images} image(s), {untouched} of them untouched; every change is saved in {}",
            file.display()
        );
        println!("open {}\nCtrl-C ends the session", session.url());
    }
    let page = (!args.no_browser).then(|| open_page(&session.url())).transpose();
    // A machine without a browser has shown the address.
    let _page = page.unwrap_or_else(|error| {
        eprintln!("note: no browser was opened: {error:#}");
        None
    });
    let summary = session.run(&stop)?;
    if args.json {
        println!("{}", serde_json::to_string(&summary)?);
    } else {
        print_summary(&summary);
    }
    Ok(())
}

/// Opens the page by a file that leads there: the arguments of a program, and with them the token, can be seen by
/// other users of the machine. The file lasts as long as the folder that is returned.
fn open_page(url: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("sonotune-").tempdir()?;
    let file = folder.path().join("open.html");
    let page = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><title>Sonotune</title>\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\"><a href=\"{url}\">Annotate</a>"
    );
    std::fs::write(&file, page)?;
    open::that_detached(&file).context("starting the browser")?;
    Ok(folder)
}

fn print_summary(summary: &Summary) {
    let Summary { file, images, done, draft, skipped, untouched, objects, saved, kept } = summary;
    println!(
        "{done} of {images} image(s) done, {draft} begun, {skipped} skipped, {untouched} untouched; \
         {objects} object(s) in {}, {saved} change(s) saved",
        file.display()
    );
    for path in kept {
        println!("  changes that could not go into it: {}", path.display());
    }
}
