//! Quality of service of a pod, from its requests and limits.

use super::resources::quantity;
use kaji_api::Value;
use kaji_api::quantity::Quantity;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The class the pod was given, or would be.
pub(crate) fn class(pod: &Value) -> &str {
    match pod["status"]["qosClass"].str() {
        "" => computed(&pod["spec"]),
        class => class,
    }
}

/// `BestEffort`, `Burstable` or `Guaranteed`.
pub(crate) fn computed(spec: &Value) -> &'static str {
    let mut total = [[None, None], [None, None]];
    let mut guaranteed = true;
    let mut count = |of: &Value| {
        let own = ["requests", "limits"].map(|list| COUNTED.map(|name| positive(&of[list], name)));
        guaranteed &= own[1].iter().all(Option::is_some);
        for (total, own) in total.iter_mut().flatten().zip(own.into_iter().flatten()) {
            if let Some(q) = own {
                *total = Some(total.as_ref().map_or(q.clone(), |t: &Quantity| t.add(&q)));
            }
        }
    };
    if spec["resources"].is_null() {
        ["containers", "initContainers"].iter().flat_map(|l| spec[*l].items()).for_each(|c| count(&c["resources"]));
    } else {
        count(&spec["resources"]);
        guaranteed |= spec["resources"]["limits"].is_zero();
    }
    let [requests, limits] = total;
    if requests.iter().chain(&limits).all(Option::is_none) {
        return "BestEffort";
    }
    let equal = limits.iter().zip(&requests).all(|(l, r)| l.is_some() == r.is_some() && (r.is_none() || l == r));
    if guaranteed && equal { "Guaranteed" } else { "Burstable" }
}

fn positive(list: &Value, name: &str) -> Option<Quantity> {
    list.get(name).map(quantity).filter(|q| q.signum() > 0)
}
