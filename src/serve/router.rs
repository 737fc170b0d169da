//! All routes of a served model.

use std::{net::TcpListener, sync::Arc};

use anyhow::{Context, Result};
use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{from_fn, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use serde_json::{Map, Value};
use sonotune_base::stop::StopFlag;

use crate::{
    Inference, Options,
    app::{App, Place, queue},
    label_studio, metrics, monai,
    rest::{self, form},
    server::{Failure, serve},
    x_anylabeling,
};

/// Everything that a served model answers, after all checks of who is let in.
///
/// # Errors
/// Kind config if the options do not fit together; else if there is no temporary folder.
pub fn router(inference: Arc<dyn Inference>, options: &Options) -> Result<Router> {
    let access = options.access()?;
    let app = Arc::new(App::new(inference, options)?);
    let mut asking = Router::new().route("/v1/predict", post(predict));
    let mut others = rest::routes().merge(x_anylabeling::routes());
    for (waits, does_not) in [label_studio::routes(), monai::routes()] {
        asking = asking.merge(waits);
        others = others.merge(does_not);
    }
    let asking = asking.route_layer(from_fn_with_state(Arc::clone(&app), queue));
    let metrics = Arc::clone(&app.metrics);
    let shows_metrics = Router::new().route("/metrics", get(metrics::show));
    let routes = asking
        .merge(others)
        .merge(shows_metrics.with_state(Arc::clone(&metrics)))
        .layer(from_fn(metrics::note_route))
        .with_state(app);
    Ok(access.protect(routes).layer(from_fn_with_state(metrics, metrics::count)))
}

/// `POST /v1/predict`: the plain REST API's, and X-AnyLabeling's, which names a model.
async fn predict(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Place>,
    request: Request,
) -> Result<Response, Failure> {
    if form::is_form(&request) {
        return rest::by_form(&app, place, request).await;
    }
    let body: Map<String, Value> = form::json(request).await?;
    if body.contains_key("model") {
        return x_anylabeling::predict(&app, place, form::parsed(body)?).await;
    }
    rest::by_json(&app, place, form::parsed(body)?).await
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
