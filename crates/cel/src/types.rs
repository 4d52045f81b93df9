//! Types of expressions, and when one may stand for another.

mod unify;

pub(crate) use unify::{Bindings, most_general};

use std::fmt;
use std::sync::Arc;

/// The type of an expression or variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Known when evaluated only.
    Dyn,
    /// Of an expression that has errors.
    Error,
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool,
    /// 64 bits with sign.
    Int,
    /// 64 bits without sign.
    Uint,
    /// 64-bit floating point.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list of one type of items.
    List(Arc<Type>),
    /// A map from one type to another.
    Map(Arc<(Type, Type)>),
    /// An object whose fields the environment declares under this name.
    Object(Arc<str>),
    /// Something with functions only, with parameters (`optional_type(int)`).
    Opaque(Arc<str>, Arc<[Type]>),
    /// A type as a value.
    Type(Option<Arc<Type>>),
    /// To be found out by the checker.
    Param(Arc<str>),
}

/// Name of the type that `optional.of` makes.
pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    /// A list of these.
    pub fn list(item: Type) -> Self {
        Type::List(Arc::new(item))
    }

    /// A map from these to those.
    pub fn map(key: Type, value: Type) -> Self {
        Type::Map(Arc::new((key, value)))
    }

    /// An object of a declared name.
    pub fn object(name: &str) -> Self {
        Type::Object(name.into())
    }

    /// A value or none.
    pub fn optional(inner: Type) -> Self {
        Type::Opaque(OPTIONAL.into(), Arc::new([inner]))
    }

    /// What the optional holds, if this is one.
    pub(crate) fn optional_inner(&self) -> Option<&Type> {
        match self {
            Type::Opaque(name, params) if name.as_ref() == OPTIONAL => params.first(),
            _ => None,
        }
    }

    /// Type parameters, in order.
    pub(crate) fn parameters(&self) -> Vec<&Type> {
        match self {
            Type::List(item) => vec![item],
            Type::Map(entry) => vec![&entry.0, &entry.1],
            Type::Opaque(_, params) => params.iter().collect(),
            Type::Type(Some(of)) => vec![of],
            _ => Vec::new(),
        }
    }

    /// Its name without parameters, as `type(x)` and errors of functions show it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Type::Dyn => "dyn",
            Type::Error => "error",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Duration => "google.protobuf.Duration",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::List(_) => "list",
            Type::Map(_) => "map",
            Type::Type(_) => "type",
            Type::Object(name) | Type::Opaque(name, _) | Type::Param(name) => name,
        }
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// Has parameters that the checker has to find.
    pub(crate) fn has_params(&self) -> bool {
        matches!(self, Type::Param(_)) || self.parameters().into_iter().any(Type::has_params)
    }
}

impl fmt::Display for Type {
    /// As compile errors show it: `list(int)`, `map(string, dyn)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Error => return f.write_str("!error!"),
            Type::Null => return f.write_str("null"),
            Type::Duration => return f.write_str("duration"),
            Type::Timestamp => return f.write_str("timestamp"),
            _ => f.write_str(self.name())?,
        }
        let params = self.parameters();
        if params.is_empty() {
            return Ok(());
        }
        let params: Vec<String> = params.iter().map(ToString::to_string).collect();
        write!(f, "({})", params.join(", "))
    }
}

/// The signature of a call, as compile errors show it: `(int, string)`, or `list(int).(string)` on a target.
pub(crate) fn signature(args: &[Type], member: bool) -> String {
    let texts: Vec<String> = args.iter().map(ToString::to_string).collect();
    match texts.split_first() {
        Some((target, rest)) if member => format!("{target}.({})", rest.join(", ")),
        _ => format!("({})", texts.join(", ")),
    }
}
