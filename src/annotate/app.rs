//! What the handlers of a session share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use sonotune_serve::Inference;
use tokio::sync::Semaphore;

use crate::{
    activity::Activity,
    agreement::First,
    events::{Event, Events},
    images::{Images, Index},
    options::Order,
    store::Store,
};

/// Images that are decoded for pages at a time.
const DECODED_AT_A_TIME: usize = 2;
/// Images prepared beyond the one that is open.
const LOOK_AHEAD: usize = 2;

pub(crate) struct App {
    pub(crate) title: String,
    pub(crate) reader: Option<String>,
    pub(crate) images: Arc<Images>,
    pub(crate) model: Option<Arc<dyn Inference>>,
    pub(crate) first: Option<Mutex<First>>,
    pub(crate) events: Events,
    pub(crate) activity: Activity,
    pub(crate) decoding: Semaphore,
    store: Mutex<Store>,
    uncertainty: Mutex<HashMap<Index, f64>>,
    order: Mutex<Order>,
    is_stopping: AtomicBool,
}

/// What an [`App`] is made of.
pub(crate) struct Parts {
    pub(crate) title: String,
    pub(crate) reader: Option<String>,
    pub(crate) store: Store,
    pub(crate) model: Option<Arc<dyn Inference>>,
    pub(crate) first: Option<First>,
    pub(crate) events: Events,
    pub(crate) order: Order,
}

impl App {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            title: parts.title,
            reader: parts.reader,
            images: Arc::clone(parts.store.images()),
            model: parts.model,
            first: parts.first.map(Mutex::new),
            events: parts.events,
            activity: Activity::default(),
            decoding: Semaphore::new(DECODED_AT_A_TIME),
            store: Mutex::new(parts.store),
            uncertainty: Mutex::default(),
            order: Mutex::new(parts.order),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The annotations. Another thread that panicked while it had them has not changed them half: a change counts
    /// only once it is written.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn order(&self) -> Order {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_order(&self, order: Order) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }

    pub(crate) fn uncertainty(&self) -> HashMap<Index, f64> {
        self.uncertainty.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_uncertainty(&self, index: Index, value: f64) {
        let known =
            self.uncertainty.lock().unwrap_or_else(PoisonError::into_inner).insert(index, value);
        if known != Some(value) {
            self.events.send(Event::Uncertainty { id: index as u64 + 1, value });
        }
    }

    /// The images in the current order. Those whose uncertainty is unknown yet come last.
    pub(crate) fn ordered(&self) -> Vec<Index> {
        let mut indices: Vec<Index> = (0..self.images.len()).collect();
        if self.order() == Order::Uncertainty {
            let known = self.uncertainty();
            let value = |index: &Index| known.get(index).copied().unwrap_or(-1.0);
            indices.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
        }
        indices
    }

    /// Lets the model compute ahead: this image and the next ones in the current order.
    pub(crate) fn look_ahead(&self, index: Index) -> Result<()> {
        if self.model.is_none() {
            return Ok(());
        }
        let ordered = self.ordered();
        let place = ordered.iter().position(|&other| other == index).unwrap_or(0);
        ordered.iter().skip(place).take(1 + LOOK_AHEAD).try_for_each(|&index| self.prepare(index))
    }

    /// Lets the model compute ahead.
    ///
    /// # Errors
    /// Kind data if the file is gone.
    pub(crate) fn prepare(&self, index: Index) -> Result<()> {
        let Some(model) = &self.model else { return Ok(()) };
        model.prepare(&self.images.for_model(index)?);
        self.events.send(Event::Prepared { id: index as u64 + 1 });
        Ok(())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.events.send(Event::Stopping);
    }
}
