//! Files that `torch.save` writes: zip (since PyTorch 1.6), the plain sequence of pickles before
//! it (`_use_new_zipfile_serialization=False`), and the tar archives of 2016.
//!
//! All three keep one pickle of the saved object, in which tensors are calls of
//! `torch._utils._rebuild_tensor_v2` on storages, and the storages' bytes beside it.

mod find;
mod legacy;
mod numpy;
mod rebuild;
mod state_dict;
mod tar;
mod write;
mod zip;

use std::{cell::Cell, collections::HashMap, fs::File};

use anyhow::Result;

use super::{
    entry::{Span, TensorEntry},
    pickle::{Graph, Id},
};

pub(super) use find::{Contents, find as find_state_dict};
pub(super) use numpy::open as open_numpy;
pub use state_dict::OtherContent;
pub(super) use state_dict::join;
pub use write::save_torch;

/// The saved object, before tensors are looked for in it.
#[derive(Debug)]
pub(super) struct Archive {
    graph: Graph,
    root: Id,
    /// Where each storage's bytes are, by its key.
    storages: HashMap<String, Span>,
    /// Tar files also keep the tensors themselves outside the pickle, by their key.
    tensors: HashMap<String, TensorEntry>,
    /// Values visited so far, to refuse files that unfold endlessly.
    visits: Cell<u64>,
}

/// Which of the three forms a file has, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Zip,
    Legacy,
    Tar,
}

impl Form {
    /// `head`: the first 512 bytes, or as many as there are.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Some(Self::Zip)
        } else if legacy::is(head) {
            Some(Self::Legacy)
        } else if head.get(257..262) == Some(b"ustar") {
            Some(Self::Tar)
        } else {
            None
        }
    }

    pub(super) fn open(self, file: &File, file_len: u64) -> Result<Archive> {
        match self {
            Self::Zip => zip::open(file, file_len),
            Self::Legacy => legacy::open(file, file_len),
            Self::Tar => tar::open(file, file_len),
        }
    }
}
