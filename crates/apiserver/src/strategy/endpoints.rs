//! Endpoints.

use super::Strategy;
use crate::validation::{At, ip, one_of, port_number};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// Endpoints.
pub struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, obj: &mut Value) {
        for subset in obj.get_mut("subsets").map(Value::items_mut).unwrap_or_default() {
            for port in subset.get_mut("ports").map(Value::items_mut).unwrap_or_default() {
                port.set_default("protocol", "TCP");
            }
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        At::root(obj).field("subsets").list().for_each(|subset| self::subset(subset, e));
    }

    /// What is stored already stays valid while it isn't touched.
    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        if obj["subsets"] != old["subsets"] {
            self.validate(obj, e);
        }
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        for subset in At::root(obj).field("subsets").list() {
            for address in ["addresses", "notReadyAddresses"].into_iter().flat_map(|l| subset.field(l).list()) {
                ip::warn(address.field("ip"), &mut out);
            }
        }
        out
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn subset(at: At<'_>, e: &mut Errors) {
    let lists = ["addresses", "notReadyAddresses"];
    if lists.iter().all(|l| at[*l].items().is_empty()) {
        at.required(e, "must specify `addresses` or `notReadyAddresses`");
    }
    for address in lists.into_iter().flat_map(|l| at.field(l).list()) {
        ip::address(address.field("ip"), e, &[]);
        address.field("hostname").check_if_set(e, names::dns1123_label);
        if address.field("nodeName").is_set() {
            address.field("nodeName").check(e, names::dns1123_subdomain);
        }
        ip::endpoint(address.field("ip"), e);
    }
    let ports = at.field("ports");
    for port in ports.list() {
        let name = port.field("name");
        if ports.items().len() > 1 && name.str().is_empty() {
            name.required(e, "");
        } else {
            name.check_if_set(e, names::dns1123_label);
        }
        port_number(port.field("port"), e);
        one_of(port.field("protocol"), e, &["SCTP", "TCP", "UDP"]);
        if port.field("appProtocol").is_set() {
            port.field("appProtocol").check(e, names::qualified_name);
        }
    }
}
