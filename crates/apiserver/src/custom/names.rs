//! Which names a definition gets: first come, first served within a group.
//!
//! A pure decision over the definitions of the group (apiextensions-apiserver `controller/status`,
//! `controller/establish`).

use kaji_api::{Value, value};
use std::collections::BTreeSet;

/// The status a definition should have, or none where it has it.
pub(crate) fn status(definition: &Value, others: &[Value]) -> Option<Value> {
    let mut status = definition["status"].clone();
    let (accepted, condition) = accept(definition, others);
    let is_accepted = condition["status"].str() == "True";
    status.set("acceptedNames", accepted);
    set_condition(&mut status, condition);
    if find(&status, "Established")["status"].str() != "True" {
        set_condition(&mut status, established(is_accepted));
    }
    (status != definition["status"]).then_some(status)
}

/// Whether clients may use it.
pub(crate) fn is_established(definition: &Value) -> bool {
    find(&definition["status"], "Established")["status"].str() == "True"
}

/// The condition of a type, or null.
pub(crate) fn find<'a>(status: &'a Value, ty: &str) -> &'a Value {
    status["conditions"].items().iter().find(|c| c["type"].str() == ty).unwrap_or(&Value::Null)
}

/// Puts a condition in the place of the one of its type; its time changes with its status.
pub(crate) fn set_condition(status: &mut Value, mut new: Value) {
    let old = find(status, new["type"].str()).clone();
    if same(&old, &new) {
        return;
    }
    let changed = old["status"] != new["status"];
    let time = if changed { Value::from(crate::strategy::now()) } else { old["lastTransitionTime"].clone() };
    new.set("lastTransitionTime", time);
    let ty = new["type"].str().to_owned();
    if status["conditions"].is_null() {
        status.set("conditions", Value::Array(Vec::new()));
    }
    let Value::Array(all) = status.entry("conditions") else { return };
    match all.iter_mut().find(|c| c["type"].str() == ty) {
        Some(place) => *place = new,
        None => all.push(new),
    }
}

fn same(old: &Value, new: &Value) -> bool {
    ["status", "reason", "message"].iter().all(|field| old[*field] == new[*field])
}

/// A condition, its time apart.
pub(crate) fn condition(ty: &str, status: bool, reason: &str, message: &str) -> Value {
    value!({"type": (ty), "status": (if status { "True" } else { "False" }), "reason": (reason), "message": (message)})
}

fn established(accepted: bool) -> Value {
    match accepted {
        true => condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
        false => condition("Established", false, "NotAccepted", "not all names are accepted"),
    }
}

/// The names that are free or its own already, and what to say of the others.
fn accept(definition: &Value, others: &[Value]) -> (Value, Value) {
    let (wanted, has) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let taken = Taken::by(others);
    let mut names = has.clone();
    let mut conflict: Option<(String, String)> = None;
    let mut one = |field: &'static str, reason: &str, taken: &BTreeSet<&str>| {
        let name = wanted[field].str();
        match name == has[field].str() || !taken.contains(name) {
            true => names.set(field, name),
            false => conflict = Some((reason.to_owned(), in_use(name))),
        }
    };
    one("plural", "PluralConflict", &taken.resources);
    one("singular", "SingularConflict", &taken.resources);
    let short = short_names(wanted, has, &taken);
    match short {
        Ok(()) => copy(&mut names, wanted, "shortNames"),
        Err(why) => conflict = Some(("ShortNamesConflict".to_owned(), why)),
    }
    let mut one = |field: &'static str, reason: &str| {
        let name = wanted[field].str();
        match name == has[field].str() || !taken.kinds.contains(name) {
            true => names.set(field, name),
            false => conflict = Some((reason.to_owned(), in_use(name))),
        }
    };
    one("kind", "KindConflict");
    one("listKind", "ListKindConflict");
    copy(&mut names, wanted, "categories");
    let condition = match conflict {
        Some((reason, message)) => condition("NamesAccepted", false, &reason, &message),
        None => condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
    };
    (names, condition)
}

fn copy(names: &mut Value, wanted: &Value, field: &'static str) {
    match wanted.get(field) {
        Some(list) => names.set(field, list.clone()),
        None => drop(names.remove(field)),
    }
}

fn short_names(wanted: &Value, has: &Value, taken: &Taken<'_>) -> Result<(), String> {
    let own: Vec<&str> = has["shortNames"].items().iter().map(Value::str).collect();
    let new = wanted["shortNames"].items().iter().map(Value::str).filter(|name| !own.contains(name));
    let errors: Vec<String> = new.filter(|name| taken.resources.contains(name)).map(in_use).collect();
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        all => Err(format!("[{}]", all.join(", "))),
    }
}

fn in_use(name: &str) -> String {
    format!("{} is already in use", kaji_api::field::quoted(name))
}

/// Names that other definitions of the group have.
struct Taken<'a> {
    resources: BTreeSet<&'a str>,
    kinds: BTreeSet<&'a str>,
}

impl<'a> Taken<'a> {
    fn by(others: &'a [Value]) -> Self {
        let mut taken = Taken { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        for names in others.iter().map(|d| &d["status"]["acceptedNames"]) {
            taken.resources.extend([names["plural"].str(), names["singular"].str()]);
            taken.resources.extend(names["shortNames"].items().iter().map(Value::str));
            taken.kinds.extend([names["kind"].str(), names["listKind"].str()]);
        }
        taken.resources.remove("");
        taken.kinds.remove("");
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        let list = format!("{kind}List");
        value!({"metadata": {"name": (format!("{plural}.example.com"))}, "spec": {"group": "example.com",
            "names": {"plural": (plural), "singular": (kind.to_lowercase()), "kind": (kind), "listKind": (list),
                      "shortNames": (short.to_vec())}}})
    }

    fn with_status(mut definition: Value, others: &[Value]) -> Value {
        let status = status(&definition, others).expect("a new definition gets a status");
        definition.set("status", status);
        definition
    }

    #[test]
    fn free_names_are_accepted_once() {
        let first = with_status(definition("widgets", "Widget", &["wd"]), &[]);
        assert!(is_established(&first));
        assert_eq!(find(&first["status"], "NamesAccepted")["reason"].str(), "NoConflicts");
        assert_eq!(status(&first, &[]), None, "nothing is left to say");
    }

    #[test]
    fn taken_names_are_refused_one_by_one() {
        let first = with_status(definition("widgets", "Widget", &["wd"]), &[]);
        let table: &[(&str, &str, &[&str], &str, &str)] = &[
            ("gadgets", "Widget", &[], "ListKindConflict", "\"WidgetList\" is already in use"),
            ("gadgets", "Gadget", &["wd"], "ShortNamesConflict", "\"wd\" is already in use"),
            ("widget", "Gadget", &[], "PluralConflict", "\"widget\" is already in use"),
        ];
        for (plural, kind, short, reason, message) in table {
            let second = with_status(definition(plural, kind, short), std::slice::from_ref(&first));
            let condition = find(&second["status"], "NamesAccepted");
            assert_eq!((condition["reason"].str(), condition["message"].str()), (*reason, *message));
            assert!(!is_established(&second));
            assert_eq!(find(&second["status"], "Established")["reason"].str(), "NotAccepted");
        }
    }

    #[test]
    fn what_was_established_stays() {
        let first = with_status(definition("widgets", "Widget", &["wd"]), &[]);
        let mut second = with_status(definition("gadgets", "Gadget", &[]), std::slice::from_ref(&first));
        second.entry_at(&["spec", "names"]).set("shortNames", Value::Array(vec!["wd".into()]));
        let after = with_status(second, &[first]);
        assert!(is_established(&after));
        assert_eq!(find(&after["status"], "NamesAccepted")["status"].str(), "False");
    }
}
