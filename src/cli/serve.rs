//! `sonotune serve`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Result;
use clap::{ArgGroup, Args};
use serde_json::json;
use sonotune_base::stop::StopFlag;
use sonotune_serve::{Inference, Options, server::Token};

use crate::{OneModelArgs, live::LiveModel};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("model").args(["run", "config"]).required(true))]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    model: OneModelArgs,
    /// Where to listen; port 0 is any that is free.
    #[arg(long, default_value = "127.0.0.1:8008")]
    address: SocketAddr,
    /// The secret that clients must show; required if other machines can connect. Better given as SONOTUNE_TOKEN,
    /// since other users of this machine can see arguments.
    #[arg(long)]
    token: Option<String>,
    /// A folder of images that clients may name instead of sending them; may be repeated.
    #[arg(long, value_name = "FOLDER")]
    images: Vec<PathBuf>,
    /// An origin whose pages may use the server, e.g. https://viewer.example.org; may be repeated.
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,
    /// Another name of this server, e.g. of a proxy; may be repeated.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Size of an image file at most.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65536))]
    max_upload: u64,
    /// Megapixels of an image at most.
    #[arg(long, value_name = "MP", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    max_pixels: u64,
    /// Questions that may wait for the model; further ones are asked to come back.
    #[arg(long, value_name = "N", default_value_t = 32)]
    queue: u16,
    /// How long a question may wait and take together.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Keys of the model's config to change.
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print the address as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ServeArgs) -> Result<()> {
    let token = args.token.clone().or_else(|| std::env::var("SONOTUNE_TOKEN").ok());
    let options = Options {
        address: args.address,
        token: token.as_deref().map(Token::chosen).transpose()?,
        hosts: args.allow_host.clone(),
        origins: args.allow_origin.clone(),
        images: args.images.clone(),
        max_upload_bytes: args.max_upload << 20,
        max_pixels: args.max_pixels * 1_000_000,
        timeout: Duration::from_secs(args.timeout),
        queue: args.queue.into(),
        log: Some(Arc::new(|line| eprintln!("{line}"))),
        ..Options::default()
    };
    // What is wrong with them is told before a model is read for minutes.
    options.check()?;
    let stop = StopFlag::from_signals()?;
    let model = LiveModel::open(&args.model, &args.overrides)?;
    let (about, notes) = (model.about().clone(), model.notes().to_vec());
    sonotune_serve::run(Arc::new(model), &options, &stop, |address| {
        let url = format!("http://{address}");
        if args.json {
            println!("{}", json!({ "url": url, "model": about, "notes": notes }));
            return;
        }
        for note in &notes {
            println!("note: {note}");
        }
        let (task, weights) = (&about.task, about.weights.display());
        println!(
            "serving {task} with {weights} at {url}; {url}/openapi.json describes it\nCtrl-C ends it"
        );
    })
}
