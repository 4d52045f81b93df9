//! Which policies a write concerns, through which bindings, and with which parameters (apiserver `policy/generic`).

use super::frame::{Binding, Compiled};
use super::params;
use super::source::Bound;
use crate::admission::Attributes;
use crate::admission::webhook::choose::Facts;
use crate::row::Row;
use kaji_api::Value;

/// A policy that a write concerns, through a binding.
pub(super) struct Concerned<'p, P> {
    pub(super) policy: &'p P,
    pub(super) binding: &'p Binding,
    /// The version in which the policy's rules name the write.
    pub(super) row: Row,
    /// To be gone by one after another; a single null where there are none to have.
    pub(super) params: Vec<Value>,
}

/// Why a policy cannot be asked.
pub(super) struct Misconfigured {
    pub(super) policy: String,
    /// None: the policy itself is wrong.
    pub(super) binding: Option<String>,
    pub(super) message: String,
}

impl Misconfigured {
    pub(super) fn new(policy: &str, binding: Option<&str>, why: &str) -> Self {
        let what = if binding.is_some() { "binding" } else { "policy" };
        let message = format!("failed to configure {what}: {why}");
        Misconfigured { policy: policy.to_owned(), binding: binding.map(str::to_owned), message }
    }
}

/// A policy through each of its bindings that the write concerns. What is wrong with a policy that fails open is not
/// told.
pub(super) async fn concerned<'p, P: Compiled>(
    bound: &'p Bound<P>,
    facts: &Facts,
    a: &Attributes<'_>,
) -> Vec<Result<Concerned<'p, P>, Misconfigured>> {
    let frame = bound.policy.frame();
    let wrong = |binding: Option<&str>, why: &str| {
        let told = (!frame.fails_open).then(|| Misconfigured::new(&frame.name, binding, why));
        told.map(Err)
    };
    let row = match frame.criteria.matches(facts, a).await {
        Ok(Some(row)) => row,
        Ok(None) => return Vec::new(),
        Err(why) => return wrong(None, &why).into_iter().collect(),
    };
    let kind = match params::kind(frame, a.api) {
        Ok(kind) => kind,
        Err(why) => return wrong(None, &why).into_iter().collect(),
    };
    let mut found = Vec::with_capacity(bound.bindings.len());
    for binding in &bound.bindings {
        let params = match binding.criteria.matches(facts, a).await {
            Ok(None) => continue,
            Ok(Some(_)) => params::collect(kind.as_ref(), binding, a),
            Err(why) => Err(why),
        };
        match params {
            Ok(params) => found.push(Ok(Concerned { policy: &*bound.policy, binding, row: row.clone(), params })),
            Err(why) => found.extend(wrong(Some(&binding.name), &why)),
        }
    }
    found
}
