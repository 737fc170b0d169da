//! The integration tests, one module a subject, linked once.

mod support;
