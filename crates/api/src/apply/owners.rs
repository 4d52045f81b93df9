//! `metadata.managedFields`, taken apart and put together again.

use super::fields_v1;
use super::set::Set;
use crate::value::Value;
use std::borrow::Cow;

/// So many managers of ordinary writes are told apart; older ones are thrown together.
const MAX_UPDATERS: usize = 10;
/// Who owns what the oldest of them wrote.
const ANCIENT: &str = "ancient-changes";
const FORMAT: &str = "FieldsV1";

/// One manager of fields.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Who.
    pub manager: Box<str>,
    /// By server-side apply; else by ordinary writes.
    pub applied: bool,
    /// `apiVersion` in which the fields have their names.
    pub version: Box<str>,
    /// Through which subresource, or empty.
    pub subresource: Box<str>,
    /// When it changed fields last: RFC 3339, or empty.
    pub time: Box<str>,
    fields: Fields,
}

/// Fields as they came, or as a set once that was needed.
#[derive(Clone, Debug)]
enum Fields {
    /// Written by this server, or by one like it.
    Stored(Value),
    Set(Set),
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub struct Owners(pub Vec<Owner>);

impl Owner {
    /// A manager without fields.
    pub(super) fn new(manager: &str, applied: bool, version: &str, subresource: &str) -> Self {
        let manager = if manager.is_empty() { "unknown" } else { manager };
        Owner {
            manager: manager.into(),
            applied,
            version: version.into(),
            subresource: subresource.into(),
            time: "".into(),
            fields: Fields::Set(Set::default()),
        }
    }

    /// The same manager: one that applies is the same in every version.
    pub(super) fn is(&self, other: &Owner) -> bool {
        (&self.manager, self.applied, &self.subresource) == (&other.manager, other.applied, &other.subresource)
            && (self.applied || self.version == other.version)
    }

    /// Its fields.
    pub fn set(&self) -> Cow<'_, Set> {
        match &self.fields {
            // What doesn't read as a set owns nothing.
            Fields::Stored(fields) => Cow::Owned(fields_v1::read(fields).unwrap_or_default()),
            Fields::Set(set) => Cow::Borrowed(set),
        }
    }

    /// Gives it these fields and no others.
    pub fn replace(&mut self, set: Set) {
        self.fields = Fields::Set(set);
    }

    /// Whether it owns any of these.
    pub fn meets(&self, set: &Set) -> bool {
        match &self.fields {
            Fields::Stored(fields) => fields_v1::meets(fields, set),
            Fields::Set(own) => !own.intersection(set).is_empty(),
        }
    }

    /// Whether it owns all of these.
    fn holds(&self, set: &Set) -> bool {
        match &self.fields {
            Fields::Stored(fields) => fields_v1::holds(fields, set),
            Fields::Set(_) => false,
        }
    }

    /// Takes fields away.
    pub(super) fn lose(&mut self, set: &Set) {
        if self.meets(set) {
            let own = self.set().into_owned();
            self.replace(own.difference(set));
        }
    }

    /// Gives fields.
    pub(super) fn gain(&mut self, set: Set) {
        if !self.holds(&set) {
            let own = self.set().into_owned();
            self.replace(own.union(set));
        }
    }

    pub(super) fn owns_nothing(&self) -> bool {
        match &self.fields {
            Fields::Stored(fields) => fields_v1::is_empty(fields),
            Fields::Set(set) => set.is_empty(),
        }
    }

    fn from_value(entry: &Value) -> Result<Self, String> {
        let applied = match entry["operation"].str() {
            "Apply" => true,
            "Update" => false,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if entry["apiVersion"].str().is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        let text = |field: &str| entry[field].str().into();
        Ok(Owner {
            manager: text("manager"),
            applied,
            version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: Fields::Stored(entry["fieldsV1"].clone()),
        })
    }

    fn into_value(self) -> Value {
        let operation = if self.applied { "Apply" } else { "Update" };
        let fields = match self.fields {
            Fields::Stored(fields) => fields,
            Fields::Set(set) => fields_v1::write(&set),
        };
        let entries = [
            ("manager", Value::String(self.manager)),
            ("operation", Value::from(operation)),
            ("apiVersion", Value::String(self.version)),
            ("time", Value::String(self.time)),
            ("fieldsType", Value::from(FORMAT)),
            ("fieldsV1", fields),
            ("subresource", Value::String(self.subresource)),
        ];
        let is_there = |(_, value): &(&str, Value)| !matches!(value, Value::String(text) if text.is_empty());
        Value::from_iter(entries.into_iter().filter(is_there))
    }

    /// How managers of the same age are ordered.
    fn identity(&self) -> (&str, &str, &str) {
        (&self.manager, &self.version, &self.subresource)
    }
}

impl Owners {
    /// From `metadata.managedFields` as stored.
    ///
    /// # Errors
    /// Upstream's words for an entry that is none.
    pub fn stored(entries: &Value) -> Result<Self, String> {
        let mut owners = Owners::default();
        for (at, entry) in entries.items().iter().enumerate() {
            let owner = Owner::from_value(entry)?;
            match entry["fieldsType"].str() {
                FORMAT => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
                other => {
                    let other = crate::field::quoted(other);
                    return Err(format!("invalid fieldsType {other} in managed fields entry {at}"));
                }
            }
            match owners.position(&owner) {
                Some(at) => owners.0[at] = owner,
                None => owners.0.push(owner),
            }
        }
        Ok(owners)
    }

    /// From what a client sent: every set is read, and written anew.
    ///
    /// # Errors
    /// As for [`stored`](Self::stored), and sets of fields that are none.
    pub fn sent(entries: &Value) -> Result<Self, String> {
        let mut owners = Owners::stored(entries)?;
        for owner in &mut owners.0 {
            if let Fields::Stored(fields) = &owner.fields {
                owner.fields = Fields::Set(fields_v1::read(fields)?);
            }
        }
        Ok(owners)
    }

    /// As `metadata.managedFields`: by operation, age, name. None when there are no managers.
    pub fn into_value(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|a, b| {
            (!a.applied, &a.time).cmp(&(!b.applied, &b.time)).then_with(|| a.identity().cmp(&b.identity()))
        });
        Some(Value::Array(self.0.into_iter().map(Owner::into_value).collect()))
    }

    /// Where a manager stands.
    pub(super) fn position(&self, owner: &Owner) -> Option<usize> {
        self.0.iter().position(|o| o.is(owner))
    }

    /// Takes a manager out.
    pub(super) fn take(&mut self, owner: &Owner) -> Option<Owner> {
        self.position(owner).map(|at| self.0.remove(at))
    }

    /// Throws the oldest managers of ordinary writes together, those of each version by themselves, until few
    /// enough are left.
    pub(super) fn cap(&mut self) {
        let updaters = self.0.iter().filter(|o| !o.applied).count();
        if updaters <= MAX_UPDATERS {
            return;
        }
        let (mut old, rest): (Vec<Owner>, Vec<Owner>) =
            std::mem::take(&mut self.0).into_iter().partition(|o| !o.applied);
        let age = |o: &Owner| (&*o.manager != ANCIENT, o.time.clone());
        old.sort_by(|a, b| age(a).cmp(&age(b)).then_with(|| a.identity().cmp(&b.identity())));
        let mut left = old.len();
        let mut kept: Vec<Owner> = Vec::with_capacity(left);
        for owner in old {
            let first = kept.iter_mut().find(|k| k.version == owner.version);
            match first {
                Some(bucket) if left > MAX_UPDATERS => {
                    (bucket.manager, bucket.subresource) = (ANCIENT.into(), "".into());
                    bucket.gain(owner.set().into_owned());
                    bucket.time = owner.time;
                    left -= 1;
                }
                _ => kept.push(owner),
            }
        }
        self.0 = rest;
        self.0.extend(kept);
    }
}

/// Whether a client asks for ownership to be forgotten: an empty list, or one empty entry.
pub(super) fn is_reset(entries: &Value) -> bool {
    match entries {
        Value::Array(entries) => match entries.as_slice() {
            [] => true,
            [one] => one.as_object().is_none_or(|o| o.0.iter().all(|(_, v)| v.is_null())),
            _ => false,
        },
        _ => false,
    }
}
