//! Label and field selectors, with upstream's grammar and texts for errors (apimachinery `labels`, `fields`,
//! `meta/v1`).

mod field;
mod label;
mod parse;
mod validate;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
pub use validate::{SelectorOptions, validate_label_selector, validate_labels};

#[cfg(test)]
mod tests;
