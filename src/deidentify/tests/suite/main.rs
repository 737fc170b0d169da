//! De-identification of files that pydicom wrote.

mod attributes;
mod consistent;
mod killed;
mod peer;
mod picture;
mod refused;
mod support;
