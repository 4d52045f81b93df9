//! Sets of fields: trees of path elements, sorted, each of them a member or only on the way to one.

use super::element::Element;
use std::cmp::Ordering;

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// Sorted by element. Each is a member or has members below.
    pub(super) nodes: Vec<Node>,
}

/// A field or item, and what is in the set below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) element: Element,
    pub(super) member: bool,
    pub(super) below: Set,
}

impl Set {
    /// From paths of field names.
    pub fn of(paths: &[&[&'static str]]) -> Self {
        let mut set = Set::default();
        for path in paths {
            let elements: Vec<Element> = path.iter().map(|name| Element::field(*name)).collect();
            set.insert(&elements);
        }
        set
    }

    /// Adds one field; the empty path is the object itself, which nobody owns.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.node(first);
        match rest {
            [] => node.member = true,
            rest => node.below.insert(rest),
        }
    }

    /// The node of an element, made where there is none.
    fn node(&mut self, element: &Element) -> &mut Node {
        let at = self.find(element).unwrap_or_else(|at| {
            self.nodes.insert(at, Node { element: element.clone(), member: false, below: Set::default() });
            at
        });
        &mut self.nodes[at]
    }

    fn find(&self, element: &Element) -> Result<usize, usize> {
        match self.nodes.last() {
            // Sets are mostly built in order.
            Some(last) if last.element < *element => Err(self.nodes.len()),
            _ => self.nodes.binary_search_by(|n| n.element.cmp(element)),
        }
    }

    /// Adds an element with what is below it, if there is anything to add. Elements come in any order, each once;
    /// when all are there, [`Set::settle`] is due.
    pub(super) fn add(&mut self, element: &Element, member: bool, below: Set) {
        if member || !below.is_empty() {
            self.nodes.push(Node { element: element.clone(), member, below });
        }
    }

    /// Brings what was added into order.
    pub(super) fn settle(&mut self) {
        if !self.nodes.is_sorted_by(|a, b| a.element < b.element) {
            self.nodes.sort_by(|a, b| a.element.cmp(&b.element));
        }
    }

    /// True when nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// How many fields are in it.
    pub fn len(&self) -> usize {
        self.nodes.iter().map(|n| usize::from(n.member) + n.below.len()).sum()
    }

    /// Whether a field is in it.
    pub fn has(&self, path: &[Element]) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        let Ok(at) = self.nodes.binary_search_by(|n| n.element.cmp(first)) else { return false };
        if rest.is_empty() { self.nodes[at].member } else { self.nodes[at].below.has(rest) }
    }

    /// The node of an element.
    pub(super) fn get(&self, element: &Element) -> Option<&Node> {
        self.nodes.binary_search_by(|n| n.element.cmp(element)).ok().map(|at| &self.nodes[at])
    }

    /// The node of a field. Fields stand before all other elements.
    pub(super) fn field(&self, name: &str) -> Option<&Node> {
        let order = |node: &Node| match &node.element {
            Element::Field(field) => field.as_ref().cmp(name),
            _ => Ordering::Greater,
        };
        self.nodes.binary_search_by(order).ok().map(|at| &self.nodes[at])
    }

    /// Every field as a path; on each level the members first, then what is below.
    pub fn paths(&self) -> Vec<Vec<Element>> {
        let mut out = Vec::new();
        self.walk(&mut Vec::new(), &mut |path| out.push(path.to_vec()));
        out
    }

    fn walk(&self, prefix: &mut Vec<Element>, visit: &mut dyn FnMut(&[Element])) {
        for node in self.nodes.iter().filter(|n| n.member) {
            prefix.push(node.element.clone());
            visit(prefix);
            prefix.pop();
        }
        for node in self.nodes.iter().filter(|n| !n.below.is_empty()) {
            prefix.push(node.element.clone());
            node.below.walk(prefix, visit);
            prefix.pop();
        }
    }

    /// What is in either.
    pub fn union(self, other: Set) -> Set {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other } else { self };
        }
        let mut nodes = Vec::with_capacity(self.nodes.len() + other.nodes.len());
        let mut theirs = other.nodes.into_iter().peekable();
        for mut node in self.nodes {
            while let Some(before) = theirs.next_if(|t| t.element < node.element) {
                nodes.push(before);
            }
            if let Some(same) = theirs.next_if(|t| t.element == node.element) {
                node.member |= same.member;
                node.below = node.below.union(same.below);
            }
            nodes.push(node);
        }
        nodes.extend(theirs);
        Set { nodes }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Set) -> Set {
        let mut out = Set::default();
        pair(self, other, |a, b| {
            let below = a.below.intersection(&b.below);
            if (a.member && b.member) || !below.is_empty() {
                out.nodes.push(Node { element: a.element.clone(), member: a.member && b.member, below });
            }
        });
        out
    }

    /// What is in this one and not in the other; what is below a field of the other stays.
    #[must_use]
    pub fn difference(self, other: &Set) -> Set {
        self.without(other, false)
    }

    /// What is in this one and neither in the other nor below anything in it.
    #[must_use]
    pub fn recursive_difference(self, other: &Set) -> Set {
        self.without(other, true)
    }

    fn without(mut self, other: &Set, recursive: bool) -> Set {
        if other.is_empty() {
            return self;
        }
        let mut theirs = other.nodes.iter().peekable();
        self.nodes.retain_mut(|node| {
            while theirs.next_if(|t| t.element < node.element).is_some() {}
            let Some(same) = theirs.next_if(|t| t.element == node.element) else { return true };
            if recursive && same.member {
                return false;
            }
            node.member &= !same.member;
            node.below = std::mem::take(&mut node.below).without(&same.below, recursive);
            node.member || !node.below.is_empty()
        });
        self
    }
}

/// Calls with every pair of nodes of the same element.
fn pair<'a>(a: &'a Set, b: &'a Set, mut each: impl FnMut(&'a Node, &'a Node)) {
    let (mut a, mut b) = (a.nodes.iter().peekable(), b.nodes.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        match x.element.cmp(&y.element) {
            Ordering::Less => drop(a.next()),
            Ordering::Greater => drop(b.next()),
            Ordering::Equal => {
                each(x, y);
                a.next();
                b.next();
            }
        }
    }
}
