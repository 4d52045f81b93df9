//! What can be wrong with a value, and where: findings and errors in the words of Go's decoder.

use super::{DecodeError, Strict};
use crate::field::quoted;
use crate::schema::{Alternative, Scalar, Shape, TypeRef};
use std::borrow::Cow;

/// A value that does not fit.
pub(crate) enum Fault {
    /// Of another JSON type: `string`, `number 1.5`. Decoding goes on; the first one counts.
    Mismatch(Cow<'static, str>),
    /// Refused by the type's own parser; counts before any mismatch.
    Refused(String),
}

/// One step from the top to a value.
pub(crate) enum Step<'a> {
    Field(TypeRef<'a>, &'a str),
    /// An entry of a map or of a custom resource.
    Key(Box<str>),
    Index(usize),
}

/// Collects what is wrong while an object is read.
#[derive(Default)]
pub(crate) struct Faults {
    mismatch: Option<String>,
    refused: Option<String>,
    findings: Vec<String>,
}

/// Go's decoder reports no more.
const MAX_FINDINGS: usize = 100;

impl Faults {
    pub(crate) fn save(&mut self, fault: Fault, path: &[Step<'_>], shape: Shape<'_>) {
        match fault {
            Fault::Mismatch(what) if self.mismatch.is_none() => {
                self.mismatch = Some(mismatch(&what, path, &go_type(shape)));
            }
            Fault::Refused(why) if self.refused.is_none() => self.refused = Some(why),
            _ => {}
        }
    }

    pub(crate) fn unknown(&mut self, path: &[Step<'_>], field: &str) {
        self.find("unknown field", path, field);
    }

    pub(crate) fn duplicate(&mut self, path: &[Step<'_>], field: &str) {
        self.find("duplicate field", path, field);
    }

    fn find(&mut self, what: &str, path: &[Step<'_>], field: &str) {
        // Paths can be long: none is made up for nothing.
        if self.findings.len() < MAX_FINDINGS {
            let finding = format!("{what} {}", quoted(&strict_path(path, field)));
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }

    /// The findings, or the error that comes first.
    pub(crate) fn done(self) -> Result<Strict, DecodeError> {
        match self.refused.or(self.mismatch) {
            Some(why) => Err(DecodeError(why)),
            None => Ok(Strict { findings: self.findings }),
        }
    }
}

/// `spec.containers[0].foo`
fn strict_path(path: &[Step<'_>], field: &str) -> String {
    let push = |text: &mut String, name: &str| {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(name);
    };
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(_, name) => push(&mut text, name),
            Step::Key(key) => push(&mut text, key),
            Step::Index(i) => text.push_str(&format!("[{i}]")),
        }
    }
    if !path.is_empty() {
        text.push('.');
    }
    text + field
}

fn mismatch(what: &str, path: &[Step<'_>], go_type: &str) -> String {
    let mut names = String::new();
    let mut holder = "";
    for step in path {
        if let Step::Field(ty, name) = step {
            // Metadata in custom resources is decoded by itself.
            if ty.is_custom() {
                continue;
            }
            holder = ty.short_name();
            if !names.is_empty() {
                names.push('.');
            }
            for embedded in embedded_in(*ty, name) {
                names.push_str(embedded);
                names.push('.');
            }
            names.push_str(name);
        }
    }
    if holder.is_empty() {
        return format!("json: cannot unmarshal {what} into Go value of type {go_type}");
    }
    format!("json: cannot unmarshal {what} into Go struct field {holder}.{names} of type {go_type}")
}

/// The inline structs on the way from a type to one of its JSON fields: Go names them too.
fn embedded_in<'a>(ty: TypeRef<'a>, field: &str) -> Vec<&'a str> {
    for declared in ty.declared().filter(|f| f.is_inline()) {
        if let Shape::Struct(inner) = declared.shape()
            && inner.field(field).is_some()
        {
            let mut names = vec![inner.short_name()];
            names.extend(embedded_in(inner, field));
            return names;
        }
    }
    vec![]
}

/// The type as Go prints it: `int32`, `[]v1.Container`, `map[string]string`.
fn go_type(shape: Shape<'_>) -> String {
    let named = |ty: TypeRef<'_>| {
        let mut parts = ty.name().rsplit('.');
        let name = parts.next().unwrap_or_default();
        format!("{}.{name}", parts.next().unwrap_or_default())
    };
    match shape {
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => "string",
            Scalar::Bool => "bool",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Double => "float64",
            Scalar::Bytes => "[]uint8",
            Scalar::Time => "v1.Time",
            Scalar::MicroTime => "v1.MicroTime",
            Scalar::Duration => "v1.Duration",
            Scalar::Quantity => "resource.Quantity",
            Scalar::IntOrString => "intstr.IntOrString",
            Scalar::RawExtension => "runtime.RawExtension",
            Scalar::FieldsV1 => "v1.FieldsV1",
            Scalar::Json => "v1.JSON",
            Scalar::Any => "interface {}",
        }
        .to_owned(),
        Shape::Struct(ty) => named(ty),
        Shape::Either(ty, alternative) => {
            let or = match alternative {
                Alternative::List => "OrArray",
                Alternative::Bool => "OrBool",
                Alternative::Strings => "OrStringArray",
            };
            named(ty) + or
        }
        Shape::List(list) => format!("[]{}", go_type(list.item())),
        Shape::Map(map) => format!("map[string]{}", go_type(map.item())),
    }
}
