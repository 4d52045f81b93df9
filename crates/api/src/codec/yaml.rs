//! YAML in, as kubectl reads it, and out, as `sigs.k8s.io/yaml` writes it.

mod emit;
mod plain;

pub use emit::write_yaml;

use super::DecodeError;
use crate::value::Value;

/// YAML of one document to an untyped value: YAML 1.1 booleans and octal numbers, the last of equal keys, bounded
/// aliases.
pub fn parse_yaml(bytes: &[u8]) -> Result<Value, DecodeError> {
    parse(bytes, serde_saphyr::options::DuplicateKeyPolicy::LastWins)
}

/// The same, but no key may stand twice in a mapping.
pub fn parse_yaml_strictly(bytes: &[u8]) -> Result<Value, DecodeError> {
    parse(bytes, serde_saphyr::options::DuplicateKeyPolicy::Error)
}

fn parse(bytes: &[u8], duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy) -> Result<Value, DecodeError> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        legacy_octal_numbers: true,
    };
    serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|why| DecodeError(format!("error converting YAML to JSON: yaml: {why}")))
}
