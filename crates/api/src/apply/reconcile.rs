//! Sets written under another schema: what has become atomic since then is owned as a whole (upstream
//! `ReconcileFieldSetWithSchema`).

use super::element::Element;
use super::kind::Kind;
use super::owners::Owner;
use super::set::Set;

/// Brings a manager's fields in line with the schema.
pub(super) fn owner(kind: Kind<'_>, owner: &mut Owner) {
    let mut set = owner.set().into_owned();
    if collapse(kind, &mut set) {
        owner.replace(set);
    }
}

/// True when something changed.
fn collapse(kind: Kind<'_>, set: &mut Set) -> bool {
    let mut changed = false;
    for node in set.nodes.iter_mut().filter(|n| !n.below.is_empty()) {
        let child = match (&node.element, kind) {
            (Element::Field(name), Kind::Struct(_) | Kind::Map(_)) => kind.child(name).0,
            (Element::Field(_), _) => continue,
            (_, Kind::Keyed(..) | Kind::Items) => kind.item(),
            _ => continue,
        };
        if matches!(child, Kind::Leaf) {
            (node.member, node.below) = (true, Set::default());
            changed = true;
        } else {
            changed |= collapse(child, &mut node.below);
        }
    }
    changed
}
