//! Ingress, its classes, and network policies.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::service::host_name;
use crate::validation::{At, forms, immutable, ip, labels, names as own_names, port_number};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// Ingresses.
pub struct Ingresses;

/// Classes of ingresses.
pub struct IngressClasses;

/// Network policies.
pub struct NetworkPolicies;

/// Addresses that services hold.
pub struct IpAddresses;

/// Ranges that services' addresses come from.
pub struct ServiceCidrs;

const CLASS: &str = "kubernetes.io/ingress.class";

impl Strategy for Ingresses {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        ingress(At::root(obj).field("spec"), e);
        let class = obj["spec"]["ingressClassName"].as_str();
        if let (Some(annotation), Some(class)) = (obj.annotation(CLASS), class)
            && annotation != class
        {
            let at = At::root(obj).fields(&["annotations", CLASS]);
            at.invalid_as(e, annotation, "must match `ingressClassName` when both are specified");
        }
    }

    fn validate_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        ingress(At::root(obj).field("spec"), e);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let was = old["status"]["loadBalancer"]["ingress"].items();
        let known: Vec<&str> = was.iter().map(|i| i["ip"].str()).collect();
        for point in At::root(obj).fields(&["status", "loadBalancer", "ingress"]).list() {
            if !point["ip"].str().is_empty() {
                ip::address(point.field("ip"), e, &known);
            }
            host_name(point.field("hostname"), e);
        }
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        match obj.annotation(CLASS) {
            Some(_) if old.is_none() => {
                vec![format!("annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead")]
            }
            _ => Vec::new(),
        }
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn ingress(at: At<'_>, e: &mut Errors) {
    let (rules, backend) = (at.field("rules"), at.field("defaultBackend"));
    if rules.items().is_empty() && !backend.is_set() {
        at.invalid_as(e, rules.v.clone(), "either `defaultBackend` or `rules` must be specified");
    }
    if backend.is_set() {
        self::backend(backend, e);
    }
    for rule in rules.list() {
        host(rule.field("host"), true, e);
        let http = rule.field("http");
        if http.is_set() {
            http.field("paths").need(e);
            http.field("paths").list().for_each(|path| self::path(path, e));
        }
    }
    for tls in at.field("tls").list() {
        tls.field("hosts").list().for_each(|h| host(h, false, e));
        tls.field("secretName").check_if_set(e, names::dns1123_subdomain);
    }
    if at.field("ingressClassName").is_set() {
        at.field("ingressClassName").check(e, names::dns1123_subdomain);
    }
}

fn host(at: At<'_>, rule: bool, e: &mut Errors) {
    if rule && at.str().is_empty() {
        return;
    }
    if rule && ip::sloppy(at.str()).is_some() {
        at.invalid(e, "must be a DNS name, not an IP address");
    }
    if at.str().contains('*') { at.check(e, forms::wildcard_subdomain) } else { at.check(e, names::dns1123_subdomain) }
}

fn path(at: At<'_>, e: &mut Errors) {
    let (path, kind) = (at.field("path"), at.field("pathType"));
    if !kind.is_set() {
        return kind.required(e, "pathType must be specified");
    }
    match kind.str() {
        "Exact" | "Prefix" => {
            if !path.str().starts_with('/') {
                path.invalid(e, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|bad| path.str().contains(**bad)) {
                path.invalid(e, &format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].iter().filter(|bad| path.str().ends_with(**bad)) {
                path.invalid(e, &format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" => {
            if !path.str().is_empty() && !path.str().starts_with('/') {
                path.invalid(e, "must be an absolute path");
            }
        }
        _ => kind.not_supported(e, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(at.field("backend"), e);
}

fn backend(at: At<'_>, e: &mut Errors) {
    let (resource, service) = (at.field("resource"), at.field("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => at.invalid_as(e, "", "cannot set both resource and service backends"),
        (false, false) => at.invalid_as(e, "", "resource or service backend is required"),
        (true, false) => own_names::object_reference(resource, e),
        (false, true) => {
            service.field("name").check_required(e, names::dns1123_label);
            let (name, number) = (service.fields(&["port", "name"]), service.fields(&["port", "number"]));
            match (name.str().is_empty(), number.i64() == 0) {
                (false, false) => at.invalid_as(e, "", "cannot set both port name & port number"),
                (false, true) => name.check(e, forms::port_name),
                (true, false) => port_number(number, e),
                (true, true) => at.required(e, "port name or number is required"),
            }
        }
    }
}

impl Strategy for IngressClasses {
    fn default(&self, obj: &mut Value) {
        if !obj["spec"]["parameters"].is_null() {
            obj.entry_at(&["spec", "parameters"]).set_default("scope", "Cluster");
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        let controller = spec.field("controller");
        if controller.str().len() > 250 {
            controller.too_long(e, 250);
        }
        own_names::domain_path(controller, e);
        let parameters = spec.field("parameters");
        if !parameters.is_set() {
            return;
        }
        own_names::object_reference(parameters, e);
        let (scope, namespace) = (parameters.field("scope"), parameters.field("namespace"));
        match scope.str() {
            "" => scope.required(e, ""),
            "Namespace" if namespace.is_set() => namespace.check(e, names::dns1123_label),
            "Namespace" => namespace.required(e, "`parameters.scope` is set to 'Namespace'"),
            "Cluster" if namespace.is_set() => namespace.forbidden(e, "`parameters.scope` is set to 'Cluster'"),
            "Cluster" => {}
            _ => scope.not_supported(e, &["Cluster", "Namespace"]),
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let path = ["spec", "controller"];
        immutable(At::root(obj).fields(&path), At::root(old).fields(&path), e);
        self.validate(obj, e);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

impl Strategy for NetworkPolicies {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        for list in ["ingress", "egress"] {
            for rule in spec.get_mut(list).map(Value::items_mut).unwrap_or_default() {
                for port in rule.get_mut("ports").map(Value::items_mut).unwrap_or_default() {
                    port.set_default("protocol", "TCP");
                }
            }
        }
        if spec["policyTypes"].is_zero() {
            let out = !spec["egress"].is_zero();
            spec.set("policyTypes", if out { vec!["Ingress", "Egress"] } else { vec!["Ingress"] });
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        policy(At::root(obj).field("spec"), &[], e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let mut known: Vec<&str> = Vec::new();
        for (list, peers) in [("ingress", "from"), ("egress", "to")] {
            for peer in old["spec"][list].items().iter().flat_map(|rule| rule[peers].items()) {
                known.push(peer["ipBlock"]["cidr"].str());
                known.extend(peer["ipBlock"]["except"].items().iter().map(Value::str));
            }
        }
        policy(At::root(obj).field("spec"), &known, e);
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn policy(at: At<'_>, known: &[&str], e: &mut Errors) {
    labels::selector(at.field("podSelector"), e);
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in at.field(list).list() {
            rule.field("ports").list().for_each(|port| policy_port(port, e));
            rule.field(peers).list().for_each(|peer| self::peer(peer, known, e));
        }
    }
    let types = at.field("policyTypes");
    if types.items().len() > 2 {
        return types.invalid(e, "may not specify more than two policyTypes");
    }
    for kind in types.list().filter(|t| !["Ingress", "Egress"].contains(&t.str())) {
        kind.not_supported(e, &["Ingress", "Egress"]);
    }
}

fn policy_port(at: At<'_>, e: &mut Errors) {
    crate::validation::one_of_if_set(at.field("protocol"), e, &["TCP", "UDP", "SCTP"]);
    let (port, end) = (at.field("port"), at.field("endPort"));
    if !port.is_set() {
        if end.is_set() {
            end.invalid(e, "may not be specified when `port` is not specified");
        }
    } else if port.as_str().is_some() {
        if end.is_set() {
            end.invalid(e, "may not be specified when `port` is non-numeric");
        }
        port.check(e, forms::port_name);
    } else {
        port_number(port, e);
        if end.is_set() {
            if end.i64() < port.i64() {
                end.invalid_as(e, port.i64(), "must be greater than or equal to `port`");
            }
            port_number(end, e);
        }
    }
}

fn peer(at: At<'_>, known: &[&str], e: &mut Errors) {
    let (pods, namespaces, block) = (at.field("podSelector"), at.field("namespaceSelector"), at.field("ipBlock"));
    labels::selector(pods, e);
    labels::selector(namespaces, e);
    if block.is_set() {
        ip_block(block, known, e);
    }
    match [pods, namespaces, block].iter().filter(|p| p.is_set()).count() {
        0 => at.required(e, "must specify a peer"),
        2.. if block.is_set() => at.forbidden(e, "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn ip_block(at: At<'_>, known: &[&str], e: &mut Errors) {
    let whole = at.field("cidr");
    if whole.str().is_empty() {
        return whole.required(e, "");
    }
    ip::cidr(whole, e, known);
    let Ok(net) = whole.str().parse::<ipnet::IpNet>() else { return };
    for except in at.field("except").list() {
        ip::cidr(except, e, known);
        let Ok(part) = except.str().parse::<ipnet::IpNet>() else { continue };
        if !net.contains(&part.network()) || net.prefix_len() >= part.prefix_len() {
            except.invalid(e, "must be a strict subset of `cidr`");
        }
    }
}

impl Strategy for IpAddresses {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let parent = At::root(obj).fields(&["spec", "parentRef"]);
        if !parent.is_set() {
            return parent.required(e, "");
        }
        parent.field("group").check_if_set(e, names::dns1123_subdomain);
        parent.field("resource").check_required(e, names::path_segment);
        parent.field("name").check_required(e, names::path_segment);
        parent.field("namespace").check_if_set(e, names::path_segment);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let path = ["spec", "parentRef"];
        immutable(At::root(obj).fields(&path), At::root(old).fields(&path), e);
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        ip::name
    }
}

impl Strategy for ServiceCidrs {
    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        ranges(At::root(obj).fields(&["spec", "cidrs"]), e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let (at, was) = (At::root(obj).fields(&["spec", "cidrs"]), old["spec"]["cidrs"].items());
        let text = crate::validation::IMMUTABLE;
        match (was.len(), at.items().len()) {
            (a, b) if a == b => {
                at.list().zip(was).filter(|(new, old)| new.v != *old).for_each(|(new, _)| new.invalid(e, text));
            }
            (1, 2) => {
                if *at.index(0).v != was[0] {
                    at.index(0).invalid(e, text);
                }
                ranges(at, e);
            }
            _ => at.invalid_as(e, at.v.clone(), text),
        }
    }
}

fn ranges(at: At<'_>, e: &mut Errors) {
    match at.items().len() {
        0 => return at.required(e, "at least one CIDR required"),
        1 | 2 => {}
        _ => return at.invalid(e, "may only hold up to 2 values"),
    }
    at.list().for_each(|range| ip::canonical_cidr(range, e));
    let addresses = at.v.items().iter().map(|c| c.str().split('/').next().unwrap_or_default());
    if at.items().len() == 2 && ip::dual_stack(addresses) == Some(false) {
        at.invalid(e, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
    }
}
