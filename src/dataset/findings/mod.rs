//! What may be wrong with annotations, and where: read despite its faults, a split becomes an
//! [`Audit`].

mod audit;
mod code;
mod finding;
mod paths;

pub use self::{
    audit::{Audit, AuditedImage, AuditedObject},
    code::{Code, Severity},
    finding::{Example, Finding, Findings, Place},
    paths::{path_leaves, tidy},
};
