//! Config maps.

use super::Strategy;
use crate::validation::{At, forms};
use kaji_api::Value;
use kaji_api::field::{Errors, FieldError, Reason};

/// Config maps.
pub struct ConfigMaps;

/// What all values of a config map or secret may hold together.
pub(super) const MAX_SIZE: usize = 1 << 20;
const FROZEN: &str = "field is immutable when `immutable` is set";

impl Strategy for ConfigMaps {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let (data, binary) = (At::root(obj).field("data"), At::root(obj).field("binaryData"));
        let mut size = 0;
        for (key, value) in data.map() {
            check_key(value, key, e);
            if binary.v.get(key).is_some() {
                value.invalid_as(e, key, "duplicate of key present in binaryData");
            }
            size += value.str().len();
        }
        for (key, value) in binary.map() {
            check_key(value, key, e);
            size += decoded_length(value.str());
        }
        if size > MAX_SIZE {
            let message = format!("Too long: may not be more than {MAX_SIZE} bytes");
            e.0.push(FieldError { reason: Reason::TooLong, field: "[]".to_owned(), message });
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        frozen(obj, old, &["data", "binaryData"], e);
        self.validate(obj, e);
    }
}

pub(super) fn check_key(at: At<'_>, key: &str, e: &mut Errors) {
    forms::config_key(key).iter().for_each(|text| at.invalid_as(e, key, text));
}

/// How many bytes a base64 text stands for.
pub(super) fn decoded_length(base64: &str) -> usize {
    base64.len() / 4 * 3 - base64.bytes().rev().take_while(|b| *b == b'=').count().min(2)
}

/// Once `immutable` is set, neither it nor the data may change.
pub(super) fn frozen(obj: &Value, old: &Value, fields: &[&'static str], e: &mut Errors) {
    if !old["immutable"].bool() {
        return;
    }
    if !obj["immutable"].bool() {
        At::root(obj).field("immutable").forbidden(e, FROZEN);
    }
    for field in fields.iter().filter(|f| obj[**f] != old[**f] && !(obj[**f].is_zero() && old[**f].is_zero())) {
        At::root(obj).field(field).forbidden(e, FROZEN);
    }
}
