//! Lists of tolerations (upstream `pkg/util/tolerations`).

use kaji_api::Value;

/// Both lists in turn, without what another item covers.
pub(super) fn merge(first: &[Value], second: &[Value]) -> Vec<Value> {
    let all = [first, second].concat();
    let mut merged: Vec<Value> = Vec::new();
    for (i, item) in all.iter().enumerate() {
        let covered = merged.iter().any(|other| covers(other, item))
            || all[i + 1..].iter().any(|other| other != item && covers(other, item));
        if !covered {
            merged.push(item.clone());
        }
    }
    merged
}

/// Whether a toleration tolerates all that another does.
pub(super) fn covers(wide: &Value, narrow: &Value) -> bool {
    let operator = |t: &Value| if t["operator"].str() == "Exists" { "Exists" } else { "Equal" };
    if wide == narrow {
        return true;
    }
    let any_key = wide["key"].str().is_empty() && operator(wide) == "Exists";
    let effect = wide["effect"].str();
    if (wide["key"].str() != narrow["key"].str() && !any_key)
        || (!effect.is_empty() && effect != narrow["effect"].str())
    {
        return false;
    }
    if let (true, Some(most)) = (effect == "NoExecute", wide["tolerationSeconds"].as_i64())
        && narrow["tolerationSeconds"].as_i64().is_none_or(|seconds| seconds > most)
    {
        return false;
    }
    operator(wide) == "Exists" || (operator(narrow) == "Equal" && wide["value"].str() == narrow["value"].str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn tolerations_that_others_cover_go() {
        let narrow = value!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"});
        let wide = value!({"key": "k", "operator": "Exists"});
        let other = value!({"key": "o", "operator": "Exists"});
        let merged = merge(&[narrow, other.clone()], &[wide.clone(), other.clone()]);
        assert_eq!(merged, [other, wide]);
    }

    #[test]
    fn one_covers_another() {
        let all = value!({"operator": "Exists"});
        let key = value!({"key": "k", "operator": "Exists", "effect": "NoSchedule"});
        let equal = value!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"});
        let hour = value!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600});
        let ever = value!({"key": "k", "operator": "Exists", "effect": "NoExecute"});
        for (wide, narrow, expected) in [
            (&all, &key, true),
            (&key, &all, false),
            (&key, &equal, true),
            (&equal, &key, false),
            (&hour, &ever, false),
            (&ever, &hour, true),
            (&key, &ever, false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide:?} {narrow:?}");
        }
    }
}
