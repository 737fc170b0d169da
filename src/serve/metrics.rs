//! Counts and times, as Prometheus reads them.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::server::Failure;

/// Seconds, from a prompt about a known image to a large image on a processor.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: String,
}

pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<ByStatus, Counter>,
    seconds: Family<ByRoute, Histogram>,
    /// Questions that wait for the model.
    pub(crate) waiting: Gauge,
    /// Questions that the model works on.
    pub(crate) in_flight: Gauge,
    /// Questions by whether the image's embedding was there.
    pub(crate) reused: Counter,
    pub(crate) computed: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let requests = Family::default();
        let seconds =
            Family::<ByRoute, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let (waiting, in_flight) = (Gauge::default(), Gauge::default());
        let (reused, computed) = (Counter::default(), Counter::default());
        let mut registry = Registry::with_prefix("sonotune");
        registry.register("requests", "Requests by route and status", requests.clone());
        let what = "Time from the head of a request to the head of its answer";
        registry.register_with_unit("request", what, Unit::Seconds, seconds.clone());
        registry.register("queue_length", "Questions that wait for the model", waiting.clone());
        registry.register("in_flight", "Questions that the model works on", in_flight.clone());
        let what = "Questions answered from an embedding that was there already";
        registry.register("embeddings_reused", what, reused.clone());
        let what = "Questions whose image was new to the model";
        registry.register("embeddings_computed", what, computed.clone());
        Self { registry, requests, seconds, waiting, in_flight, reused, computed }
    }
}

/// `GET /metrics`.
pub(crate) async fn show(State(metrics): State<Arc<Metrics>>) -> Result<Response, Failure> {
    let mut text = String::new();
    text::encode(&mut text, &metrics.registry).map_err(|error| Failure::internal(&error.into()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Notes which route answers, for [`count`].
pub(crate) async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// Counts a request and the time it took. Requests that reach no route count together: their paths are whatever
/// clients make up.
pub(crate) async fn count(
    State(metrics): State<Arc<Metrics>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    let route = response.extensions().get::<MatchedPath>();
    let route = route.map_or("none", |route| route.as_str()).to_owned();
    let status = response.status().as_u16();
    metrics.requests.get_or_create(&ByStatus { route: route.clone(), status }).inc();
    let seconds = started.elapsed().as_secs_f64();
    metrics.seconds.get_or_create(&ByRoute { route }).observe(seconds);
    response
}

/// Counts one as long as it lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
