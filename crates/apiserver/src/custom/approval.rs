//! Groups of the community need its approval (apiextensions-apiserver `pkg/apihelpers`).

use kaji_api::Value;
use kaji_api::field::quoted;

/// The annotation that says where the approval is, or why there is none.
pub(super) const ANNOTATION: &str = "api-approved.kubernetes.io";
const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// What a definition says of its approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

impl Approval {
    /// None: the group is nobody's but its owner's.
    pub(super) fn of(definition: &Value) -> Option<Self> {
        let group = definition["spec"]["group"].str();
        let within =
            |domain: &str| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !within("k8s.io") && !within("kubernetes.io") {
            return None;
        }
        Some(match text(definition) {
            "" => Approval::Missing,
            text if text.starts_with("unapproved") => Approval::Bypassed,
            text if is_url(text) => Approval::Approved,
            _ => Approval::Invalid,
        })
    }

    /// In upstream's words.
    pub(super) fn message(self, definition: &Value) -> String {
        let must = || format!("protected groups must have approval annotation {}", quoted(ANNOTATION));
        match self {
            Approval::Missing => format!("{}, {SEE}", must()),
            Approval::Bypassed => format!("not approved: {}", quoted(text(definition))),
            Approval::Approved => format!("approved in {}", text(definition)),
            Approval::Invalid => {
                format!("{} with either a URL or a reason starting with \"unapproved\", {SEE}", must())
            }
        }
    }

    /// The reason of the condition.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Approval::Missing => "MissingAnnotation",
            Approval::Bypassed => "UnapprovedAnnotation",
            Approval::Approved => "ApprovedAnnotation",
            Approval::Invalid => "InvalidAnnotation",
        }
    }
}

fn text(definition: &Value) -> &str {
    definition.annotation(ANNOTATION).unwrap_or_default()
}

/// Has a scheme and a host.
fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.host().is_some_and(|h| !h.is_empty()))
}
