//! Limit ranges.

use super::Strategy;
use crate::validation::{At, resources};
use kaji_api::Value;
use kaji_api::field::Errors;
use kaji_api::names;
use kaji_api::quantity::Quantity;

/// Limit ranges.
pub struct LimitRanges;

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

impl Strategy for LimitRanges {
    fn default(&self, obj: &mut Value) {
        let limits = obj.entry("spec").get_mut("limits").map(Value::items_mut).unwrap_or_default();
        for item in limits {
            for list in LISTS {
                if let Some(list) = item.get_mut(list) {
                    resources::round_up(list);
                }
            }
            if item["type"].str() == "Container" {
                fill(item, "default", "max");
                fill(item, "defaultRequest", "default");
                fill(item, "defaultRequest", "min");
            }
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let mut seen: Vec<&str> = Vec::new();
        for item in At::root(obj).fields(&["spec", "limits"]).list() {
            let kind = item.field("type");
            type_name(kind, e);
            if seen.contains(&kind.str()) {
                kind.duplicate(e);
            }
            seen.push(kind.v.str());
            lists(item, e);
        }
    }

    fn create_on_update(&self) -> bool {
        true
    }
}

fn fill(item: &mut Value, to: &'static str, from: &str) {
    let source = item[from].clone();
    for (name, amount) in source.entries() {
        item.entry(to).set_default(name.to_owned(), amount.clone());
    }
}

fn type_name(at: At<'_>, e: &mut Errors) {
    let texts = names::qualified_name(at.str());
    texts.iter().for_each(|text| at.invalid(e, text));
    let standard = ["Pod", "Container", "PersistentVolumeClaim"].contains(&at.str());
    if texts.is_empty() && !at.str().contains('/') && !standard {
        at.invalid(e, "must be a standard limit type or fully qualified");
    }
}

fn lists(item: At<'_>, e: &mut Errors) {
    let kind = item["type"].str();
    for field in LISTS {
        let list = item.field(field);
        if kind == "Pod" && field.starts_with("default") {
            if !list.is_zero() {
                list.forbidden(e, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, amount) in list.map() {
            match kind {
                "Pod" | "Container" => resources::container_name(amount, name, e),
                _ => drop(resources::name(amount, name, e)),
            }
        }
    }
    let sized = |l: &str| item[l].get("storage").is_some();
    if kind == "PersistentVolumeClaim" && !sized("min") && !sized("max") {
        let text = "either minimum or maximum storage value is required, but neither was provided";
        item.field("limits").required(e, text);
    }
    let mut all: Vec<&str> = LISTS.iter().flat_map(|l| item.v[*l].entries().map(|(name, _)| name)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().for_each(|name| relations(item, name, e));
}

/// min ≤ defaultRequest ≤ default ≤ max, and a ratio that they allow.
fn relations(item: At<'_>, name: &str, e: &mut Errors) {
    let pod = item["type"].str() == "Pod";
    let get = |list: &str| -> Option<Quantity> {
        let hidden = pod && matches!(list, "default" | "defaultRequest");
        item[list].get(name).filter(|_| !hidden).map(resources::quantity)
    };
    let (min, max, limit, request, ratio) =
        (get("min"), get("max"), get("default"), get("defaultRequest"), get("maxLimitRequestRatio"));
    let mut order =
        |low: &Option<Quantity>, high: &Option<Quantity>, at: &str, shown: &Option<Quantity>, words: [&str; 2]| {
            if let (Some(l), Some(h)) = (low, high)
                && l > h
            {
                let path = item.field(at).path().key(name);
                let shown = shown.as_ref().expect("one of the two").to_string();
                e.invalid(&path, shown, &format!("{} value {l} is greater than {} value {h}", words[0], words[1]));
            }
        };
    order(&min, &max, "min", &min, ["min", "max"]);
    order(&min, &request, "defaultRequest", &request, ["min", "default request"]);
    order(&request, &max, "defaultRequest", &request, ["default request", "max"]);
    order(&request, &limit, "defaultRequest", &request, ["default request", "default limit"]);
    order(&min, &limit, "default", &min, ["min", "default"]);
    order(&limit, &max, "default", &max, ["default", "max"]);
    if let Some(ratio) = &ratio {
        self::ratio(item, name, ratio, min.as_ref(), max.as_ref(), e);
    }
    if let (Some(limit), Some(request)) = (&limit, &request)
        && !resources::is_overcommittable(name)
        && limit != request
    {
        let text = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
        e.invalid(&item.field("defaultRequest").path().key(name), request.to_string(), &text);
    }
}

#[expect(clippy::cast_precision_loss, reason = "ratios are compared as upstream does, in floating point")]
fn ratio(item: At<'_>, name: &str, ratio: &Quantity, min: Option<&Quantity>, max: Option<&Quantity>, e: &mut Errors) {
    let path = item.field("maxLimitRequestRatio").path().key(name);
    if *ratio < Quantity::from_i64(1) {
        e.invalid(&path, ratio.to_string(), &format!("ratio {ratio} is less than 1"));
    }
    let (Some(min), Some(max)) = (min, max) else { return };
    let largest = i64::MAX / 1000;
    let small = [ratio, min, max].iter().all(|q| q.value() < largest);
    let (own, limit) = if small {
        (ratio.milli_value() as f64 / 1000.0, max.milli_value() as f64 / min.milli_value() as f64)
    } else {
        (ratio.value() as f64, max.value() as f64 / min.value() as f64)
    };
    if own > limit {
        e.invalid(&path, ratio.to_string(), &format!("ratio {ratio} is greater than max/min = {limit:.6}"));
    }
}
