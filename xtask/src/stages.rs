//! Named stages with their durations, which show the progress of a long command.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Announces each stage and adds up their durations.
pub(crate) struct Stages {
    started: Instant,
    done: Vec<(String, Duration)>,
}

impl Stages {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), done: Vec::new() }
    }

    /// Runs one stage under its heading.
    ///
    /// # Errors
    /// Errors of `work`, with the stage's name.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        // On standard error, like Cargo's own messages: standard output holds results only.
        eprintln!("\n==> {name}");
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        match &result {
            Ok(_) => eprintln!("==> {name}: done in {}", shown(took)),
            Err(_) => eprintln!("==> {name}: failed after {}", shown(took)),
        }
        self.done.push((name.to_owned(), took));
        result.with_context(|| name.to_owned())
    }

    /// Prints the stages with their durations.
    pub(crate) fn summary(&self) {
        eprintln!();
        for (name, took) in &self.done {
            eprintln!("{:>9}  {name}", shown(*took));
        }
        eprintln!("{:>9}  in total", shown(self.started.elapsed()));
    }
}

/// `4.2 s`, `3 min 07 s`.
pub(crate) fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_on_both_sides_of_a_minute() {
        assert_eq!(shown(Duration::from_millis(4_240)), "4.2 s");
        assert_eq!(shown(Duration::from_millis(59_960)), "1 min 00 s");
        assert_eq!(shown(Duration::from_secs(187)), "3 min 07 s");
    }
}
