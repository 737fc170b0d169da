//! Which image comes at which position: a pure function of seed and position.

use sonotune_base::seed::{Rng, SHUFFLE};

/// The endless sequence of training images: one permutation of the dataset after another.
#[derive(Debug)]
pub(super) struct Order {
    length: usize,
    shuffle: bool,
    seed: u64,
    /// The epoch used last, since positions are requested in order.
    epoch: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// For a dataset of `length` > 0 images.
    pub(super) fn new(length: usize, shuffle: bool, seed: u64) -> Self {
        Self { length, shuffle, seed, epoch: None }
    }

    /// Index into the dataset of the image at `position` (0-based) of the sequence.
    pub(super) fn at(&mut self, position: u64) -> usize {
        let length = self.length as u64;
        let (epoch, within) = (position / length, (position % length) as usize);
        if !self.shuffle {
            return within;
        }
        match &self.epoch {
            Some((known, order)) if *known == epoch => order[within],
            _ => {
                let mut order: Vec<usize> = (0..self.length).collect();
                Rng::at(self.seed, &[SHUFFLE, epoch]).shuffle(&mut order);
                let index = order[within];
                self.epoch = Some((epoch, order));
                index
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_holds_every_image_once_in_an_order_of_its_own() {
        let mut order = Order::new(10, true, 3);
        let mut epoch = |e: u64| (0..10).map(|i| order.at(e * 10 + i)).collect::<Vec<_>>();
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        for mut seen in [first.clone(), second] {
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(epoch(0), first, "depends on the position alone");
    }

    #[test]
    fn without_shuffling_the_file_order_repeats() {
        let mut order = Order::new(3, false, 3);
        assert_eq!((0..7).map(|p| order.at(p)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
    }
}
