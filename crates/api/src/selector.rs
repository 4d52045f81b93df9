//! Label and field selectors, with upstream's grammar and texts for errors.

mod field;
mod label;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
