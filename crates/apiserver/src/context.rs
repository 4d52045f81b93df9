//! What is known about a request once it has been read: who, what, how.

use crate::audit::Trail;
use crate::row::Row;
use kaji_api::ResourceDef;
use kaji_api::resource::SubresourceDef;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// An authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// `system:node:n1`, `jane`, `system:serviceaccount:ns:name`.
    pub name: String,
    /// Unique over time; may be empty.
    pub uid: String,
    /// Groups, `system:authenticated` included.
    pub groups: Vec<String>,
    /// Extra facts, such as `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// The API server itself: `system:apiserver` in `system:masters`.
    pub fn system() -> Self {
        UserInfo {
            name: "system:apiserver".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..UserInfo::default()
        }
    }

    /// Whether the user is in a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What a request asks for, read from method, path and query alone (apiserver `request/requestinfo.go`).
#[derive(Clone, Debug, Default)]
pub struct RequestInfo {
    /// A path below `/api/v1` or `/apis/group/version`.
    pub is_resource: bool,
    /// The path as sent.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`;
    /// the lower-case method for other paths.
    pub verb: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Empty for cluster scope. For `namespaces` themselves: the name.
    pub namespace: String,
    /// Plural resource name.
    pub resource: String,
    /// Subresource name, or empty.
    pub subresource: String,
    /// Object name, or empty.
    pub name: String,
    /// Path segments behind the subresource (`proxy/a/b`).
    pub rest: Vec<String>,
    /// The raw query.
    pub query: String,
    /// The resource, where it is built in: it is looked for once.
    pub built_in: Option<&'static ResourceDef>,
}

/// Everything that handlers, admission and strategies may ask about the request at hand.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Who (after impersonation).
    pub user: Arc<UserInfo>,
    /// What.
    pub info: Arc<RequestInfo>,
    /// `?dryRun=All`.
    pub dry_run: bool,
    /// `?fieldManager=`, or the first word of the user agent.
    pub field_manager: String,
    /// When the request's time is over, if it has a limit.
    pub deadline: Option<Instant>,
    /// Texts for `Warning: 299` headers, in order.
    pub warnings: Warnings,
    /// The request's audit event: annotations go there.
    pub audit: Trail,
}

impl RequestContext {
    /// For writes that the server makes by itself.
    pub fn system() -> Self {
        RequestContext {
            user: Arc::new(UserInfo::system()),
            info: Arc::default(),
            dry_run: false,
            field_manager: "kube-apiserver".to_owned(),
            deadline: None,
            warnings: Warnings::default(),
            audit: Trail::default(),
        }
    }
}

/// Collects warnings of a request; each text once.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds a warning.
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut all = self.0.lock();
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Takes what has been collected.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A resource that a request was routed to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its row.
    pub resource: Row,
    /// The subresource's row, if the path names one.
    pub sub: Option<SubresourceDef>,
}
