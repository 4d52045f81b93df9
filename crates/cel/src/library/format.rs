//! Named formats, such as `format.dns1123Label()`.

use super::Sig::{List as L, Object as O, Optional, String as Str};
use super::{Function, Opaque, Sig, function, global, member, opaque, opaque_of, str_of};
use crate::value::{Outcome, Val, no_overload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kaji_api::names;

const FORMAT: Sig = O(super::opaque::FORMAT);

/// A format with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// As functions name it.
    key: &'static str,
    /// Tells formats apart.
    pub(crate) name: &'static str,
    check: fn(&str) -> Vec<String>,
    /// Length of the regular expression that would do the same; costs are reckoned from it.
    pub(crate) regex: u64,
}

const fn named(key: &'static str, name: &'static str, regex: u64, check: fn(&str) -> Vec<String>) -> Named {
    Named { key, name, check, regex }
}

static FORMATS: &[Named] = &[
    named("dns1123Label", "DNS1123Label", 30, names::dns1123_label),
    named("dns1123Subdomain", "DNS1123Subdomain", 60, names::dns1123_subdomain),
    named("dns1035Label", "DNS1035Label", 30, names::dns1035_label),
    named("qualifiedName", "QualifiedName", 60, names::qualified_name),
    named("dns1123LabelPrefix", "DNS1123LabelPrefix", 30, |s| names::with_prefix(names::dns1123_label, s)),
    named("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", 60, |s| names::with_prefix(names::dns1123_subdomain, s)),
    named("dns1035LabelPrefix", "DNS1035LabelPrefix", 30, |s| names::with_prefix(names::dns1035_label, s)),
    named("labelValue", "LabelValue", 40, names::label_value),
    named("uri", "URI", 1103, |s| super::url::check_request_uri(s).err().into_iter().collect()),
    named("uuid", "uuid", 70, |s| unless(is_uuid(s), "does not match the UUID format")),
    named("byte", "byte", 84, |s| unless(STANDARD.decode(s).is_ok() && !s.is_empty(), "invalid base64")),
    named("date", "date", 71, |s| unless(crate::value::is_date(s), "invalid date")),
    named("datetime", "datetime", 71, |s| unless(crate::value::is_date_time(s), "invalid datetime")),
];

macro_rules! constants {
    ($($index:literal => $name:literal),*) => {
        &[
            function(
                "validate",
                &[member("format-validate", &[FORMAT, Str], Optional(&L(&Str)), validate)],
            ),
            function(
                "format.named",
                &[global("format-named", &[Str], Optional(&FORMAT), |a| {
                    let key = str_of(&a[0])?;
                    let found = FORMATS.iter().find(|f| f.key == key);
                    Ok(found.map_or(Val::Optional(None), |f| Val::some(opaque(Opaque::Format(*f)))))
                })],
            ),
            $(function(
                concat!("format.", $name),
                &[global(concat!("format.", $name), &[], FORMAT, |_| Ok(opaque(Opaque::Format(FORMATS[$index]))))],
            )),*
        ]
    };
}

pub(crate) const FUNCTIONS: &[Function] = constants!(
    0 => "dns1123Label", 1 => "dns1123Subdomain", 2 => "dns1035Label", 3 => "qualifiedName",
    4 => "dns1123LabelPrefix", 5 => "dns1123SubdomainPrefix", 6 => "dns1035LabelPrefix", 7 => "labelValue",
    8 => "uri", 9 => "uuid", 10 => "byte", 11 => "date", 12 => "datetime"
);

fn unless(good: bool, complaint: &str) -> Vec<String> {
    if good { Vec::new() } else { vec![complaint.to_owned()] }
}

/// Thirty-two hexadecimal digits; hyphens may stand where they usually do.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (n, width) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if n > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.get(..width) {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => rest = &rest[width..],
            _ => return false,
        }
    }
    rest.is_empty()
}

fn validate<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let Opaque::Format(format) = opaque_of(&args[0])? else { return no_overload() };
    let complaints = (format.check)(str_of(&args[1])?);
    Ok(if complaints.is_empty() { Val::Optional(None) } else { Val::some(Val::strings(complaints)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_name_their_formats() {
        for function in &FUNCTIONS[2..] {
            let made = (function.overloads[0].run)(&[]).unwrap();
            let Val::Opaque(value) = &made else { panic!("{} makes a format", function.name) };
            let Opaque::Format(format) = value.as_ref() else { panic!("{} makes a format", function.name) };
            assert_eq!(format!("format.{}", format.key), function.name);
        }
    }

    #[test]
    fn uuids() {
        assert!(is_uuid("123e4567-e89b-12d3-a456-426614174000"));
        assert!(is_uuid("123E4567e89b12d3a456426614174000"));
        assert!(!is_uuid("123e4567-e89b-12d3-a456-42661417400"));
    }
}
