//! All routes of a served model.

use std::{net::TcpListener, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use sonotune_base::stop::StopFlag;

use crate::{
    Inference, Options,
    app::{App, queue},
    label_studio, metrics, monai, rest,
    server::serve,
    x_anylabeling,
};

/// Everything that a served model answers, after all checks of who is let in.
///
/// # Errors
/// Kind config if the options do not fit together; else if there is no temporary folder.
pub fn router(inference: Arc<dyn Inference>, options: &Options) -> Result<Router> {
    let access = options.access()?;
    let app = Arc::new(App::new(inference, options)?);
    let (mut asking, mut others) =
        (Router::new(), Router::new().route("/metrics", get(metrics::show)));
    for (waits, does_not) in [rest::routes(), label_studio::routes(), monai::routes()] {
        asking = asking.merge(waits);
        others = others.merge(does_not);
    }
    let asking = asking.route_layer(from_fn_with_state(Arc::clone(&app), queue));
    let routes = asking
        .merge(others)
        .merge(x_anylabeling::routes())
        .layer(from_fn(metrics::note_route))
        .with_state(Arc::clone(&app));
    Ok(access.protect(routes).layer(from_fn_with_state(app, metrics::count)))
}

/// Serves a model until `stop` is raised. `started` is called with the address once clients can connect; port 0
/// is replaced by a free one.
///
/// # Errors
/// Kind config if the options do not fit together or the address is in use; else if the server fails.
pub fn run(
    inference: Arc<dyn Inference>,
    options: &Options,
    stop: &StopFlag,
    started: impl FnOnce(std::net::SocketAddr),
) -> Result<()> {
    // Refused before the address is taken.
    options.access()?;
    let address = options.address;
    let listener = TcpListener::bind(address).map_err(|error| {
        let what = format!("cannot listen on {address}: {error}; choose another with --address");
        anyhow::Error::from(sonotune_base::Error::config(what))
    })?;
    let address = listener.local_addr().context("the listener's address")?;
    let router = router(inference, &Options { address, ..options.clone() })?;
    started(address);
    serve(listener, router, stop)
}
