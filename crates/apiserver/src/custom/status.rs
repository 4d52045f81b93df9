//! What a definition's status should say: a pure decision (apiextensions-apiserver `controller/status`,
//! `controller/establish`, `controller/apiapproval`).

use super::approval::Approval;
use super::definition::has_bad_bundle;
use super::names::Claim;
use crate::conditions;
use kaji_api::Value;

const CONFORMANT: &str = "KubernetesAPIApprovalPolicyConformant";

/// Whether clients may use it.
pub(crate) fn is_established(definition: &Value) -> bool {
    conditions::is_true(definition, "Established")
}

/// Whether its names are its own.
pub(super) fn is_accepted(definition: &Value) -> bool {
    conditions::is_true(definition, "NamesAccepted")
}

/// The definition with the names that it gets beside the others of its group. It is established in a step of its own,
/// once it is served.
pub(super) fn named<'a>(definition: &Value, others: impl Iterator<Item = &'a Claim>) -> Value {
    let (names, condition) = Claim::of(definition).accept(others);
    let mut new = definition.clone();
    new.entry("status").set("acceptedNames", names);
    conditions::set(&mut new, condition);
    if !is_established(&new) && !is_broken(&new) {
        let (reason, message) = match is_accepted(&new) {
            true => ("Installing", "the initial names have been accepted"),
            false => ("NotAccepted", "not all names are accepted"),
        };
        conditions::set(&mut new, conditions::of("Established", false, reason, message));
    }
    if let Some(approval) = Approval::of(&new) {
        let condition =
            conditions::of(CONFORMANT, approval == Approval::Approved, approval.reason(), &approval.message(&new));
        conditions::set(&mut new, condition);
    }
    new
}

/// The definition, established where its names are accepted and nothing stands against it.
pub(super) fn established(definition: &Value) -> Value {
    let mut new = definition.clone();
    if is_accepted(definition) && !is_established(definition) {
        let condition = match has_bad_bundle(definition) {
            true => {
                conditions::of("Established", false, "InvalidCABundle", "The conversion webhook CABundle is invalid")
            }
            false => {
                conditions::of("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
            }
        };
        conditions::set(&mut new, condition);
    }
    new
}

/// It was found unfit to be established, and still is.
fn is_broken(definition: &Value) -> bool {
    conditions::find(definition, "Established")["reason"].str() == "InvalidCABundle" && has_bad_bundle(definition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        let list = format!("{kind}List");
        value!({"metadata": {"name": (format!("{plural}.example.com"))}, "spec": {"group": "example.com",
            "names": {"plural": (plural), "singular": (kind.to_lowercase()), "kind": (kind), "listKind": (list),
                      "shortNames": (short.to_vec())}}})
    }

    fn served(definition: &Value, others: &[Value]) -> Value {
        let others: Vec<Claim> = others.iter().map(Claim::of).collect();
        established(&named(definition, others.iter()))
    }

    fn told(definition: &Value) -> Vec<String> {
        let all = definition["status"]["conditions"].items();
        all.iter().map(|c| format!("{} {} {}", c["type"].str(), c["status"].str(), c["reason"].str())).collect()
    }

    #[test]
    fn free_names_are_accepted_before_the_definition_is_established() {
        let new = definition("widgets", "Widget", &["wd"]);
        let accepted = named(&new, [].iter());
        assert_eq!(told(&accepted), ["NamesAccepted True NoConflicts", "Established False Installing"]);
        let done = established(&accepted);
        assert_eq!(told(&done), ["NamesAccepted True NoConflicts", "Established True InitialNamesAccepted"]);
        assert_eq!(served(&done, &[]), done, "nothing is left to say");
    }

    #[test]
    fn taken_names_are_refused_one_by_one() {
        let first = served(&definition("widgets", "Widget", &["wd"]), &[]);
        let table: &[(&str, &str, &[&str], &str, &str)] = &[
            ("gadgets", "Widget", &[], "ListKindConflict", "\"WidgetList\" is already in use"),
            ("gadgets", "Gadget", &["wd"], "ShortNamesConflict", "\"wd\" is already in use"),
            ("widget", "Gadget", &[], "PluralConflict", "\"widget\" is already in use"),
        ];
        for (plural, kind, short, reason, message) in table {
            let second = served(&definition(plural, kind, short), std::slice::from_ref(&first));
            let refused = format!("NamesAccepted False {reason}");
            assert_eq!(told(&second), [refused.as_str(), "Established False NotAccepted"]);
            assert_eq!(conditions::find(&second, "NamesAccepted")["message"].str(), *message);
        }
    }

    #[test]
    fn what_was_established_stays() {
        let first = served(&definition("widgets", "Widget", &["wd"]), &[]);
        let mut second = served(&definition("gadgets", "Gadget", &[]), std::slice::from_ref(&first));
        second.entry_at(&["spec", "names"]).set("shortNames", Value::Array(vec!["wd".into()]));
        let after = served(&second, &[first]);
        assert!(is_established(&after) && !is_accepted(&after));
    }

    #[test]
    fn groups_of_the_community_say_whether_they_are_approved() {
        let cases = [
            ("", "False MissingAnnotation"),
            ("unapproved, a test", "False UnapprovedAnnotation"),
            ("https://github.com/kubernetes/kubernetes/pull/1", "True ApprovedAnnotation"),
            ("yes", "False InvalidAnnotation"),
        ];
        for (annotation, expected) in cases {
            let mut new = definition("widgets", "Widget", &[]);
            new.entry("spec").set("group", "x.k8s.io");
            new.set_meta("annotations", value!({"api-approved.kubernetes.io": annotation}));
            let told = told(&served(&new, &[]));
            assert_eq!(told[2], format!("{CONFORMANT} {expected}"));
            assert_eq!(told[1], "Established True InitialNamesAccepted");
        }
    }

    #[test]
    fn an_unreadable_authority_keeps_a_definition_from_being_established() {
        let mut new = definition("widgets", "Widget", &[]);
        new.entry("spec").set("conversion", value!({"webhook": {"clientConfig": {"caBundle": "bm9uZQ=="}}}));
        let broken = served(&new, &[]);
        assert_eq!(told(&broken)[1], "Established False InvalidCABundle");
        assert_eq!(served(&broken, &[]), broken, "it does not go to and fro");
        let mut repaired = broken;
        repaired.entry("spec").remove("conversion");
        assert_eq!(told(&served(&repaired, &[]))[1], "Established True InitialNamesAccepted");
    }
}
