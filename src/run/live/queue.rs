//! What is asked, what is announced, and what is ready: shared by those who ask and the two threads.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
};

use anyhow::{Result, bail};
use sonotune_dataset::ObjectPrompt;

use super::{
    LiveAnswer, LiveImage,
    kept::{Kept, Ready},
};

/// Images announced that are still worth preparing; older ones have been passed by.
const MOST_ANNOUNCED: usize = 8;

/// A question on its way.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) image: LiveImage,
    pub(super) prompts: Option<Vec<ObjectPrompt>>,
    pub(super) reply: SyncSender<Result<LiveAnswer>>,
    pub(super) was_prepared: bool,
}

#[derive(Debug, Default)]
struct State {
    questions: VecDeque<Asked>,
    announced: VecDeque<LiveImage>,
    kept: Kept,
    is_closed: bool,
}

/// The meeting point of the threads.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ask(&self, mut asked: Asked) -> Result<()> {
        let mut state = self.lock();
        if state.is_closed {
            bail!("the model has stopped");
        }
        asked.was_prepared = state.kept.has(&asked.image);
        state.questions.push_back(asked);
        self.changed.notify_all();
        Ok(())
    }

    pub(super) fn prepare(&self, image: LiveImage) {
        let mut state = self.lock();
        if state.kept.has(&image) || state.announced.contains(&image) {
            return;
        }
        state.announced.push_back(image);
        if state.announced.len() > MOST_ANNOUNCED {
            state.announced.pop_front();
        }
        self.changed.notify_all();
    }

    /// No more questions: those that wait are dropped, and the threads end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.questions.clear();
        state.announced.clear();
        self.changed.notify_all();
    }

    /// The next image to embed: one that somebody waits for, else one that was announced. `None` once closed.
    pub(super) fn next_image(&self) -> Option<LiveImage> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let waited_for =
                state.questions.iter().map(|asked| &asked.image).find(|&i| !state.kept.has(i));
            if let Some(image) = waited_for.cloned() {
                return Some(image);
            }
            while let Some(image) = state.announced.pop_front() {
                if !state.kept.has(&image) {
                    return Some(image);
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An image is ready, or failed: then whoever waits for it is told why.
    pub(super) fn embedded(&self, image: LiveImage, outcome: Result<Ready>) {
        let mut state = self.lock();
        match outcome {
            Ok(ready) => state.kept.add(image, ready),
            Err(error) => {
                let (failed, others) =
                    state.questions.drain(..).partition(|asked| asked.image == image);
                state.questions = others;
                tell(failed, &error);
            }
        }
        self.changed.notify_all();
    }

    /// The first question about an image that is ready, and what `take` makes of that image. `None` once closed.
    pub(super) fn next_question<T>(&self, take: impl Fn(&Ready) -> T) -> Option<(Asked, T)> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let at = state.questions.iter().position(|asked| state.kept.has(&asked.image));
            if let Some(asked) = at.and_then(|at| state.questions.remove(at))
                && let Some(ready) = state.kept.get(&asked.image)
            {
                return Some((asked, take(ready)));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// An error cannot be copied, its kind and its words can.
fn tell(asked: VecDeque<Asked>, error: &anyhow::Error) {
    for Asked { reply, .. } in asked {
        let code = sonotune_base::error::exit_code(error);
        let copy = sonotune_base::error::of_exit_code(code, format!("{error:#}"));
        // The one who asked may have gone.
        let _ = reply.send(Err(copy));
    }
}
