//! Claims to devices, and devices.

use super::{Strategy, now};
use crate::validation::{At, immutable};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Claims and templates of claims.
pub struct Claims {
    /// Where the claim's spec is.
    pub path: &'static [&'static str],
}

impl Strategy for Claims {
    fn default(&self, obj: &mut Value) {
        let devices = obj.entry_at(self.path).get_mut("devices").filter(|d| !d.is_null());
        let requests = devices.and_then(|d| d.get_mut("requests"));
        for request in requests.map(Value::items_mut).unwrap_or_default() {
            if let Some(exactly) = request.get_mut("exactly").filter(|r| !r.is_null()) {
                count(exactly);
            }
            request.get_mut("firstAvailable").map(Value::items_mut).unwrap_or_default().iter_mut().for_each(count);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        immutable(At::root(obj).field("spec"), At::root(old).field("spec"), e);
    }
}

fn count(request: &mut Value) {
    if request["allocationMode"].str().is_empty() {
        request.set("allocationMode", "ExactCount");
    }
    if request["allocationMode"].str() == "ExactCount" && request["count"].is_zero() {
        request.set("count", 1);
    }
}

/// Taints of devices and of rules say since when.
pub(super) fn taints(obj: &mut Value) {
    let Some(spec) = obj.get_mut("spec").filter(|spec| !spec.is_null()) else { return };
    if let Some(taint) = spec.get_mut("taint").filter(|taint| !taint.is_null()) {
        taint.set_default("timeAdded", now());
    }
    for device in spec.get_mut("devices").map(Value::items_mut).unwrap_or_default() {
        for taint in device.get_mut("taints").map(Value::items_mut).unwrap_or_default() {
            taint.set_default("timeAdded", now());
        }
    }
}
