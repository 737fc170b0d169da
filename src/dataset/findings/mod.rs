//! What may be wrong with annotations, and where: read despite its faults, a split becomes an
//! [`Audit`].

mod audit;
mod code;
mod finding;

pub use crate::image_names::{path_leaves, tidy};

pub use self::{
    audit::{Audit, AuditedImage, AuditedObject},
    code::{Code, Severity},
    finding::{Example, Finding, Findings, Place},
};
