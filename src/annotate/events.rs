//! What every open page is told.

use serde::Serialize;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// How many events a page may be behind before it has to read everything anew.
const KEPT: usize = 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Event {
    /// An image was saved, by the page `client` or by another program (`null`).
    Image {
        id: u64,
        revision: u64,
        client: Option<String>,
    },
    /// Another program changed the file.
    File {
        text: String,
    },
    /// Categories were added, renamed or removed.
    Categories,
    Uncertainty {
        id: u64,
        value: f64,
    },
    /// The model was told that questions about the image are likely.
    Prepared {
        id: u64,
    },
    /// This page is too far behind: read the session anew.
    Missed,
    Stopping,
}

/// Tells all who listen.
#[derive(Debug, Clone)]
pub(crate) struct Events(Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(KEPT).0)
    }
}

impl Events {
    pub(crate) fn send(&self, event: Event) {
        // Fails only if nobody listens.
        drop(self.0.send(event));
    }

    pub(crate) fn listen(&self) -> Receiver<Event> {
        self.0.subscribe()
    }
}
