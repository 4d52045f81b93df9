//! `format`: those that upstream knows for custom resources; others mean nothing.

mod code;
mod net;
mod time;

use super::types;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    None,
    Int32,
    Int64,
    Float,
    Double,
    /// Of [`TEXTS`].
    Text(u8),
}

/// A format of strings: the name as upstream compares it (dashes do not count), whether a string is of it.
struct Text {
    name: &'static str,
    /// The name with its dash where it usually has one.
    dashed: &'static str,
    admits: fn(&str) -> bool,
}

const fn text(name: &'static str, admits: fn(&str) -> bool) -> Text {
    Text { name, dashed: name, admits }
}

const TEXTS: &[Text] = &[
    text("bsonobjectid", code::object_id),
    text("uri", net::uri),
    text("email", net::email),
    text("hostname", net::hostname),
    text("ipv4", net::ipv4),
    text("ipv6", net::ipv6),
    text("cidr", net::cidr),
    text("mac", net::mac),
    text("uuid", code::uuid),
    text("uuid3", code::uuid3),
    text("uuid4", code::uuid4),
    text("uuid5", code::uuid5),
    text("isbn", |s| code::isbn10(s) || code::isbn13(s)),
    text("isbn10", code::isbn10),
    text("isbn13", code::isbn13),
    text("creditcard", code::credit_card),
    text("ssn", code::ssn),
    text("hexcolor", code::hex_color),
    text("rgbcolor", code::rgb_color),
    text("byte", code::base64),
    text("password", |_| true),
    text("date", time::date),
    text("duration", time::duration),
    Text { name: "datetime", dashed: "date-time", admits: time::date_time },
    Text { name: "k8sshortname", dashed: "k8s-short-name", admits: code::short_name },
    Text { name: "k8slongname", dashed: "k8s-long-name", admits: code::long_name },
];

impl Format {
    /// The format of a schema of such types, where it is one that such types have.
    pub(super) fn of(name: &str, of: u8) -> Self {
        match (of, name) {
            (_, "") => Format::None,
            (types::INTEGER, "int32") => Format::Int32,
            (types::INTEGER, "int64") => Format::Int64,
            (types::NUMBER, "float") => Format::Float,
            (types::NUMBER, "double") => Format::Double,
            (0 | types::STRING, name) => Self::of_text(name),
            // Integers or strings: two types, which upstream treats as none.
            (both, name) if both == types::INTEGER | types::STRING => Self::of_text(name),
            _ => Format::None,
        }
    }

    fn of_text(name: &str) -> Self {
        let known = |t: &Text| t.name == name || t.dashed == name || t.name == name.replace('-', "");
        let at = TEXTS.iter().position(known).and_then(|at| u8::try_from(at).ok());
        at.map_or(Format::None, Format::Text)
    }

    /// Whether a schema of such a type may name the format.
    pub(crate) fn is_recognized(name: &str, ty: &str) -> bool {
        let of = match ty {
            "" => 0,
            "string" => types::STRING,
            "integer" => types::INTEGER,
            "number" => types::NUMBER,
            _ => types::OBJECT,
        };
        Self::of(name, of) != Format::None
    }

    pub(super) fn is_of_text(self) -> bool {
        matches!(self, Format::Text(_))
    }

    /// Whether a string is of this format; formats of numbers say nothing of strings.
    pub(super) fn admits(self, s: &str) -> bool {
        match self {
            Format::Text(at) => (TEXTS[usize::from(at)].admits)(s),
            _ => true,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Format::None => "",
            Format::Int32 => "int32",
            Format::Int64 => "int64",
            Format::Float => "float",
            Format::Double => "double",
            Format::Text(at) => TEXTS[usize::from(at)].dashed,
        }
    }
}

#[cfg(test)]
mod tests;
