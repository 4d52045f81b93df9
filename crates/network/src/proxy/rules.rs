//! The table as it should be, as it is, and the steps between.
//!
//! Every object owns a fragment. Putting a new fragment in its place marks what it touches; [`Ruleset::steps`] then
//! compares only that with what the kernel has, so a change costs what changed, not what is there.

use super::plan::{Fragment, SETS};
use crate::nftables::{Chain, Key, SetKind, Statement, Step, Value};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Chains that lost their last reference are deleted this much later: kernels before 6.2 notice late that a deleted
/// map element no longer refers to them.
const STALE: Duration = Duration::from_secs(1);

/// Whose rules these are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The table itself.
    Base,
    /// A service, by namespace and name.
    Service(String, String),
    /// A pod with host ports, by namespace and name.
    Pod(String, String),
}

type Element = (&'static str, Key);

/// One family's table.
#[derive(Default)]
pub struct Ruleset {
    fragments: BTreeMap<Owner, Fragment>,
    /// Wanted elements by owner; the first owner's value counts where two services claim one address.
    elements: BTreeMap<Element, BTreeMap<Owner, Value>>,
    /// What the kernel has of the things touched since the last commit.
    before: Before,
    in_kernel: bool,
    stale: BTreeMap<String, Instant>,
}

#[derive(Default)]
struct Before {
    chains: BTreeMap<String, (Owner, Option<Chain>)>,
    sets: BTreeMap<String, (Owner, Option<SetKind>)>,
    elements: BTreeMap<Element, Option<Value>>,
}

impl Ruleset {
    /// Puts an object's rules in place of its former ones.
    pub fn replace(&mut self, owner: &Owner, new: Fragment) {
        let old = self.fragments.remove(owner).unwrap_or_default();
        if old == new {
            self.keep(owner, old);
            return;
        }
        for name in old.chains.keys().chain(new.chains.keys()) {
            self.before.chains.entry(name.clone()).or_insert_with(|| (owner.clone(), old.chains.get(name).cloned()));
        }
        for name in old.sets.keys().chain(new.sets.keys()) {
            self.before.sets.entry(name.clone()).or_insert_with(|| (owner.clone(), old.sets.get(name).copied()));
        }
        for (element, value) in &old.elements {
            if new.elements.get(element) != Some(value) {
                self.set_element(owner, element, None);
            }
        }
        for (element, value) in &new.elements {
            if old.elements.get(element) != Some(value) {
                self.set_element(owner, element, Some(value.clone()));
            }
        }
        self.keep(owner, new);
    }

    fn keep(&mut self, owner: &Owner, fragment: Fragment) {
        if fragment != Fragment::default() {
            self.fragments.insert(owner.clone(), fragment);
        }
    }

    fn set_element(&mut self, owner: &Owner, element: &Element, value: Option<Value>) {
        let now = self.effective(element);
        self.before.elements.entry(element.clone()).or_insert(now);
        let owners = self.elements.entry(element.clone()).or_default();
        match value {
            Some(value) => drop(owners.insert(owner.clone(), value)),
            None => drop(owners.remove(owner)),
        }
        if owners.is_empty() {
            self.elements.remove(element);
        }
    }

    fn effective(&self, element: &Element) -> Option<Value> {
        self.elements.get(element).and_then(|owners| owners.values().next().cloned())
    }

    /// The steps from what the kernel has to what it should have.
    pub fn steps(&self) -> Vec<Step> {
        if self.in_kernel { self.changes() } else { self.everything() }
    }

    /// The kernel has carried out [`Ruleset::steps`].
    pub fn committed(&mut self, now: Instant) {
        if !self.in_kernel {
            self.stale.clear();
        }
        for (name, (owner, old)) in std::mem::take(&mut self.before).chains {
            if self.chain(&owner, &name).is_some() {
                self.stale.remove(&name);
            } else if old.is_some() && self.in_kernel {
                self.stale.insert(name, now);
            }
        }
        self.in_kernel = true;
    }

    /// The kernel's table is not what we think; the next steps build it anew.
    pub fn doubt(&mut self) {
        self.in_kernel = false;
    }

    /// Whether the kernel has this table.
    pub fn is_in_kernel(&self) -> bool {
        self.in_kernel
    }

    /// When the next [`Ruleset::sweep`] has something to do.
    pub fn next_sweep(&self) -> Option<Instant> {
        self.stale.values().min().map(|since| *since + STALE)
    }

    /// Steps that delete chains long out of use.
    pub fn sweep(&self, now: Instant) -> Vec<Step> {
        let old = self.stale.iter().filter(|(_, since)| **since + STALE <= now);
        old.map(|(name, _)| Step::DeleteChain(name.clone())).collect()
    }

    /// Those steps were carried out.
    pub fn swept(&mut self, now: Instant) {
        self.stale.retain(|_, since| *since + STALE > now);
    }

    fn everything(&self) -> Vec<Step> {
        let mut steps = vec![Step::AddTable, Step::DeleteTable, Step::AddTable];
        let parts = || self.fragments.values();
        let chains = || parts().flat_map(|f| &f.chains);
        steps.extend(chains().map(|(name, chain)| Step::AddChain(name.clone(), chain.hook)));
        steps.extend(parts().flat_map(|f| &f.sets).map(|(name, kind)| Step::AddSet(name.clone(), *kind)));
        steps.extend(chains().flat_map(|(name, chain)| rules(name, chain)));
        let mut wanted = Grouped::default();
        for (element, owners) in &self.elements {
            wanted.add(element, owners.values().next());
        }
        steps.extend(wanted.into_steps(Step::AddElements));
        steps
    }

    /// In an order in which no step refers to something that is not there yet or not there any more.
    fn changes(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let chains: Vec<_> =
            self.before.chains.iter().map(|(n, (owner, old))| (n, old.as_ref(), self.chain(owner, n))).collect();
        let sets: Vec<_> = self.before.sets.iter().map(|(n, (owner, old))| (n, *old, self.set(owner, n))).collect();
        let changed_sets = || sets.iter().filter(|(_, old, new)| old != new);
        // The kernel keeps a set while rules use it, so those are written anew with a set that is made anew.
        let remade = |name: &String| changed_sets().any(|(n, old, _)| *n == name && old.is_some());
        let changed = || chains.iter().filter(|(_, old, new)| old != new || old.is_some_and(|c| uses(c, remade)));
        steps.extend(changed().filter_map(|(n, _, new)| new.map(|c| Step::AddChain((*n).clone(), c.hook))));
        steps.extend(changed().map(|(n, ..)| Step::FlushChain((*n).clone())));

        let (mut gone, mut come) = (Grouped::default(), Grouped::default());
        for (element, old) in &self.before.elements {
            let new = self.effective(element);
            if *old != new {
                gone.add(element, old.as_ref());
                come.add(element, new.as_ref());
            }
        }
        steps.extend(gone.into_steps(Step::DeleteElements));

        steps.extend(changed_sets().filter_map(|(n, old, _)| old.map(|_| Step::DeleteSet((*n).clone()))));
        steps.extend(changed_sets().filter_map(|(n, _, new)| new.map(|kind| Step::AddSet((*n).clone(), kind))));

        steps.extend(changed().filter_map(|(n, _, new)| new.map(|c| rules(n, c))).flatten());
        steps.extend(come.into_steps(Step::AddElements));
        steps
    }

    fn chain(&self, owner: &Owner, name: &str) -> Option<&Chain> {
        self.fragments.get(owner).and_then(|f| f.chains.get(name))
    }

    fn set(&self, owner: &Owner, name: &str) -> Option<SetKind> {
        self.fragments.get(owner).and_then(|f| f.sets.get(name)).copied()
    }
}

fn uses(chain: &Chain, set: impl Fn(&String) -> bool) -> bool {
    let mut statements = chain.rules.iter().flatten();
    statements.any(|s| matches!(s, Statement::Remembered(name) | Statement::Remember(name) if set(name)))
}

fn rules(name: &str, chain: &Chain) -> Vec<Step> {
    chain.rules.iter().map(|rule| Step::AddRule(name.to_owned(), rule.clone())).collect()
}

/// Elements by set, so that each set is one step.
#[derive(Default)]
struct Grouped(BTreeMap<&'static str, Vec<(Key, Value)>>);

impl Grouped {
    fn add(&mut self, (set, key): &Element, value: Option<&Value>) {
        if let Some(value) = value {
            self.0.entry(set).or_default().push((key.clone(), value.clone()));
        }
    }

    fn into_steps(self, step: fn(String, SetKind, Vec<(Key, Value)>) -> Step) -> impl Iterator<Item = Step> {
        self.0.into_iter().map(move |(set, all)| {
            let kind = SETS.iter().find(|(name, _)| *name == set).map(|(_, kind)| *kind);
            step(set.to_owned(), kind.expect("elements go only into the table's own sets"), all)
        })
    }
}
