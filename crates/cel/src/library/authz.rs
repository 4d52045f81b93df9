//! Checks of permissions: `authorizer.group('').resource('pods').namespace('x').check('get').allowed()`.
//!
//! Expressions ask an [`Authorizer`] that whoever evaluates them provides.

use super::Sig::{Bool, Object as O, String as Str};
use super::{Function, Opaque, Sig, function, member, opaque, opaque_of, str_of};
use crate::value::{EvalError, Outcome, Val, fail, no_overload};
use kaji_api::names;
use std::fmt;
use std::sync::Arc;

const AUTHORIZER: Sig = O(super::opaque::AUTHORIZER);
const PATH: Sig = O(super::opaque::PATH_CHECK);
const GROUP: Sig = O(super::opaque::GROUP_CHECK);
const RESOURCE: Sig = O(super::opaque::RESOURCE_CHECK);
const DECISION: Sig = O(super::opaque::DECISION);

/// Decides what a user may do.
pub trait Authorizer: Send + Sync {
    /// Whether the request is allowed. Called in the middle of an evaluation, which waits for it.
    fn authorize(&self, request: &AuthorizationRequest) -> Decision;
}

/// What an expression asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationRequest {
    /// Namespace and name of the service account to ask for; the user of the request otherwise.
    pub service_account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// A path; what follows is for resources.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Resource.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace or empty.
    pub namespace: String,
    /// Name or empty.
    pub name: String,
    /// Field selector as written, or empty.
    pub field_selector: String,
    /// Label selector as written, or empty.
    pub label_selector: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Allowed: everything else is no.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong on the way.
    pub error: Option<String>,
}

/// What checks start from: an authorizer and whom to ask for.
#[derive(Clone)]
pub struct Grantor {
    authorizer: Arc<dyn Authorizer>,
    service_account: Option<(String, String)>,
}

/// A check of a path.
#[derive(Clone, Debug)]
pub struct PathCheck {
    grantor: Grantor,
    path: String,
}

/// A check of something in a group.
#[derive(Clone, Debug)]
pub struct GroupCheck {
    grantor: Grantor,
    group: String,
}

/// A check of a resource.
#[derive(Clone, Debug)]
pub struct ResourceCheck {
    grantor: Grantor,
    request: AuthorizationRequest,
}

impl fmt::Debug for Grantor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grantor").field("service_account", &self.service_account).finish_non_exhaustive()
    }
}

impl<'a> Val<'a> {
    /// The variable `authorizer`.
    pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        opaque(Opaque::Authorizer(Grantor { authorizer, service_account: None }))
    }

    /// The variable `authorizer.requestResource`: a check of what the request is for, all but the verb.
    pub fn request_resource(authorizer: Arc<dyn Authorizer>, request: AuthorizationRequest) -> Self {
        let grantor = Grantor { authorizer, service_account: None };
        opaque(Opaque::Resource(Box::new(ResourceCheck { grantor, request })))
    }
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function("path", &[member("authorizer_path", &[AUTHORIZER, Str], PATH, path)]),
    function("group", &[member("authorizer_group", &[AUTHORIZER, Str], GROUP, group)]),
    function("serviceAccount", &[member("authorizer_serviceaccount", &[AUTHORIZER, Str, Str], AUTHORIZER, account)]),
    function("resource", &[member("groupcheck_resource", &[GROUP, Str], RESOURCE, resource)]),
    function(
        "subresource",
        &[member("resourcecheck_subresource", &[RESOURCE, Str], RESOURCE, |a| set(a, |r| &mut r.subresource))],
    ),
    function(
        "namespace",
        &[member("resourcecheck_namespace", &[RESOURCE, Str], RESOURCE, |a| set(a, |r| &mut r.namespace))],
    ),
    function("name", &[member("resourcecheck_name", &[RESOURCE, Str], RESOURCE, |a| set(a, |r| &mut r.name))]),
    function(
        "fieldSelector",
        &[member("authorizer_fieldselector", &[RESOURCE, Str], RESOURCE, |a| set(a, |r| &mut r.field_selector))],
    ),
    function(
        "labelSelector",
        &[member("authorizer_labelselector", &[RESOURCE, Str], RESOURCE, |a| set(a, |r| &mut r.label_selector))],
    ),
    function(
        "check",
        &[
            member("pathcheck_check", &[PATH, Str], DECISION, check),
            member("resourcecheck_check", &[RESOURCE, Str], DECISION, check),
        ],
    ),
    function(
        "errored",
        &[member("decision_errored", &[DECISION], Bool, |a| Ok(Val::Bool(decision(a)?.error.is_some())))],
    ),
    function(
        "error",
        &[member("decision_error", &[DECISION], Str, |a| {
            Ok(Val::from(decision(a)?.error.clone().unwrap_or_default()))
        })],
    ),
    function("allowed", &[member("decision_allowed", &[DECISION], Bool, |a| Ok(Val::Bool(decision(a)?.allowed)))]),
    function("reason", &[member("decision_reason", &[DECISION], Str, |a| Ok(Val::from(decision(a)?.reason.clone())))]),
];

fn grantor<'v>(value: &'v Val<'_>) -> Result<&'v Grantor, EvalError> {
    match opaque_of(value)? {
        Opaque::Authorizer(grantor) => Ok(grantor),
        _ => no_overload(),
    }
}

fn decision<'v>(args: &'v [Val<'_>]) -> Result<&'v Decision, EvalError> {
    match opaque_of(&args[0])? {
        Opaque::Decision(decision) => Ok(decision),
        _ => no_overload(),
    }
}

fn path<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (grantor, path) = (grantor(&args[0])?.clone(), str_of(&args[1])?);
    if path.trim().is_empty() {
        return fail("path must not be empty");
    }
    Ok(opaque(Opaque::Path(PathCheck { grantor, path: path.to_owned() })))
}

fn group<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (grantor, group) = (grantor(&args[0])?.clone(), str_of(&args[1])?.to_owned());
    Ok(opaque(Opaque::Group(GroupCheck { grantor, group })))
}

fn account<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (namespace, name) = (str_of(&args[1])?, str_of(&args[2])?);
    if !names::dns1123_subdomain(name).is_empty() {
        return fail("Invalid service account name");
    }
    if !names::dns1123_label(namespace).is_empty() {
        return fail("Invalid service account namespace");
    }
    let service_account = Some((namespace.to_owned(), name.to_owned()));
    Ok(opaque(Opaque::Authorizer(Grantor { service_account, ..grantor(&args[0])?.clone() })))
}

fn resource<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let Opaque::Group(check) = opaque_of(&args[0])? else { return no_overload() };
    let resource = str_of(&args[1])?;
    if resource.trim().is_empty() {
        return fail("resource must not be empty");
    }
    let request = AuthorizationRequest {
        group: check.group.clone(),
        resource: resource.to_owned(),
        ..AuthorizationRequest::default()
    };
    Ok(opaque(Opaque::Resource(Box::new(ResourceCheck { grantor: check.grantor.clone(), request }))))
}

fn set<'a>(args: &[Val<'a>], field: fn(&mut AuthorizationRequest) -> &mut String) -> Outcome<'a> {
    let Opaque::Resource(check) = opaque_of(&args[0])? else { return no_overload() };
    let mut check = check.clone();
    str_of(&args[1])?.clone_into(field(&mut check.request));
    Ok(opaque(Opaque::Resource(check)))
}

fn check<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (grantor, mut request) = match opaque_of(&args[0])? {
        Opaque::Path(check) => {
            let path = Some(check.path.clone());
            (&check.grantor, AuthorizationRequest { path, ..AuthorizationRequest::default() })
        }
        Opaque::Resource(check) => (&check.grantor, check.request.clone()),
        _ => return no_overload(),
    };
    str_of(&args[1])?.clone_into(&mut request.verb);
    request.service_account.clone_from(&grantor.service_account);
    Ok(opaque(Opaque::Decision(grantor.authorizer.authorize(&request))))
}
