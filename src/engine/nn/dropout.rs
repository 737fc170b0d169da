//! Dropout that is the same for any number of processes.

use tch::Tensor;

/// The rows of a tensor that other processes have of the same step: images or objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rows {
    pub before: i64,
    pub after: i64,
}

/// Dropout of `[N, ...]` in training: with probability `p` each value becomes 0, the others grow by
/// 1 / (1 − p).
///
/// With several processes each draws for the rows of all, as one process would, and takes its own. All must
/// make the same calls in the same order.
pub fn dropout(x: &Tensor, p: f64, rows: Rows) -> Tensor {
    if rows == Rows::default() {
        return x.dropout(p, true);
    }
    let mut shape = x.size();
    let own = shape[0];
    shape[0] += rows.before + rows.after;
    let noise = Tensor::ones(&shape, (x.kind(), x.device())).dropout(p, true);
    x * noise.narrow(0, rows.before, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn each_process_draws_its_part_of_the_same_noise() {
        let x = Tensor::rand([5, 700], (Kind::Float, Device::Cpu)) + 0.5;
        tch::manual_seed(3);
        let whole = dropout(&x, 0.3, Rows::default());
        let parts = [(0, 2), (2, 3)].map(|(before, own)| {
            tch::manual_seed(3);
            let rows = Rows { before, after: 5 - before - own };
            dropout(&x.narrow(0, before, own), 0.3, rows)
        });
        assert!(Tensor::cat(&parts, 0).equal(&whole));
        let kept = whole.gt(0.0).to_kind(Kind::Float).mean(None).double_value(&[]);
        assert!((kept - 0.7).abs() < 0.05, "{kept}");
    }
}
