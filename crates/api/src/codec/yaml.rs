//! YAML in, as kubectl reads it, and out, as `sigs.k8s.io/yaml` writes it.

mod emit;
mod plain;
mod repeated;

pub use emit::write_yaml;

use super::DecodeError;
use crate::value::Value;
use repeated::Repeated;
use serde::de::DeserializeOwned;
use serde_saphyr::options::DuplicateKeyPolicy;

/// YAML of one document to an untyped value: YAML 1.1 booleans and octal numbers, the last of equal keys, bounded
/// aliases.
pub fn parse_yaml(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut value = parse(bytes, DuplicateKeyPolicy::LastWins)?;
    whole(&mut value);
    Ok(value)
}

/// Floats without a fraction are integers: upstream makes JSON of YAML, and Go writes `9.0` as `9` there.
fn whole(value: &mut Value) {
    const TOO_LARGE: f64 = 9_223_372_036_854_775_808.0;
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range")]
        Value::Float(f) if f.fract() == 0.0 && f.abs() < TOO_LARGE => *value = Value::Int(*f as i64),
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(object) => object.0.iter_mut().for_each(|(_, value)| whole(value)),
        _ => {}
    }
}

/// Says which keys stand more than once in a mapping of a YAML document, with the lines of the values that are lost.
pub fn check_yaml_keys(bytes: &[u8]) -> Result<(), DecodeError> {
    // Most write JSON, which is YAML but much quicker to read.
    if serde_json::from_slice::<Repeated>(bytes).is_ok_and(|found| found.0.is_empty()) {
        return Ok(());
    }
    let found: Repeated = parse(bytes, DuplicateKeyPolicy::PassThrough)?;
    if found.0.is_empty() { Ok(()) } else { Err(refused(&format!("unmarshal errors:\n  {}", found.0.join("\n  ")))) }
}

/// How deep YAML may go: less deep than JSON, since the library needs a lot of stack for each level.
const MAX_DEPTH: usize = 250;

fn parse<T: DeserializeOwned>(bytes: &[u8], duplicate_keys: DuplicateKeyPolicy) -> Result<T, DecodeError> {
    let options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
    };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|why| refused(&why))
}

fn refused(why: &dyn std::fmt::Display) -> DecodeError {
    DecodeError(format!("error converting YAML to JSON: yaml: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_named() {
        let told = |text: &str| check_yaml_keys(text.as_bytes()).map_err(|why| why.0);
        let repeated = |lines: &str| Err(format!("error converting YAML to JSON: yaml: unmarshal errors:\n  {lines}"));
        let cases = [
            ("a: 1\nb: {c: 1}\n", Ok(())),
            (r#"{"a": 1, "b": [{"a": 1}]}"#, Ok(())),
            ("\na: 1\nb:\n  c: 1\n  c: 2\n", repeated("line 5: key \"c\" already set in map")),
            (r#"{"a": {"x": 1}, "a": 2}"#, repeated("line 1: key \"a\" already set in map")),
            // What is inside is told first; the line is the value's, the first key is the one kept.
            (
                "a: 1\na:\n  b: 1\n  b: 2\na: 3\nl:\n- 1: x\n  1: y\n",
                repeated(
                    "line 4: key \"b\" already set in map\n  line 3: key \"a\" already set in map\n  line 5: key \"a\" \
                     already set in map\n  line 8: key 1 already set in map",
                ),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
