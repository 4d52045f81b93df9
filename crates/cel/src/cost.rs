//! What calls cost, and what an expression may cost at most.
//!
//! [`Rule`] is the price of a call that has been made, [`estimate`] the range before anything is known but the sizes
//! that a schema allows. Numbers are upstream's: rules that it accepts must be accepted here, and the other way round.

mod estimate;
mod range;
mod sizes;

pub(crate) use estimate::estimate;
pub use range::CostRange;

use crate::ast::op;
use crate::library::Opaque;
use crate::value::Val;

/// Making a list.
pub(crate) const LIST: u64 = 10;
/// Making a map.
pub(crate) const MAP: u64 = 30;
/// Making an object.
pub(crate) const STRUCT: u64 = 40;
/// Asking for a permission: two fit into the limit of a call.
pub(crate) const CHECK: u64 = 350_000;
/// Going through a character of a string.
const CHARACTER: f64 = 0.1;
/// A character of a pattern, for every unit of the text it is matched with.
const PATTERN: f64 = 0.25;
/// Longest pattern behind a named format, for estimates.
const FORMAT_PATTERN: f64 = 128.0;

/// How the cost of a call follows from its arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    Fixed(u64),
    /// So much for each character, byte or item of the first argument.
    Size(f64),
    /// The same of the result.
    Result(f64),
    /// A selector: text and requirements.
    Selector,
    /// Every scalar in the first argument.
    Traverse,
    /// A pattern on a text.
    Match,
    /// A format on a text.
    Validate,
    /// A text within a text.
    Contains,
    /// Both texts.
    Join,
    /// The smaller of both.
    Compare,
    /// The same, unless it is something that compares at once.
    Equal,
    /// Every item of the second argument.
    Items,
    ContainsIp {
        parses: bool,
    },
    ContainsCidr {
        parses: bool,
    },
    /// The product of both sizes.
    Sets(f64),
    /// A list as long as the result.
    MakesList,
    Flatten,
    /// Every item with every other, of that argument.
    SelfCompare(usize),
}

impl Rule {
    /// The rule for a function, and the overload if there is but one.
    pub(crate) fn of(function: &str, overload: Option<&str>) -> Rule {
        let id = overload.unwrap_or_default();
        by_list_overload(id).or_else(|| by_function(function, id)).unwrap_or_else(|| by_overload(function, id))
    }

    /// The cost of a call. There is no result where it failed.
    pub(crate) fn cost(self, args: &[Val<'_>], result: Option<&Val<'_>>) -> u64 {
        let size = |n: usize| args.get(n).map_or(1, size);
        match self {
            Rule::Fixed(cost) => cost,
            Rule::Size(factor) => ceil(size(0) as f64 * factor),
            Rule::Result(factor) => ceil(result.map_or(1, self::size) as f64 * factor),
            Rule::Selector => {
                let length = size(1) as f64;
                LIST + ceil(length * CHARACTER) + ceil(ceil(length * 0.5) as f64 * (LIST + STRUCT) as f64)
            }
            Rule::Traverse => args.first().map_or(0, traverse),
            Rule::Match => ceil((1.0 + size(0) as f64) * CHARACTER).saturating_mul(ceil(size(1) as f64 * PATTERN)),
            Rule::Validate => {
                let pattern = match args.first() {
                    Some(Val::Opaque(opaque)) => match opaque.as_ref() {
                        Opaque::Format(format) => format.regex,
                        _ => 1,
                    },
                    _ => 1,
                };
                ceil((1.0 + size(1) as f64) * CHARACTER).saturating_mul(ceil(pattern as f64 * PATTERN))
            }
            Rule::Contains => ceil(size(0) as f64 * CHARACTER).saturating_mul(ceil(size(1) as f64 * CHARACTER)),
            Rule::Join => ceil((size(0).saturating_add(size(1))) as f64 * CHARACTER),
            Rule::Equal if matches!(args.first(), Some(Val::Opaque(_))) => 1,
            Rule::Compare | Rule::Equal => ceil(size(0).min(size(1)) as f64 * CHARACTER),
            Rule::Items => size(1),
            Rule::ContainsIp { parses } => {
                ceil((size(0) + size(0)) as f64 * CHARACTER) + if parses { ceil(size(1) as f64 * CHARACTER) } else { 0 }
            }
            Rule::ContainsCidr { parses } => {
                ceil((size(0) + size(0)) as f64 * CHARACTER)
                    + ceil(size(0) as f64 * CHARACTER)
                    + 1
                    + if parses { ceil(size(1) as f64 * CHARACTER) } else { 0 }
            }
            Rule::Sets(factor) => 1u64.saturating_add(floor(size(0).saturating_mul(size(1)) as f64 * factor)),
            Rule::MakesList => allocating(result.map_or(1, self::size) as f64),
            Rule::Flatten => {
                let depth = match args.get(1) {
                    Some(Val::Int(depth)) => *depth as f64,
                    _ => 1.0,
                };
                allocating(size(0) as f64 * depth)
            }
            Rule::SelfCompare(at) => {
                let texts = match args.get(at) {
                    Some(Val::List(list)) if !list.is_empty() => {
                        matches!(list.get(0), Ok(Val::String(_) | Val::Bytes(_)))
                    }
                    _ => false,
                };
                let factor = if texts { 2.0 + CHARACTER } else { 2.0 };
                allocating(size(at).saturating_mul(size(at)) as f64 * factor)
            }
        }
    }
}

fn by_list_overload(id: &str) -> Option<Rule> {
    Some(match id {
        "list_sets_contains_list" | "list_sets_intersects_list" => Rule::Sets(1.0),
        "list_sets_equivalent_list" => Rule::Sets(2.0),
        "list_slice" | "lists_range" | "list_reverse" => Rule::MakesList,
        "list_flatten" | "list_flatten_int" => Rule::Flatten,
        "list_distinct" => Rule::SelfCompare(0),
        id if id.starts_with("list_") && id.ends_with("_sort") => Rule::SelfCompare(0),
        id if id.starts_with("list_") && id.ends_with("_sortByAssociatedKeys") => Rule::SelfCompare(1),
        _ => return None,
    })
}

fn by_function(function: &str, id: &str) -> Option<Rule> {
    Some(match function {
        "check" => Rule::Fixed(CHECK),
        "fieldSelector" | "labelSelector" => Rule::Selector,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => Rule::Traverse,
        "ip" if id == "cidr_ip" => Rule::Fixed(1),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "ip"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => Rule::Size(CHARACTER),
        "replace" | "split" | "ip.isCanonical" => Rule::Size(2.0 * CHARACTER),
        "join" => Rule::Result(2.0 * CHARACTER),
        "find" | "findAll" => Rule::Match,
        "containsIP" => Rule::ContainsIp { parses: id == "cidr_contains_ip_string" },
        "containsCIDR" => Rule::ContainsCidr { parses: id == "cidr_contains_cidr_string" },
        "validate" => Rule::Validate,
        op::EQ => Rule::Equal,
        op::NE => Rule::Compare,
        _ => return None,
    })
}

fn by_overload(_: &str, id: &str) -> Rule {
    match id {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string" | "strings_quote"
        | "string_format" => Rule::Size(CHARACTER),
        "in_list" => Rule::Items,
        "matches_string" => Rule::Match,
        "contains_string" => Rule::Contains,
        "add_string" | "add_bytes" => Rule::Join,
        id if compares_texts(id) => Rule::Compare,
        _ => Rule::Fixed(1),
    }
}

/// Comparisons whose operands have a length.
fn compares_texts(id: &str) -> bool {
    ["less_", "less_equals_", "greater_", "greater_equals_"]
        .iter()
        .any(|prefix| matches!(id.strip_prefix(prefix), Some("string" | "bytes")))
}

/// Size for costs: what has none counts one.
fn size(value: &Val<'_>) -> u64 {
    match value {
        Val::Optional(Some(inner)) => size(inner),
        other => other.size().unwrap_or(1),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn ceil(f: f64) -> u64 {
    f.ceil() as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn floor(f: f64) -> u64 {
    f as u64
}

/// Making a list of so many units.
fn allocating(units: f64) -> u64 {
    floor(units).saturating_add(1 + LIST)
}

/// Every scalar within, texts by length.
fn traverse(value: &Val<'_>) -> u64 {
    match value {
        Val::String(s) => floor(s.as_str().len() as f64 * CHARACTER),
        Val::Bytes(b) => floor(b.len() as f64 * CHARACTER),
        Val::List(list) => list.iter().map(|item| item.map_or(1, |v| traverse(&v))).sum(),
        Val::Map(map) => {
            let entry = |key: &Val<'_>| map.find(key).ok().flatten().map_or(1, |v| traverse(&v));
            map.keys().iter().map(|key| traverse(key) + entry(key)).sum()
        }
        _ => 1,
    }
}
