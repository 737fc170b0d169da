//! Events as they happen: server-sent, until the session stops.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use futures_util::stream;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{app::App, events::Event};

pub(super) async fn events(State(app): State<Arc<App>>) -> Response {
    let listening = app.events.listen();
    // Asked for after the last word was said.
    let first = app.is_stopping().then_some(Event::Stopping);
    let events = stream::unfold(Some((listening, first)), |state| async {
        let (mut listening, first) = state?;
        let event = match first {
            Some(event) => event,
            None => next(&mut listening).await?,
        };
        let is_last = event == Event::Stopping;
        let shown = sse::Event::default().json_data(&event).unwrap_or_default();
        Some((Ok::<_, Infallible>(shown), (!is_last).then_some((listening, None))))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

async fn next(listening: &mut Receiver<Event>) -> Option<Event> {
    match listening.recv().await {
        Ok(event) => Some(event),
        Err(RecvError::Lagged(_)) => Some(Event::Missed),
        Err(RecvError::Closed) => None,
    }
}
