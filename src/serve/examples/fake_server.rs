//! Serves a model without a network, to try clients on: `cargo run -p sonotune-serve --example fake_server -- 8008`.
//! Further arguments are a token (`-` for none) and folders of images.

#[path = "../tests/fake.rs"]
mod fake;

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use sonotune_base::stop::StopFlag;
use sonotune_serve::{Options, run, server::Token};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().context("give a port")?.parse()?;
    let token = arguments.next().filter(|token| token != "-");
    let options = Options {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        token: token.map(|token| Token::chosen(&token)).transpose()?,
        images: arguments.map(Into::into).collect(),
        log: Some(Arc::new(|line: &str| eprintln!("{line}"))),
        ..Options::default()
    };
    let stop = StopFlag::default();
    run(Arc::new(fake::Fake::new()), &options, &stop, |address| println!("http://{address}"))
}
