//! What one write's rounds of mutating admission remember: there are at most two, the second only for policies and
//! webhooks that want to see what others changed after them (apiserver `admission/reinvocation.go`).

use kaji_api::Value;
use std::collections::BTreeSet;

/// The rounds of a write.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// This is the second.
    second: bool,
    /// Somebody changed the object.
    wanted: bool,
    /// Those of policies.
    pub(super) policies: Turns,
    /// Those of webhooks.
    pub(super) webhooks: Turns,
    /// `managedFields` before somebody changed it.
    owners: Option<Value>,
}

/// Who had a turn, and who wants another.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The object as the last one left it, where somebody may want to see it again.
    left: Option<Value>,
    /// Had a turn, and wants another if the object changes from now on.
    willing: BTreeSet<String>,
    /// To have another.
    again: BTreeSet<String>,
}

impl Rounds {
    /// Begins the second round, if there is to be one.
    pub(crate) fn next(&mut self) -> bool {
        let next = self.wanted && !self.second;
        self.second |= next;
        next
    }

    /// Whether this is the second.
    pub(super) fn is_second(&self) -> bool {
        self.second
    }

    /// Remembers whom the fields belonged to where that is about to change.
    pub(super) fn note_owners(&mut self, object: &Value, new: &Value) {
        let owners = &object["metadata"]["managedFields"];
        if self.owners.is_none() && *owners != new["metadata"]["managedFields"] {
            self.owners = Some(owners.clone());
        }
    }

    /// Whom the fields belonged to, if that has changed.
    pub(crate) fn owners_before(&mut self) -> Option<Value> {
        self.owners.take()
    }

    /// Asks for a second.
    pub(super) fn want_another(&mut self) {
        self.wanted = true;
    }
}

impl Turns {
    /// A round begins with the object like this.
    pub(super) fn begin(&mut self, second: bool, object: &Value) {
        if second && self.left.as_ref().is_some_and(|left| left != object) {
            self.changed();
        }
    }

    /// A round ends with the object like this.
    pub(super) fn end(&mut self, object: &Value) {
        self.left = (!self.willing.is_empty()).then(|| object.clone());
    }

    /// The object changed: who had a turn before wants to see it.
    pub(super) fn changed(&mut self) {
        self.again.append(&mut self.willing);
    }

    /// Whether somebody has a turn in this round.
    pub(super) fn has(&self, second: bool, key: &str) -> bool {
        !second || self.again.contains(key)
    }

    /// Somebody who had a turn wants to see later changes.
    pub(super) fn call_again(&mut self, key: String) {
        self.willing.insert(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn only_those_who_asked_see_changes_again() {
        let (before, after) = (value!({"a": 1}), value!({"a": 2}));
        let mut turns = Turns::default();
        turns.begin(false, &before);
        turns.call_again("first".to_owned());
        turns.changed();
        turns.call_again("last".to_owned());
        turns.end(&after);
        assert!(turns.has(false, "anybody"));
        assert_eq!([turns.has(true, "first"), turns.has(true, "last"), turns.has(true, "other")], [true, false, false]);
        turns.begin(true, &after);
        assert!(!turns.has(true, "last"), "nothing changed after it");
        turns.begin(true, &before);
        assert!(turns.has(true, "last"), "something else changed the object");
    }

    #[test]
    fn there_are_two_rounds_at_most() {
        let mut rounds = Rounds::default();
        assert!(!rounds.next());
        rounds.want_another();
        assert!(rounds.next() && rounds.is_second());
        rounds.want_another();
        assert!(!rounds.next());
    }
}
