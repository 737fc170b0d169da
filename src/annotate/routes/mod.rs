//! The HTTP API of the page.

mod assets;
mod categories;
mod events;
mod images;
mod model;
mod reply;
mod session;

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, Path, Request},
    http::{HeaderMap, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::de::DeserializeOwned;

use crate::{app::App, images::Index};
use reply::Failed;

/// All paths, without the checks of who is let in.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{*name}", get(assets::asset))
        .route("/api/session", get(session::session))
        .route("/api/images/{id}", get(images::show).put(images::save))
        .route("/api/images/{id}/pixels", get(images::pixels))
        .route("/api/images/{id}/ask", post(model::ask))
        .route("/api/images/{id}/drafts", post(model::drafts))
        .route("/api/images/{id}/first", post(session::first))
        .route("/api/prepare", post(model::prepare))
        .route("/api/order", post(session::order))
        .route("/api/categories", put(categories::put))
        .route("/api/agreement", get(session::agreement))
        .route("/api/events", get(events::events))
        .layer(middleware::from_fn(only_from_the_page))
        .with_state(app)
}

/// Refuses what a form of another site could send: such a request can have neither a header of its own nor JSON.
async fn only_from_the_page(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !(headers.get("x-sonotune").is_some_and(|value| value == "1") && is_json(headers))
    {
        let what = "a request that changes something needs the headers X-Sonotune: 1 and Content-Type: \
                    application/json";
        return Failed::forbidden(what).into_response();
    }
    next.run(request).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind =
        headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The JSON of a request.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let parsed = serde_json::from_slice(bytes);
        parsed
            .map(Self)
            .map_err(|e| Failed::bad_request(format!("the request's JSON: {e}")).into_response())
    }
}

/// The image with the number in the path.
fn index(app: &App, Path(id): &Path<String>) -> Result<Index, Failed> {
    let number = id
        .parse::<usize>()
        .ok()
        .and_then(|id| id.checked_sub(1))
        .filter(|&index| index < app.images.len());
    let count = app.images.len();
    number.ok_or_else(|| {
        Failed::not_found(format!("there is no image {id:?}: this session has 1 to {count}"))
    })
}

/// Runs what blocks away from the threads that serve.
async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.unwrap_or_else(|e| Err(anyhow::anyhow!("a request failed: {e}").into()))
}
