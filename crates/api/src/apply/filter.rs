//! Fields that a kind of write doesn't reach, so that nobody comes to own them by it.

use super::element::Element;
use super::set::Set;

/// Stands for any element of a path.
const ANY: &str = "*";

/// Paths of field names; `*` stands for any element.
pub type Paths = &'static [&'static [&'static str]];

/// What a write through a resource or subresource reaches (upstream `resetFields`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    #[default]
    All,
    /// Everything but these fields and what is below them.
    Except(Paths),
    /// These fields alone: what is below them, and the way there.
    Only(Paths),
}

impl Filter {
    /// The part of the set that is reached.
    pub(super) fn apply(self, set: Set) -> Set {
        match self {
            Filter::All => set,
            Filter::Except(paths) => set.recursive_difference(&Set::of(paths)),
            Filter::Only(paths) => only(set, paths.to_vec()),
        }
    }
}

fn only(mut set: Set, paths: Vec<&'static [&'static str]>) -> Set {
    if paths.iter().any(|path| path.is_empty()) {
        return set;
    }
    set.nodes.retain_mut(|node| {
        let further: Vec<&'static [&'static str]> =
            paths.iter().filter(|p| matches(p[0], &node.element)).map(|p| &p[1..]).collect();
        if further.is_empty() {
            return false;
        }
        node.below = only(std::mem::take(&mut node.below), further);
        node.member || !node.below.is_empty()
    });
    set
}

fn matches(step: &str, element: &Element) -> bool {
    step == ANY || matches!(element, Element::Field(name) if name == step)
}
