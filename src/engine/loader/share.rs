//! A batch that several processes share: each prepares its images, and all learn what depends on the
//! others' (padding, numbers of objects, images that cannot be used), in the worker threads, ahead of the step.

use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::bad::{BadImage, Filled, Skipped};
use crate::{
    batch::Elsewhere,
    parallel::{Exchange, Fault, Share},
};
use sonotune_dataset::Dataset;

/// Lets threads pass in the order of steps.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: Mutex<u64>,
    changed: Condvar,
}

/// The turn of a step, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(super) fn starting_at(step: u64) -> Self {
        Self { next: Mutex::new(step), changed: Condvar::new() }
    }

    /// Waits until all earlier steps have had their turn.
    pub(super) fn wait(&self, step: u64) -> Turn<'_> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_while(next, |next| *next < step);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.next.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_all();
    }
}

/// What a process says of its images of a batch once they are decoded.
#[derive(Debug, Serialize, Deserialize)]
struct Decoded {
    fault: Option<Fault>,
    bad: Vec<Skipped>,
    /// Height and width that hold each of its images, without padding.
    size: (usize, usize),
    /// Whether each place has an image.
    is_complete: bool,
}

/// What a process says before it draws.
#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    fault: Option<Fault>,
    counts: Vec<Vec<usize>>,
}

/// What all processes found in a batch.
#[derive(Debug)]
pub(super) struct Found {
    /// The images of this process.
    pub(super) filled: Vec<Filled>,
    /// Those skipped by any process, in the order of their positions.
    pub(super) bad: Vec<BadImage>,
    /// Height and width that hold each image of the batch.
    pub(super) size: (usize, usize),
    /// Whether each place of the batch has an image.
    pub(super) is_complete: bool,
}

/// The part of a batch of `size` images that `share` leaves to others, without counts.
pub(super) fn elsewhere(share: &Share, size: usize) -> Elsewhere {
    let own = share.own(size);
    Elsewhere { before: vec![Vec::new(); own.start], after: vec![Vec::new(); size - own.end] }
}

/// One process's view of the batches it shares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharing<'a> {
    pub(super) share: &'a Share,
    pub(super) exchange: &'a dyn Exchange,
    pub(super) dataset: &'a Dataset,
}

impl Sharing<'_> {
    /// Tells the others about the decoded images, whose `size` holds each; an error of any process is the
    /// error of all.
    pub(super) fn decoded(
        &self,
        filled: Result<Vec<Filled>>,
        size: impl Fn(&[Filled]) -> (usize, usize),
    ) -> Result<Found> {
        let mine = Decoded {
            fault: filled.as_ref().err().map(|error| Fault::of(self.share.rank, error)),
            bad: filled
                .iter()
                .flatten()
                .flat_map(|filled| &filled.bad)
                .map(Skipped::from)
                .collect(),
            size: filled.as_ref().map_or((1, 1), |filled| size(filled)),
            is_complete: filled.iter().flatten().all(|filled| filled.image.is_some()),
        };
        let all: Vec<Decoded> = self.tell(&mine)?;
        let filled = match (filled, all.iter().find_map(|said| said.fault.as_ref())) {
            // This process knows most about its own error.
            (Err(error), Some(first)) if first.rank == self.share.rank => return Err(error),
            (_, Some(fault)) => return Err(fault.error()),
            (filled, None) => filled?,
        };
        let size = all.iter().fold((1, 1), |(h, w), said| (h.max(said.size.0), w.max(said.size.1)));
        let is_complete = all.iter().all(|said| said.is_complete);
        let bad = all.into_iter().flat_map(|said| said.bad);
        let bad = bad.map(|skipped| skipped.in_dataset(self.dataset)).collect::<Result<_>>()?;
        Ok(Found { filled, bad, size, is_complete })
    }

    /// Tells the others how many things the images have that draws depend on.
    pub(super) fn counted(&self, counts: Result<Vec<Vec<usize>>>) -> Result<Elsewhere> {
        let fault = counts.as_ref().err().map(|error| Fault::of(self.share.rank, error));
        let mine = Counted { fault, counts: counts.unwrap_or_default() };
        let all: Vec<Counted> = self.tell(&mine)?;
        if let Some(fault) = all.iter().find_map(|said| said.fault.as_ref()) {
            return Err(fault.error());
        }
        let of = |ranks: &[Counted]| ranks.iter().flat_map(|said| said.counts.clone()).collect();
        let (before, after) = (&all[..self.share.rank], &all[self.share.rank + 1..]);
        Ok(Elsewhere { before: of(before), after: of(after) })
    }

    fn tell<T: Serialize + DeserializeOwned>(&self, mine: &T) -> Result<Vec<T>> {
        let all = self.exchange.all_gather(&serde_json::to_vec(mine)?)?;
        all.iter()
            .map(|said| serde_json::from_slice(said).context("a process of another version?"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order() {
        let turns = Turns::starting_at(5);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for step in [7, 6, 5, 8] {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let _turn = turns.wait(step);
                    order.lock().unwrap().push(step);
                });
            }
        });
        assert_eq!(*order.lock().unwrap(), [5, 6, 7, 8]);
    }
}
