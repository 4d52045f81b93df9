//! Specs of jobs, in jobs and in cron jobs.

use super::{At, nonnegative, template};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

const SIZES: &[&str] = &[
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
];
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];

/// The spec, selector apart.
pub(crate) fn spec(at: At<'_>, e: &mut Errors) {
    SIZES.iter().for_each(|field| nonnegative(at.field(field), e));
    let failed = at.field("maxFailedIndexes");
    if failed.is_set() {
        nonnegative(failed, e);
        if at["backoffLimitPerIndex"].is_null() {
            at.field("backoffLimitPerIndex").required(e, "when maxFailedIndexes is specified");
        }
    }
    managed_by(at.field("managedBy"), e);
    let mode = at.field("completionMode");
    super::one_of_if_set(mode, e, &["NonIndexed", "Indexed"]);
    if mode.str() == "Indexed" {
        indexed(at, e);
    } else if matches!(mode.str(), "" | "NonIndexed") {
        for limit in
            ["backoffLimitPerIndex", "maxFailedIndexes"].map(|f| at.field(f)).into_iter().filter(|l| l.is_set())
        {
            limit.invalid(e, "requires indexed completion mode");
        }
    }
    failure_policy(at, e);
    let success = at.field("successPolicy");
    if success.is_set() {
        if mode.str() == "Indexed" {
            success_policy(at, e)
        } else {
            success.invalid(e, "requires indexed completion mode")
        }
    }
    let replacement = at.field("podReplacementPolicy");
    let policies: &[&str] =
        if at["podFailurePolicy"].is_null() { &["Failed", "TerminatingOrFailed"] } else { &["Failed"] };
    super::one_of_if_set(replacement, e, policies);
    template::template(at.field("template"), e);
    let restart = at.fields(&["template", "spec", "restartPolicy"]);
    match restart.str() {
        "Always" | "" => restart.required(e, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if at["podFailurePolicy"].is_null() => {}
        "OnFailure" => restart.invalid(e, "only \"Never\" is supported when podFailurePolicy is specified"),
        _ => restart.not_supported(e, &["OnFailure", "Never"]),
    }
}

/// `example.com/controller`: a domain and a path.
fn managed_by(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    super::names::domain_path(at, e);
    if at.str().len() > 63 {
        at.too_long(e, 63);
    }
}

fn indexed(at: At<'_>, e: &mut Errors) {
    let (completions, parallelism, failed) =
        (at.field("completions"), at.field("parallelism"), at.field("maxFailedIndexes"));
    if !completions.is_set() {
        completions.required(e, "when completion mode is Indexed");
    }
    if parallelism.i64() > 100_000 {
        parallelism.invalid(e, "must be less than or equal to 100000 when completion mode is Indexed");
    }
    if completions.is_set() && failed.i64() > completions.i64() {
        failed.invalid(e, "must be less than or equal to completions");
    }
    if failed.i64() > 100_000 {
        failed.invalid(e, "must be less than or equal to 100000");
    }
    if completions.i64() <= 100_000 || at["backoffLimitPerIndex"].is_null() {
        return;
    }
    if !failed.is_set() {
        failed.required(e, "must be specified when completions is above 100000");
    }
    let text =
        "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
    for limited in [parallelism, failed].into_iter().filter(|l| l.i64() > 10_000) {
        limited.invalid(e, text);
    }
}

fn listed(values: &[&str]) -> String {
    format!("valid values: [{}]", values.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>().join(" "))
}

fn member(at: At<'_>, values: &[&str], e: &mut Errors) {
    match at.str() {
        "" => at.required(e, &listed(values)),
        s if values.contains(&s) => {}
        _ => at.not_supported(e, values),
    }
}

/// An error that shows no value.
fn bare(at: At<'_>, detail: &str, e: &mut Errors) {
    use kaji_api::field::{FieldError, Reason};
    let message = format!("Invalid value: {detail}");
    e.0.push(FieldError { reason: Reason::Invalid, field: at.path().to_string(), message });
}

fn failure_policy(spec: At<'_>, e: &mut Errors) {
    let rules = spec.fields(&["podFailurePolicy", "rules"]);
    if rules.items().len() > 20 {
        rules.too_many(e, 20);
    }
    for rule in rules.list() {
        let action = rule.field("action");
        member(action, ACTIONS, e);
        if action.str() == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            action.invalid(e, "requires the backoffLimitPerIndex to be set");
        }
        let (codes, conditions) = (rule.field("onExitCodes"), rule.field("onPodConditions"));
        if codes.is_set() {
            exit_codes(codes, spec.v, e);
        }
        if conditions.items().len() > 20 {
            conditions.too_many(e, 20);
        }
        for pattern in conditions.list() {
            pattern.field("type").check(e, names::qualified_name);
            member(pattern.field("status"), &["False", "True", "Unknown"], e);
        }
        match (codes.is_set(), conditions.items().is_empty()) {
            (true, false) => bare(rule, "specifying both OnExitCodes and OnPodConditions is not supported", e),
            (false, true) => bare(rule, "specifying one of OnExitCodes and OnPodConditions is required", e),
            _ => {}
        }
    }
}

fn exit_codes(at: At<'_>, spec: &Value, e: &mut Errors) {
    member(at.field("operator"), &["In", "NotIn"], e);
    let (name, values) = (at.field("containerName"), at.field("values"));
    let pod = &spec["template"]["spec"];
    let known = |l: &&str| pod[*l].items().iter().any(|c| c["name"].str() == name.str());
    if name.is_set() && !["containers", "initContainers"].iter().any(known) {
        name.invalid(e, "must be one of the container or initContainer names in the pod template");
    }
    if values.items().is_empty() {
        values.invalid_as(e, Value::Array(Vec::new()), "at least one value is required");
    } else if values.items().len() > 255 {
        values.too_many(e, 255);
    }
    let codes: Vec<i64> = values.list().map(|v| v.i64()).collect();
    for (i, value) in values.list().enumerate() {
        if at["operator"].str() == "In" && codes[i] == 0 {
            value.invalid(e, "must not be 0 for the In operator");
        }
        if codes[..i].contains(&codes[i]) {
            value.duplicate(e);
        }
    }
    if !codes.is_sorted() {
        values.invalid(e, "must be ordered");
    }
}

fn success_policy(spec: At<'_>, e: &mut Errors) {
    let completions = spec.field("completions").i64();
    let rules = spec.fields(&["successPolicy", "rules"]);
    if rules.items().is_empty() {
        rules.required(e, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.items().len() > 20 {
        rules.too_many(e, 20);
    }
    for rule in rules.list() {
        let (indexes, count) = (rule.field("succeededIndexes"), rule.field("succeededCount"));
        if !indexes.is_set() && !count.is_set() {
            rule.required(e, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut total = 0;
        if indexes.is_set() {
            if indexes.str().len() > 64 << 10 {
                indexes.too_long(e, 64 << 10);
            }
            match self::indexes(indexes.str(), completions) {
                Ok(n) => total = n,
                Err(text) => indexes.invalid(e, &format!("error parsing succeededIndexes: {text}")),
            }
        }
        if count.is_set() {
            nonnegative(count, e);
            if count.i64() > completions {
                let text = format!("must be less than or equal to {completions} (the number of specified completions)");
                count.invalid(e, &text);
            }
            if indexes.is_set() && count.i64() > total {
                let text = format!(
                    "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
                );
                count.invalid(e, &text);
            }
        }
    }
}

/// How many indexes a text such as `1,3-5` names.
pub(crate) fn indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut last, mut total) = (None, 0);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (from, to) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= from) {
            return Err(format!("non-increasing order, previous: {last}, current: {from}"));
        }
        total += to - from + 1;
        last = Some(to);
    }
    Ok(total)
}

/// One interval of indexes.
pub(crate) fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let ends: Vec<&str> = part.split('-').collect();
    if ends.len() > 2 {
        return Err(format!(
            "the fragment \"{part}\" violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let number = |s: &str| {
        let n = s.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: \"{s}\""))?;
        if n < completions { Ok(n) } else { Err(format!("too large index: \"{s}\"")) }
    };
    let from = number(ends[0])?;
    let to = ends.get(1).map_or(Ok(from), |s| number(s))?;
    if ends.len() == 2 && from >= to {
        return Err(format!("non-increasing order, previous: {from}, current: {to}"));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_indexes() {
        assert_eq!(indexes("", 5), Ok(0));
        assert_eq!(indexes("0,2-4", 5), Ok(4));
        assert_eq!(indexes("5", 5), Err("too large index: \"5\"".to_owned()));
        assert_eq!(indexes("2,1", 5), Err("non-increasing order, previous: 2, current: 1".to_owned()));
        assert_eq!(indexes("x", 5), Err("cannot convert string to integer for index: \"x\"".to_owned()));
    }
}
