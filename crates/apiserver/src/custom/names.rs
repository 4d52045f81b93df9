//! Which names a definition gets: first come, first served within a group.
//!
//! A pure decision over what the definitions of the group have (apiextensions-apiserver `controller/status`).

use crate::conditions;
use kaji_api::Value;
use std::collections::BTreeSet;

/// The names a definition wants and has: all that the others of its group need to know of it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) group: String,
    wanted: Value,
    has: Value,
    /// When it said so.
    pub(super) revision: u64,
}

impl Claim {
    pub(super) fn of(definition: &Value) -> Self {
        Claim {
            group: definition["spec"]["group"].str().to_owned(),
            wanted: definition["spec"]["names"].clone(),
            has: definition["status"]["acceptedNames"].clone(),
            revision: definition.resource_version().parse().unwrap_or_default(),
        }
    }

    /// Whether names are missing that may come free.
    pub(super) fn waits(&self) -> bool {
        self.wanted != self.has
    }

    /// Whether names that it had are free now.
    pub(super) fn has_freed(&self, now: &Claim) -> bool {
        self.has != now.has
    }

    /// The names that are free or its own already, and what to say of the others.
    pub(super) fn accept<'a>(&self, others: impl Iterator<Item = &'a Claim>) -> (Value, Value) {
        let (wanted, has, taken) = (&self.wanted, &self.has, Taken::by(others));
        let mut names = has.clone();
        let mut conflict: Option<(&str, String)> = None;
        let mut one = |field: &'static str, reason: &'static str, taken: &BTreeSet<&str>| {
            let name = wanted[field].str();
            match name == has[field].str() || !taken.contains(name) {
                true => names.set(field, name),
                false => conflict = Some((reason, in_use(name))),
            }
        };
        one("plural", "PluralConflict", &taken.resources);
        one("singular", "SingularConflict", &taken.resources);
        match short_names(wanted, has, &taken) {
            Ok(()) => copy(&mut names, wanted, "shortNames"),
            Err(why) => conflict = Some(("ShortNamesConflict", why)),
        }
        let mut one = |field: &'static str, reason: &'static str| {
            let name = wanted[field].str();
            match name == has[field].str() || !taken.kinds.contains(name) {
                true => names.set(field, name),
                false => conflict = Some((reason, in_use(name))),
            }
        };
        one("kind", "KindConflict");
        one("listKind", "ListKindConflict");
        copy(&mut names, wanted, "categories");
        let condition = match conflict {
            Some((reason, message)) => conditions::of("NamesAccepted", false, reason, &message),
            None => conditions::of("NamesAccepted", true, "NoConflicts", "no conflicts found"),
        };
        (names, condition)
    }
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
    fn by(others: impl Iterator<Item = &'a Claim>) -> Self {
        let mut taken = Taken { resources: BTreeSet::new(), kinds: BTreeSet::new() };
        for names in others.map(|claim| &claim.has) {
            taken.resources.extend([names["plural"].str(), names["singular"].str()]);
            taken.resources.extend(names["shortNames"].items().iter().map(Value::str));
            taken.kinds.extend([names["kind"].str(), names["listKind"].str()]);
        }
        taken.resources.remove("");
        taken.kinds.remove("");
        taken
    }
}
