//! Functions, by library, in tables: name, signatures, and what runs.
//!
//! The set is upstream's base environment of release 1.36.

mod address;
mod authz;
mod format;
pub(crate) mod go_format;
mod lists;
pub(crate) mod opaque;
mod operators;
mod optional;
mod patch;
mod pattern;
mod quantity;
mod semver;
mod sets;
mod standard;
mod strings;
mod times;
mod url;

pub use authz::{AuthorizationRequest, Authorizer, Decision};
pub use opaque::Opaque;
pub(crate) use pattern::{Pattern, compile as compile_pattern, find, find_all};
pub(crate) use standard::CONVERSIONS;

use crate::types::{OPTIONAL, Type};
use crate::value::{EvalError, List, Map, Outcome, Val, fail};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A type in a signature. `A`, `B` are found by the checker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sig {
    Dyn,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    A,
    B,
    List(&'static Sig),
    Map(&'static Sig, &'static Sig),
    Optional(&'static Sig),
    Object(&'static str),
    Opaque(&'static str),
    TypeOf(&'static Sig),
}

/// What a function does with its arguments (the target first).
pub(crate) type Run = for<'a> fn(&[Val<'a>]) -> Outcome<'a>;

/// One signature of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    /// Called on a target, which is the first argument.
    pub(crate) member: bool,
    pub(crate) args: &'static [Sig],
    pub(crate) result: Sig,
    pub(crate) run: Run,
}

/// A function of a library. Several libraries may add overloads under one name.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) overloads: &'static [Overload],
    /// All overloads run the same, and it looks at the values itself.
    pub(crate) single: bool,
}

/// A function whose overloads differ.
const fn function(name: &'static str, overloads: &'static [Overload]) -> Function {
    Function { name, overloads, single: false }
}

/// A function whose overloads all run the same.
const fn single(name: &'static str, overloads: &'static [Overload]) -> Function {
    Function { name, overloads, single: true }
}

/// An overload called by name alone.
const fn global(id: &'static str, args: &'static [Sig], result: Sig, run: Run) -> Overload {
    Overload { id, member: false, args, result, run }
}

/// An overload called on a target.
const fn member(id: &'static str, args: &'static [Sig], result: Sig, run: Run) -> Overload {
    Overload { id, member: true, args, result, run }
}

/// All overloads under one name.
pub(crate) struct Declared {
    pub(crate) overloads: Vec<Overload>,
    pub(crate) single: bool,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Declared>> = LazyLock::new(|| {
    let libraries: &[&[Function]] = &[
        operators::FUNCTIONS,
        standard::FUNCTIONS,
        times::FUNCTIONS,
        url::FUNCTIONS,
        pattern::FUNCTIONS,
        lists::FUNCTIONS,
        authz::FUNCTIONS,
        optional::FUNCTIONS,
        quantity::FUNCTIONS,
        strings::FUNCTIONS,
        sets::FUNCTIONS,
        address::FUNCTIONS,
        format::FUNCTIONS,
        semver::FUNCTIONS,
    ];
    let mut declared = HashMap::new();
    for function in libraries.iter().copied().flatten() {
        add(&mut declared, function);
    }
    declared
});

/// What mutating policies have on top.
static PATCH_FUNCTIONS: LazyLock<HashMap<&'static str, Declared>> = LazyLock::new(|| {
    let mut declared = HashMap::new();
    patch::FUNCTIONS.iter().for_each(|f| add(&mut declared, f));
    declared
});

fn add(declared: &mut HashMap<&'static str, Declared>, function: &Function) {
    let entry = declared.entry(function.name).or_insert(Declared { overloads: Vec::new(), single: true });
    entry.overloads.extend(function.overloads);
    entry.single &= function.single;
}

/// The function of that name; those for patches only if asked for.
pub(crate) fn find_function(name: &str, patches: bool) -> Option<&'static Declared> {
    FUNCTIONS.get(name).or_else(|| if patches { PATCH_FUNCTIONS.get(name) } else { None })
}

/// Types that expressions can name, such as `int` and `net.IP`.
pub(crate) fn find_type(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "google.protobuf.Duration" => Type::Duration,
        "google.protobuf.Timestamp" => Type::Timestamp,
        "int" => Type::Int,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "string" => Type::String,
        "type" => Type::Type(None),
        "uint" => Type::Uint,
        OPTIONAL => Type::optional(Type::Dyn),
        opaque::IP | opaque::CIDR => Type::Opaque(name.into(), Arc::new([])),
        _ => return None,
    })
}

impl Sig {
    /// As the checker has it; parameters get a suffix that makes them new.
    pub(crate) fn to_type(self, suffix: &str) -> Type {
        let inner = |sig: &Sig| sig.to_type(suffix);
        match self {
            Sig::Dyn => Type::Dyn,
            Sig::Bool => Type::Bool,
            Sig::Int => Type::Int,
            Sig::Uint => Type::Uint,
            Sig::Double => Type::Double,
            Sig::String => Type::String,
            Sig::Bytes => Type::Bytes,
            Sig::Duration => Type::Duration,
            Sig::Timestamp => Type::Timestamp,
            Sig::A => Type::Param(format!("A{suffix}").into()),
            Sig::B => Type::Param(format!("B{suffix}").into()),
            Sig::List(item) => Type::list(inner(item)),
            Sig::Map(key, value) => Type::map(inner(key), inner(value)),
            Sig::Optional(of) => Type::optional(inner(of)),
            Sig::Object(name) => Type::object(name),
            Sig::Opaque(name) => Type::Opaque(name.into(), Arc::new([])),
            Sig::TypeOf(of) => Type::Type(Some(Arc::new(inner(of)))),
        }
    }

    /// Whether a value fits at run time. Of lists and maps the first entry counts, as upstream has it.
    fn accepts(self, value: &Val<'_>) -> bool {
        match (self, value) {
            (Sig::Dyn | Sig::A | Sig::B, _)
            | (Sig::Bool, Val::Bool(_))
            | (Sig::Int, Val::Int(_))
            | (Sig::Uint, Val::Uint(_))
            | (Sig::Double, Val::Double(_))
            | (Sig::String, Val::String(_))
            | (Sig::Bytes, Val::Bytes(_))
            | (Sig::Duration, Val::Duration(_))
            | (Sig::Timestamp, Val::Timestamp(_))
            | (Sig::TypeOf(_), Val::Type(_))
            | (Sig::Optional(_), Val::Optional(None)) => true,
            (Sig::Optional(of), Val::Optional(Some(value))) => of.accepts(value),
            (Sig::List(item), Val::List(list)) => {
                list.is_empty() || list.get(0).is_ok_and(|first| item.accepts(&first))
            }
            (Sig::Map(..), Val::Map(_)) => true,
            (Sig::Object(name) | Sig::Opaque(name), Val::Opaque(opaque)) => opaque.type_name() == name,
            _ => false,
        }
    }
}

impl Overload {
    /// Whether it can be called with these values.
    pub(crate) fn accepts(&self, args: &[Val<'_>]) -> bool {
        self.args.len() == args.len() && self.args.iter().zip(args).all(|(sig, arg)| sig.accepts(arg))
    }
}

/// Runs whichever overload fits the values.
pub(crate) fn dispatch<'a>(name: &str, overloads: &[Overload], args: &[Val<'a>]) -> Outcome<'a> {
    match overloads.iter().find(|o| o.accepts(args)) {
        Some(overload) => (overload.run)(args),
        None => {
            let types: Vec<String> = args.iter().map(|a| a.type_of().name().to_owned()).collect();
            fail(format!("no such overload: {name}({})", types.join(", ")))
        }
    }
}

fn str_of<'v>(value: &'v Val<'_>) -> Result<&'v str, EvalError> {
    value.as_str().map_or_else(crate::value::no_overload, Ok)
}

fn int_of(value: &Val<'_>) -> Result<i64, EvalError> {
    match value {
        Val::Int(n) => Ok(*n),
        _ => crate::value::no_overload(),
    }
}

fn list_of<'v, 'a>(value: &'v Val<'a>) -> Result<&'v List<'a>, EvalError> {
    match value {
        Val::List(list) => Ok(list),
        _ => crate::value::no_overload(),
    }
}

fn map_of<'v, 'a>(value: &'v Val<'a>) -> Result<&'v Map<'a>, EvalError> {
    match value {
        Val::Map(map) => Ok(map),
        _ => crate::value::no_overload(),
    }
}

fn opaque_of<'v>(value: &'v Val<'_>) -> Result<&'v Opaque, EvalError> {
    match value {
        Val::Opaque(opaque) => Ok(opaque),
        _ => crate::value::no_overload(),
    }
}

fn opaque<'a>(opaque: Opaque) -> Val<'a> {
    Val::Opaque(Arc::new(opaque))
}
