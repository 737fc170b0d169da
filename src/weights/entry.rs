//! One stored tensor: where its bytes are and how they are laid out, checked before any are read.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tch::Tensor;

use super::dtype::Dtype;

/// Bytes `start .. start + len` of a file: one storage, which several tensors may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    pub start: u64,
    pub len: u64,
}

impl Span {
    /// # Errors
    /// When the span extends past the end of the file: the file is cut off or its sizes are false.
    pub(super) fn checked(start: u64, len: u64, file_len: u64) -> Result<Self> {
        match start.checked_add(len) {
            Some(end) if end <= file_len => Ok(Self { start, len }),
            _ => bail!(
                "its {len} bytes at {start} extend past the end of the file at {file_len}: \
                 the file is cut off or damaged"
            ),
        }
    }
}

/// A tensor in a file, not read yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorEntry {
    /// Name as the file spells it, nested containers joined by dots.
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<i64>,
    /// Elements between one index and the next, per dimension.
    pub strides: Vec<i64>,
    /// Elements before the first one, within the storage.
    pub storage_offset: i64,
    pub storage: Span,
}

/// An expanded tensor (stride 0) can claim any size with one stored element. The claim is accepted
/// up to this many bytes; above it, only if the storage holds that many.
const MAX_EXPANDED_BYTES: u64 = 256 << 20;

impl TensorEntry {
    /// The whole of `storage` in row-major order.
    pub(super) fn contiguous(name: String, dtype: Dtype, shape: Vec<i64>, storage: Span) -> Self {
        let strides = row_major(&shape);
        Self { name, dtype, shape, strides, storage_offset: 0, storage }
    }

    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> u64 {
        // `check` has bounded the product.
        self.shape.iter().product::<i64>().unsigned_abs()
    }

    /// Bytes of its elements.
    #[must_use]
    pub fn nbytes(&self) -> u64 {
        self.numel() * self.dtype.size()
    }

    /// Refuses negative sizes and strides, and elements outside the storage.
    pub(super) fn check(self) -> Result<Self> {
        self.check_layout()
            .with_context(|| format!("tensor `{}` of shape {:?}", self.name, self.shape))?;
        Ok(self)
    }

    /// Same as [`TensorEntry::check`], without naming the tensor.
    pub(super) fn check_layout(&self) -> Result<()> {
        ensure!(self.shape.len() <= 64, "it has {} dimensions", self.shape.len());
        ensure!(
            self.strides.len() == self.shape.len(),
            "it has {} strides for {} dimensions",
            self.strides.len(),
            self.shape.len()
        );
        ensure!(self.shape.iter().all(|&n| n >= 0), "its shape has a negative size");
        ensure!(self.strides.iter().all(|&n| n >= 0), "it has negative strides {:?}", self.strides);
        ensure!(self.storage_offset >= 0, "its storage offset is {}", self.storage_offset);
        let bytes = self
            .shape
            .iter()
            // An empty dimension must not hide an overflow of the others.
            .try_fold(1i64, |product, &n| product.checked_mul(n.max(1)))
            .and_then(|numel| numel.checked_mul(8))
            .context("its size overflows")?
            .unsigned_abs()
            / 8
            * self.dtype.size();
        let last = self.last_index().context("its extent overflows")?;
        let stored = i128::from(self.storage.len / self.dtype.size());
        ensure!(
            self.shape.contains(&0) || i128::from(last) < stored,
            "its last element is number {last} of a storage of {stored}"
        );
        ensure!(
            bytes <= self.storage.len.max(MAX_EXPANDED_BYTES),
            "it expands {} stored bytes to {bytes}",
            self.storage.len
        );
        Ok(())
    }

    /// Index of the last element within the storage.
    fn last_index(&self) -> Option<i64> {
        let mut last = self.storage_offset;
        for (&n, &stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((n - 1).max(0).checked_mul(stride)?)?;
        }
        Some(last)
    }

    /// Reads the elements, as a contiguous tensor on the CPU in the file's number format.
    pub(super) fn read(&self, file: &File) -> Result<Tensor> {
        let kind = self.dtype.kind();
        if self.shape.contains(&0) {
            return Ok(Tensor::f_zeros(&self.shape, (kind, tch::Device::Cpu))?);
        }
        let last = self.last_index().context("its extent overflows")?;
        let elements = last - self.storage_offset + 1;
        let start = self.storage.start + self.storage_offset.unsigned_abs() * self.dtype.size();
        let mut bytes = vec![0; usize::try_from(elements.unsigned_abs() * self.dtype.size())?];
        file.read_exact_at(&mut bytes, start)
            .with_context(|| format!("cannot read {} bytes at {start}", bytes.len()))?;
        if self.dtype == Dtype::Bool {
            // libtorch takes a C++ bool's bytes as they are; anything but 0 and 1 is undefined.
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        if self.strides == row_major(&self.shape) {
            return Ok(Tensor::f_from_data_size(&bytes, &self.shape, kind)?);
        }
        let flat = Tensor::f_from_data_size(&bytes, &[elements], kind)?;
        Ok(flat.f_as_strided(&self.shape, &self.strides, 0)?.f_contiguous()?)
    }
}

/// Strides of a contiguous tensor.
pub(super) fn row_major(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = shape[i].max(1).saturating_mul(strides[i]);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(shape: &[i64], strides: &[i64], storage_offset: i64, len: u64) -> TensorEntry {
        TensorEntry {
            name: "x".to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            storage_offset,
            storage: Span { start: 0, len },
        }
    }

    #[test]
    fn layouts_within_the_storage_pass() {
        for good in [
            entry(&[2, 3], &[3, 1], 0, 24),
            entry(&[3, 2], &[1, 3], 0, 24),
            entry(&[2], &[2], 3, 24),
            entry(&[], &[], 5, 24),
            entry(&[0, 7], &[7, 1], 0, 0),
            entry(&[1000], &[0], 0, 4),
        ] {
            good.check().unwrap();
        }
    }

    #[test]
    fn layouts_outside_the_storage_are_refused() {
        for (bad, word) in [
            (entry(&[2, 3], &[3, 1], 1, 24), "number 6 of a storage of 6"),
            (entry(&[2], &[-1], 1, 24), "negative strides"),
            (entry(&[-2], &[1], 0, 24), "negative size"),
            (entry(&[2], &[1], -1, 24), "storage offset is -1"),
            (entry(&[2], &[1, 1], 0, 24), "2 strides for 1 dimensions"),
            (entry(&[i64::MAX, 2], &[0, 0], 0, 24), "overflows"),
            (entry(&[0, i64::MAX, 4], &[0, 0, 0], 0, 24), "overflows"),
            (entry(&[2, 2], &[i64::MAX, 1], 1, 24), "overflows"),
            (entry(&[1 << 40], &[0], 0, 24), "expands 24 stored bytes"),
        ] {
            let error = format!("{:#}", bad.check().unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn spans_behind_the_end_are_refused() {
        assert!(Span::checked(4, 4, 8).is_ok());
        assert!(Span::checked(4, 5, 8).is_err());
        assert!(Span::checked(u64::MAX, 2, 8).is_err());
    }
}
