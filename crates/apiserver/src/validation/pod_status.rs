//! Updates of a pod's status.

use super::pod_update::annotations;
use super::{At, IMMUTABLE, forms, ip};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

const STATUSES: [(&str, &str); 2] = [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")];

/// An update through `status`.
pub(crate) fn update(new: At<'_>, old: &Value, e: &mut Errors) {
    annotations(new, old, e);
    let (at, was, spec) = (new.field("status"), &old["status"], &old["spec"]);
    conditions(at.field("conditions"), e);
    if new.v["spec"]["nodeName"] != spec["nodeName"] {
        at.field("nodeName").forbidden(e, "may not be changed directly");
    }
    nominated(at.field("nominatedNodeName"), was, spec, e);
    observed(at.field("observedGeneration"), e);
    if at["qosClass"] != was["qosClass"] {
        at.field("qosClass").invalid(e, IMMUTABLE);
    }
    if !all_could_restart(spec) {
        for (list, containers) in STATUSES {
            transitions(
                at.field(list),
                &was[list],
                |name, code| {
                    let of = spec[containers].items().iter().find(|c| c["name"].str() == name);
                    of.is_some_and(|c| should_restart(c, spec, code))
                },
                e,
            );
        }
    }
    let list = "ephemeralContainerStatuses";
    transitions(at.field(list), &was[list], |_, _| false, e);
    claims(at.field("resourceClaimStatuses"), &spec["resourceClaims"], e);
    addresses(at, was, e);
    for list in ["containerStatuses", "initContainerStatuses", list] {
        users(at.field(list), spec, e);
    }
    for (list, containers) in STATUSES {
        allocated(at.field(list), &spec[containers], e);
    }
    for status in at.field(list).list().filter(|s| !s["allocatedResourcesStatus"].items().is_empty()) {
        status.field("allocatedResourcesStatus").forbidden(e, "must not be specified in container status");
    }
}

fn observed(at: At<'_>, e: &mut Errors) {
    if at.i64() < 0 {
        at.invalid(e, "must be a non-negative integer");
    }
}

fn conditions(at: At<'_>, e: &mut Errors) {
    for condition in at.list() {
        observed(condition.field("observedGeneration"), e);
        let kind = &condition.v["type"];
        if !["PodScheduled", "Ready", "Initialized"].contains(&kind.str()) {
            condition.field("Type").with(kind).check(e, names::qualified_name);
        }
    }
}

fn nominated(at: At<'_>, was: &Value, spec: &Value, e: &mut Errors) {
    if at.str().is_empty() || at.str() == was["nominatedNodeName"].str() {
        return;
    }
    at.check(e, names::dns1123_subdomain);
    if !spec["nodeName"].str().is_empty() {
        at.forbidden(e, "may not be set on pods that are already bound to a node");
    }
}

/// A rule that restarts all containers may bring any of them back.
fn all_could_restart(spec: &Value) -> bool {
    let containers = ["containers", "initContainers"].into_iter().flat_map(|l| spec[l].items());
    containers.flat_map(|c| c["restartPolicyRules"].items()).any(|r| r["action"].str() == "RestartAllContainers")
}

fn should_restart(container: &Value, spec: &Value, code: i64) -> bool {
    for rule in container["restartPolicyRules"].items() {
        let listed = rule["exitCodes"]["values"].items().iter().any(|v| v.as_i64() == Some(code));
        let matches = match rule["exitCodes"]["operator"].str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches && rule["action"].str() == "Restart" {
            return true;
        }
    }
    let policy = match container["restartPolicy"].str() {
        "" => spec["restartPolicy"].str(),
        own => own,
    };
    match policy {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

/// A container that has ended stays so unless it may be restarted.
fn transitions(at: At<'_>, was: &Value, may_restart: impl Fn(&str, i64) -> bool, e: &mut Errors) {
    for (i, old) in was.items().iter().enumerate() {
        let ended = &old["state"]["terminated"];
        if ended.is_null() {
            continue;
        }
        let now = at.items().iter().find(|s| s["name"] == old["name"] && s["state"]["terminated"].is_null());
        if now.is_some() && !may_restart(old["name"].str(), ended["exitCode"].as_i64().unwrap_or_default()) {
            at.index(i).field("state").forbidden(e, "may not be transitioned to non-terminated state");
        }
    }
}

fn claims(at: At<'_>, known: &Value, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for status in at.list() {
        let name = status.field("name");
        if !known.items().iter().any(|c| c["name"].str() == name.str()) {
            name.invalid(e, "must match the name of an entry in `spec.resourceClaims`");
        }
        if seen.contains(&name.str()) {
            name.duplicate(e)
        } else {
            seen.push(name.str())
        }
        if status.field("resourceClaimName").is_set() {
            status.field("resourceClaimName").check(e, names::dns1123_subdomain);
        }
    }
}

fn addresses(at: At<'_>, was: &Value, e: &mut Errors) {
    let hosts = at.field("hostIPs");
    if let Some(first) = hosts.list().next()
        && first["ip"].str() != at["hostIP"].str()
    {
        first.field("ip").invalid(e, "must be equal to `hostIP`");
    }
    for list in [at.field("podIPs"), hosts] {
        let name = if list.path() == hosts.path() { "hostIPs" } else { "podIPs" };
        let known: Vec<&str> = was[name].items().iter().map(|ip| ip["ip"].str()).collect();
        for (item, value) in list.list().zip(list.v.items()) {
            ip::address(item.with(&value["ip"]), e, &known);
        }
        let all = || list.v.items().iter().map(|ip| ip["ip"].str());
        if all().count() > 1 && (ip::dual_stack(all()) == Some(false) || all().count() > 2) {
            list.invalid(e, "may specify no more than one IP for each IP family");
        }
    }
}

fn users(at: At<'_>, spec: &Value, e: &mut Errors) {
    let windows = spec["os"]["name"].str() == "windows";
    for user in at.list().map(|s| s.fields(&["user", "linux"])).filter(|u| u.is_set()) {
        if windows {
            user.forbidden(e, "cannot be set for a windows pod");
            continue;
        }
        let groups = user.field("supplementalGroups").list();
        for id in [user.field("uid"), user.field("gid")].into_iter().chain(groups) {
            if let Some(text) = forms::id(id.i64()) {
                id.invalid_as(e, id.i64(), &text);
            }
        }
    }
}

fn allocated(at: At<'_>, containers: &Value, e: &mut Errors) {
    for status in at.list() {
        let container = containers.items().iter().find(|c| c["name"] == status["name"]);
        for resource in status.field("allocatedResourcesStatus").list() {
            let name = resource.field("name");
            if let Some(container) = container {
                let (known, text) = if name.str().starts_with("claim:") {
                    let text = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
                    (container["resources"]["claims"].items().iter().any(|c| claim(c) == name.str()), text)
                } else {
                    let requests = &container["resources"]["requests"];
                    (requests.get(name.str()).is_some(), "must match one of the container's resource requests")
                };
                if !known {
                    name.invalid(e, text);
                }
            }
            for health in resource.field("resources").list().map(|r| r.field("health")) {
                if !["Healthy", "Unhealthy", "Unknown"].contains(&health.str()) {
                    health.not_supported(e, &["Healthy", "Unhealthy", "Unknown"]);
                }
            }
        }
    }
}

fn claim(claim: &Value) -> String {
    match claim["request"].str() {
        "" => format!("claim:{}", claim["name"].str()),
        request => format!("claim:{}/{request}", claim["name"].str()),
    }
}
