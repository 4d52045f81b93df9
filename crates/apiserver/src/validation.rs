//! Validation shared between strategies: pods and their parts, metadata, selectors.
