//! Address families of services: one, or one of each, as the cluster has them and the policy asks.

use crate::validation::service::{addresses, family_of};
use crate::validation::{At, ip};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Fills in `ipFamilyPolicy` and `ipFamilies`. `configured` are the cluster's families, the default first.
pub(super) fn fill(obj: &mut Value, old: Option<&Value>, configured: &[&'static str]) -> Result<(), Errors> {
    if obj["spec"]["type"].str() == "ExternalName" || old.is_some_and(|old| already_preferred(obj, old)) {
        return Ok(());
    }
    fill_policy(obj, old);
    let mut e = Errors::new();
    addresses(At::root(obj).field("spec"), old, &mut e);
    ok(e)?;
    narrow(obj, old)?;
    from_addresses(obj, configured)?;
    let spec = obj.entry("spec");
    let single = spec["ipFamilyPolicy"].str() == "SingleStack";
    if is_open(spec) {
        if list(spec).is_empty() {
            spec.set("ipFamilies", vec![configured[0]]);
        }
        if list(spec).len() == 1 && !single {
            add_other(spec);
        }
        return Ok(());
    }
    check_configured(spec, configured)?;
    if list(spec).is_empty() {
        spec.set("ipFamilies", vec![configured[0]]);
    }
    if !single && list(spec).len() == 1 && configured.len() == 2 {
        add_other(spec);
    }
    Ok(())
}

fn ok(e: Errors) -> Result<(), Errors> {
    if e.is_empty() { Ok(()) } else { Err(e) }
}

fn list(spec: &Value) -> Vec<String> {
    spec["ipFamilies"].items().iter().map(|f| f.str().to_owned()).collect()
}

/// Without address and selector nobody knows its endpoints' families: it may have any.
fn is_open(spec: &Value) -> bool {
    spec["clusterIP"].str() == "None" && spec["selector"].is_zero()
}

fn add_other(spec: &mut Value) {
    let first = list(spec).remove(0);
    let other = if first == "IPv4" { "IPv6" } else { "IPv4" };
    spec.set("ipFamilies", vec![first.as_str(), other]);
}

/// A service that prefers two families and is left as it is keeps what it has.
fn already_preferred(obj: &Value, old: &Value) -> bool {
    let (spec, was) = (&obj["spec"], &old["spec"]);
    let kinds = ["ClusterIP", "NodePort", "LoadBalancer"];
    spec["ipFamilyPolicy"].str() == "PreferDualStack"
        && matches!(was["ipFamilyPolicy"].str(), "" | "PreferDualStack")
        && spec["type"] == was["type"]
        && kinds.contains(&spec["type"].str())
        && spec["clusterIPs"].items() == was["clusterIPs"].items()
        && spec["ipFamilies"].items() == was["ipFamilies"].items()
}

fn fill_policy(obj: &mut Value, old: Option<&Value>) {
    let spec = obj.entry("spec");
    if !spec["ipFamilyPolicy"].is_null() {
        return;
    }
    let was = old.map(|old| old["spec"]["ipFamilyPolicy"].clone()).filter(|p| !p.is_null());
    let fallback = if is_open(spec) { "RequireDualStack" } else { "SingleStack" };
    spec.set("ipFamilyPolicy", was.unwrap_or_else(|| fallback.into()));
}

/// A policy that became `SingleStack` gives up the second of what the update leaves alone.
fn narrow(obj: &mut Value, old: Option<&Value>) -> Result<(), Errors> {
    let mut e = Errors::new();
    let single = obj["spec"]["ipFamilyPolicy"].str() == "SingleStack";
    if let Some(old) = old {
        for (field, what) in [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")] {
            let (now, was) = (obj["spec"][field].items(), old["spec"][field].items());
            if single && now == was && now.len() > 1 {
                let first = now[0].clone();
                obj.entry("spec").set(field, vec![first]);
            } else if !single && !now.is_empty() && now.len() < was.len() {
                let policy = At::root(obj).fields(&["spec", "ipFamilyPolicy"]);
                policy.invalid(&mut e, &format!("must be 'SingleStack' to release the secondary {what}"));
            }
        }
    }
    if single {
        for (field, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if obj["spec"][field].items().len() == 2 {
                let policy = At::root(obj).fields(&["spec", "ipFamilyPolicy"]);
                let text =
                    format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                policy.invalid(&mut e, &text);
            }
        }
    }
    ok(e)
}

/// Addresses that were asked for say their families.
fn from_addresses(obj: &mut Value, configured: &[&'static str]) -> Result<(), Errors> {
    let mut e = Errors::new();
    let mut families = list(&obj["spec"]);
    let addresses = At::root(obj).fields(&["spec", "clusterIPs"]);
    for (i, address) in addresses.list().enumerate().take_while(|(_, a)| a.str() != "None") {
        let family = ip::sloppy(address.str()).map_or("unknown", family_of);
        if i < families.len() {
            continue;
        }
        if configured.contains(&family) {
            families.push(family.to_owned());
        } else {
            let text = format!("{family} is not configured on this cluster");
            address.invalid_as(&mut e, addresses.v.clone(), &text);
        }
    }
    ok(e)?;
    if !families.is_empty() {
        obj.entry("spec").set("ipFamilies", families);
    }
    Ok(())
}

fn check_configured(spec: &Value, configured: &[&'static str]) -> Result<(), Errors> {
    let mut e = Errors::new();
    let root = Value::from_iter([("spec", spec.clone())]);
    let at = At::root(&root).field("spec");
    if at["ipFamilyPolicy"].str() == "RequireDualStack" && configured.len() < 2 {
        let text = "this cluster is not configured for dual-stack services";
        at.field("ipFamilyPolicy").invalid(&mut e, text);
    }
    for family in at.field("ipFamilies").list().filter(|f| !configured.contains(&f.str())) {
        family.invalid(&mut e, "not configured on this cluster");
    }
    ok(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn filled(spec: Value, old: Option<Value>, configured: &[&'static str]) -> Result<(String, Vec<String>), String> {
        let mut obj = value!({"spec": (spec)});
        let old = old.map(|spec| value!({"spec": (spec)}));
        fill(&mut obj, old.as_ref(), configured).map_err(|e| e.to_string())?;
        Ok((obj["spec"]["ipFamilyPolicy"].str().to_owned(), list(&obj["spec"])))
    }

    #[test]
    fn policies() {
        let v4 = &["IPv4"][..];
        let both = &["IPv4", "IPv6"][..];
        let is = |p: &str, f: &[&str]| Ok((p.to_owned(), f.iter().map(|f| (*f).to_owned()).collect()));
        let plain = value!({"type": "ClusterIP", "selector": {"a": "b"}});
        assert_eq!(filled(plain.clone(), None, v4), is("SingleStack", &["IPv4"]));
        let prefer = value!({"type": "ClusterIP", "ipFamilyPolicy": "PreferDualStack"});
        assert_eq!(filled(prefer.clone(), None, v4), is("PreferDualStack", &["IPv4"]));
        assert_eq!(filled(prefer, None, both), is("PreferDualStack", &["IPv4", "IPv6"]));
        let open = value!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]});
        assert_eq!(filled(open, None, v4), is("RequireDualStack", &["IPv4", "IPv6"]));
        let require = value!({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"});
        assert_eq!(
            filled(require, None, v4),
            Err("spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services".to_owned())
        );
        let six = value!({"type": "ClusterIP", "clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]});
        assert_eq!(
            filled(six, None, v4),
            Err("spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster".to_owned())
        );
    }
}
