//! What a program made the device do.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

/// A line of the device's file.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Memory {
        device: usize,
        peak_bytes: u64,
    },
    Launch {
        phase: u64,
        what: String,
        times: u64,
    },
    Wait {
        phase: u64,
        #[serde(flatten)]
        event: Event,
    },
    Copy {
        phase: u64,
        #[serde(flatten)]
        event: Event,
    },
    Attention {
        phase: u64,
        #[serde(flatten)]
        event: Event,
    },
    Problem {
        what: String,
        times: u64,
    },
    End,
}

/// Something that happened so often at one place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    pub what: String,
    /// `main`, or the thread's name.
    pub thread: String,
    pub times: u64,
    pub bytes: u64,
    /// Frames as `file+0x12`, innermost first; empty unless [`crate::Device::places`] asked for them.
    pub stack: Vec<String>,
}

/// What happened from one seeding of the generators to the next: a training step, unless it accumulates
/// gradients, together with whatever comes before the next step seeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phase {
    /// Kernels and copies by operator.
    pub launches: BTreeMap<String, u64>,
    /// The host waits for the device: blocking copies, values read, synchronisations.
    pub waits: Vec<Event>,
    /// Copies for which it does not.
    pub copies: Vec<Event>,
    /// Which kernel computes which attention.
    pub attention: Vec<Event>,
}

impl Phase {
    #[must_use]
    pub fn num_launches(&self) -> u64 {
        self.launches.values().sum()
    }

    #[must_use]
    pub fn num_waits(&self) -> u64 {
        self.waits.iter().map(|event| event.times).sum()
    }

    #[must_use]
    pub fn num_copies(&self) -> u64 {
        self.copies.iter().map(|event| event.times).sum()
    }
}

/// What a program made the device do, in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// By number; phase 0 comes before the generators are first seeded.
    pub phases: BTreeMap<u64, Phase>,
    /// Mistakes that a GPU would answer with a crash, or with wrong numbers and no message.
    pub problems: BTreeMap<String, u64>,
    /// Most memory in use at a time, in bytes, by device.
    pub peak_bytes: BTreeMap<usize, u64>,
}

impl Statistics {
    /// Reads the file that [`crate::Device::statistics`] named.
    ///
    /// # Panics
    /// When it is missing or not whole: the program then died before it could write.
    #[must_use]
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}; did the device load?", path.display()));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut own = Self::default();
        let mut ended = false;
        for line in text.lines() {
            let line = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            ended |= matches!(line, Line::End);
            own.add(line);
        }
        assert!(ended, "the statistics are not whole:\n{text}");
        own
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Launch { phase, what, times } => {
                *self.of(phase).launches.entry(what).or_default() += times
            }
            Line::Wait { phase, event } => self.of(phase).waits.push(event),
            Line::Copy { phase, event } => self.of(phase).copies.push(event),
            Line::Attention { phase, event } => self.of(phase).attention.push(event),
            Line::Memory { device, peak_bytes } => drop(self.peak_bytes.insert(device, peak_bytes)),
            Line::Problem { what, times } => drop(self.problems.insert(what, times)),
            Line::End => {}
        }
    }

    fn of(&mut self, phase: u64) -> &mut Phase {
        self.phases.entry(phase).or_default()
    }

    /// A phase; one in which nothing happened is empty.
    #[must_use]
    pub fn phase(&self, number: u64) -> Phase {
        self.phases.get(&number).cloned().unwrap_or_default()
    }

    /// Kernels and copies in all phases.
    #[must_use]
    pub fn num_launches(&self) -> u64 {
        self.phases.values().map(Phase::num_launches).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_phase_by_phase() {
        let text = r#"{"kind":"memory","device":0,"peak_bytes":512}
{"kind":"launch","phase":1,"what":"aten::mm","times":3}
{"kind":"launch","phase":1,"what":"copy","times":2}
{"kind":"wait","phase":2,"what":"read of a value","thread":"main","times":2,"bytes":8,"stack":["/bin/a+0x1"]}
{"kind":"copy","phase":2,"what":"to the host","thread":"main","times":1,"bytes":8,"stack":[]}
{"kind":"attention","phase":2,"what":"flash","thread":"main","times":1,"bytes":0,"stack":[]}
{"kind":"problem","what":"a \"race\"","times":4}
{"kind":"end"}
"#;
        let read = Statistics::parse(text);
        assert_eq!(read.phase(1).num_launches(), 5);
        assert_eq!((read.phase(2).num_waits(), read.phase(2).num_copies()), (2, 1));
        assert_eq!(read.phase(2).waits[0].stack, ["/bin/a+0x1"]);
        assert_eq!(read.phase(7), Phase::default());
        assert_eq!(read.problems["a \"race\""], 4);
        assert_eq!(read.peak_bytes[&0], 512);
    }

    #[test]
    #[should_panic(expected = "not whole")]
    fn half_a_file_is_refused() {
        let _ = Statistics::parse("{\"kind\":\"problem\",\"what\":\"a\",\"times\":4}\n");
    }
}
