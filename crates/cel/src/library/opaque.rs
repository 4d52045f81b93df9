//! Values that only functions look into.

use super::address::Cidr;
use super::authz::{Decision as Answer, Grantor, GroupCheck, PathCheck, ResourceCheck};
use super::format::Named;
use super::semver::Version;
use super::url::Url;
use crate::types::Type;
use kaji_api::quantity::Quantity;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Names of types.
pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";
pub(crate) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";

/// Such a value.
#[derive(Clone, Debug)]
pub enum Opaque {
    /// A resource quantity.
    Quantity(Quantity),
    /// A URL.
    Url(Url),
    /// An address.
    Ip(IpAddr),
    /// A network.
    Cidr(Cidr),
    /// A version.
    Semver(Version),
    /// A named format.
    Format(Named),
    /// What checks of permissions start from.
    Authorizer(Grantor),
    /// A check of a path.
    Path(PathCheck),
    /// A check of something in a group.
    Group(GroupCheck),
    /// A check of a resource.
    Resource(Box<ResourceCheck>),
    /// The answer to a check.
    Decision(Answer),
}

impl Opaque {
    /// The name of its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Opaque::Quantity(_) => QUANTITY,
            Opaque::Url(_) => URL,
            Opaque::Ip(_) => IP,
            Opaque::Cidr(_) => CIDR,
            Opaque::Semver(_) => SEMVER,
            Opaque::Format(_) => FORMAT,
            Opaque::Authorizer(_) => AUTHORIZER,
            Opaque::Path(_) => PATH_CHECK,
            Opaque::Group(_) => GROUP_CHECK,
            Opaque::Resource(_) => RESOURCE_CHECK,
            Opaque::Decision(_) => DECISION,
        }
    }

    /// Its type.
    pub(crate) fn type_of(&self) -> Type {
        match self {
            Opaque::Ip(_) | Opaque::Cidr(_) => Type::Opaque(self.type_name().into(), Arc::new([])),
            _ => Type::object(self.type_name()),
        }
    }

    /// Bytes of an address; nothing else has a size.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Opaque::Ip(IpAddr::V4(_)) => Some(4),
            Opaque::Ip(IpAddr::V6(_)) => Some(16),
            Opaque::Cidr(cidr) => Some(u64::from(cidr.prefix.div_ceil(8))),
            _ => None,
        }
    }

    /// As text, where it has a text.
    pub(crate) fn to_text(&self) -> Option<String> {
        match self {
            Opaque::Ip(ip) => Some(ip.to_string()),
            Opaque::Cidr(cidr) => Some(cidr.to_string()),
            Opaque::Quantity(q) => Some(q.to_string()),
            _ => None,
        }
    }

    /// Whether two are the same; values for checks never are.
    pub(crate) fn equals(&self, other: &Opaque) -> bool {
        match (self, other) {
            (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
            (Opaque::Url(a), Opaque::Url(b)) => a.text() == b.text(),
            (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
            (Opaque::Cidr(a), Opaque::Cidr(b)) => a == b,
            (Opaque::Semver(a), Opaque::Semver(b)) => a.same(b),
            (Opaque::Format(a), Opaque::Format(b)) => a.name == b.name,
            _ => false,
        }
    }
}

impl fmt::Display for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.to_text()) {
            (_, Some(text)) => f.write_str(&text),
            (Opaque::Url(url), _) => f.write_str(url.text()),
            _ => f.write_str(self.type_name()),
        }
    }
}
