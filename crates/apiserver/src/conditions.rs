//! Conditions in the status of objects.

use kaji_api::{Value, value};

/// The condition of a type, or null.
pub(crate) fn find<'a>(object: &'a Value, ty: &str) -> &'a Value {
    object["status"]["conditions"].items().iter().find(|c| c["type"].str() == ty).unwrap_or(&Value::Null)
}

/// Whether the condition of a type is there and true.
pub(crate) fn is_true(object: &Value, ty: &str) -> bool {
    find(object, ty)["status"].str() == "True"
}

/// A condition, its time apart.
pub(crate) fn of(ty: &str, status: bool, reason: &str, message: &str) -> Value {
    value!({"type": (ty), "status": (if status { "True" } else { "False" }), "reason": (reason), "message": (message)})
}

/// Puts a condition in the place of the one of its type, or behind all others; its time changes with its status alone.
pub(crate) fn set(object: &mut Value, mut new: Value) {
    let ty = new["type"].str().to_owned();
    let old = find(object, &ty);
    if ["status", "reason", "message"].iter().all(|field| old[*field] == new[*field]) && !old.is_null() {
        return;
    }
    let stays = old["status"] == new["status"] && !old["lastTransitionTime"].is_null();
    let time = if stays { old["lastTransitionTime"].clone() } else { Value::from(crate::strategy::now()) };
    new.set("lastTransitionTime", time);
    let all = object.entry_at(&["status", "conditions"]);
    match all.items_mut().iter_mut().find(|c| c["type"].str() == ty) {
        Some(place) => *place = new,
        None => all.push(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_times_move_with_the_status_alone() {
        let old = value!({"status": {"conditions": [
            {"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "B", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Q", "message": "n"}
        ]}});
        let with = |status: bool| {
            let mut object = old.clone();
            set(&mut object, of("B", status, "R", "m"));
            object
        };
        let (same, other) = (with(false), with(true));
        assert_eq!(find(&same, "B")["lastTransitionTime"].str(), "2026-01-01T00:00:00Z");
        assert_eq!((find(&same, "B")["reason"].str(), find(&same, "B")["message"].str()), ("R", "m"));
        assert_ne!(find(&other, "B")["lastTransitionTime"].str(), "2026-01-01T00:00:00Z");
        assert!(is_true(&other, "A") && is_true(&other, "B") && !is_true(&same, "B"));
        let mut empty = Value::object();
        set(&mut empty, of("C", true, "R", ""));
        assert_eq!(empty["status"]["conditions"].items().len(), 1);
    }
}
