//! Plays a clip whose frames depend on each other, so that frames asked for in order are decoded once.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use anyhow::{Context, Result, anyhow};
use sonotune_base::Error;
use sonotune_formats::{Pixels, video::Video};

/// Frames that are kept, since several threads ask for neighbouring ones in any order.
const MOST_KEPT: usize = 16;
const MOST_BYTES_KEPT: usize = 64 << 20;
/// Frames decoded ahead.
const AHEAD: usize = 2;

/// A clip being decoded by a thread of its own, which waits while nobody takes its frames.
#[derive(Debug)]
pub(super) struct Player {
    decoded: Receiver<Result<(usize, Pixels)>>,
    /// The last frames, in order.
    recent: VecDeque<(usize, Pixels)>,
    /// Number of frames taken from the thread.
    next: usize,
    /// Why there are no more.
    failed: Option<String>,
}

impl Player {
    /// Begins with the first frame.
    ///
    /// # Errors
    /// If the machine has no thread left.
    pub(super) fn start(video: Arc<Video>) -> Result<Self> {
        let (sender, decoded) = sync_channel(AHEAD);
        let play = move || {
            // The receiver goes when the player does, and ends the thread.
            let send = |index, pixels| {
                sender.send(Ok((index, pixels))).map_err(|_| anyhow!("no frame is wanted any more"))
            };
            if let Err(error) = video.frames(send) {
                drop(sender.send(Err(error)));
            }
        };
        thread::Builder::new()
            .name("clip".to_owned())
            .spawn(play)
            .context("cannot start a thread that decodes a clip")?;
        Ok(Self { decoded, recent: VecDeque::new(), next: 0, failed: None })
    }

    /// A frame; `None` if it has passed and is not kept.
    pub(super) fn frame(&mut self, index: usize) -> Option<Result<Pixels>> {
        if index < self.next {
            return self.recent.iter().find(|(i, _)| *i == index).map(|(_, p)| Ok(p.clone()));
        }
        while self.failed.is_none() {
            match self.decoded.recv() {
                Ok(Ok((i, pixels))) => {
                    self.next = i + 1;
                    let wanted = (i == index).then(|| pixels.clone());
                    self.keep(i, pixels);
                    if let Some(pixels) = wanted {
                        return Some(Ok(pixels));
                    }
                }
                Ok(Err(error)) => self.failed = Some(format!("{error:#}")),
                Err(_) => return None,
            }
        }
        self.failed.as_ref().map(|why| Err(Error::data(why.clone()).into()))
    }

    fn keep(&mut self, index: usize, pixels: Pixels) {
        self.recent.push_back((index, pixels));
        let bytes = |recent: &VecDeque<(usize, Pixels)>| -> usize {
            recent.iter().map(|(_, pixels)| pixels.data.len()).sum()
        };
        while self.recent.len() > 1
            && (self.recent.len() > MOST_KEPT || bytes(&self.recent) > MOST_BYTES_KEPT)
        {
            self.recent.pop_front();
        }
    }
}
