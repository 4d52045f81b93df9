//! Endpoint slices.

use super::Strategy;
use crate::validation::{At, immutable, ip, labels, one_of};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// Endpoint slices.
pub struct EndpointSlices;

impl Strategy for EndpointSlices {
    fn default(&self, obj: &mut Value) {
        for port in obj.get_mut("ports").map(Value::items_mut).unwrap_or_default() {
            port.set_default("name", "");
            port.set_default("protocol", "TCP");
        }
    }

    fn prepare_create(&self, _: &crate::context::RequestContext, _: &mut Value) {}

    fn validate(&self, obj: &Value, e: &mut Errors) {
        head(obj, e);
        endpoints(At::root(obj), e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        head(obj, e);
        if obj["endpoints"] != old["endpoints"] {
            endpoints(At::root(obj), e);
        }
        immutable(At::root(obj).field("addressType"), At::root(old).field("addressType"), e);
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        if obj["addressType"].str() == "FQDN" {
            out.push("addressType: FQDN endpoints are deprecated".to_owned());
        } else {
            let all = At::root(obj).field("endpoints").list().flat_map(|e| e.field("addresses").list());
            all.for_each(|address| ip::warn(address, &mut out));
        }
        out
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Labels tell which service a slice serves, so they count as well.
    fn counts_as_change(&self, obj: &Value, old: &Value) -> bool {
        ["endpoints", "ports", "addressType"].iter().any(|f| obj[*f] != old[*f])
            || obj["metadata"]["labels"] != old["metadata"]["labels"]
    }
}

fn head(obj: &Value, e: &mut Errors) {
    let at = At::root(obj);
    one_of(at.field("addressType"), e, &["FQDN", "IPv4", "IPv6"]);
    let ports = at.field("ports");
    if ports.items().len() > 20_000 {
        return ports.too_many(e, 20_000);
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in ports.list() {
        let name = port.field("name");
        name.check_if_set(e, names::dns1123_label);
        if seen.contains(&name.str()) {
            name.duplicate_as(e, name.str());
        } else {
            seen.push(name.v.str());
        }
        one_of(port.field("protocol"), e, &["SCTP", "TCP", "UDP"]);
        if port.field("appProtocol").is_set() {
            port.field("appProtocol").check(e, names::qualified_name);
        }
    }
}

fn endpoints(slice: At<'_>, e: &mut Errors) {
    let at = slice.field("endpoints");
    if at.items().len() > 1000 {
        return at.too_many(e, 1000);
    }
    for endpoint in at.list() {
        let addresses = endpoint.field("addresses");
        match addresses.items().len() {
            0 => addresses.required(e, "must contain at least 1 address"),
            1..=100 => {}
            _ => addresses.too_many(e, 100),
        }
        addresses.list().for_each(|a| address(addresses, a, slice["addressType"].str(), e));
        if endpoint.field("nodeName").is_set() {
            endpoint.field("nodeName").check(e, names::dns1123_subdomain);
        }
        labels::labels(endpoint.field("deprecatedTopology"), e);
        if endpoint.field("hostname").is_set() {
            endpoint.field("hostname").check(e, names::dns1123_label);
        }
        hints(endpoint.field("hints"), e);
    }
}

fn address(list: At<'_>, at: At<'_>, kind: &str, e: &mut Errors) {
    let before = e.0.len();
    match kind {
        "IPv4" | "IPv6" => {
            ip::address(at, e, &[]);
            if kind == "IPv6" && e.0.len() == before {
                ip::canonical(at, e);
            }
            if e.0.len() > before {
                return;
            }
            if ip::sloppy(at.str()).is_some_and(|ip| ip.is_ipv6() != (kind == "IPv6")) {
                list.invalid_as(e, at.str(), &format!("must be an {kind} address"));
            }
            ip::endpoint(at, e);
        }
        "FQDN" => {
            let name = at.str().strip_suffix('.').unwrap_or(at.str());
            let texts = names::dns1123_subdomain(name);
            if at.str().is_empty() {
                at.required(e, "");
            } else if !texts.is_empty() {
                at.invalid_as(e, name, &texts.join(","));
            } else if !name.contains('.') {
                at.invalid_as(e, name, "should be a domain with at least two segments separated by dots");
            }
        }
        _ => {}
    }
}

type Form = fn(&str) -> Vec<String>;

fn hints(at: At<'_>, e: &mut Errors) {
    let zones: Form = names::label_value;
    for (list, check) in [("forZones", zones), ("forNodes", names::dns1123_subdomain)] {
        let list = at.field(list);
        if list.items().len() > 8 {
            return list.too_many(e, 8);
        }
        let mut seen: Vec<&str> = Vec::new();
        for name in list.list().map(|hint| hint.field("name")) {
            if seen.contains(&name.str()) {
                name.duplicate(e);
            } else {
                seen.push(name.v.str());
            }
            name.check(e, check);
        }
    }
}
