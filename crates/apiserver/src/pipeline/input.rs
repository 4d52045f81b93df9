//! Reading bodies: size limit, medium, schema, unknown fields.

use super::negotiate::Media;
use crate::context::Warnings;
use crate::registry::options::FieldValidation;
use crate::server::body::RequestBody;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kaji_api::codec::{self, DecodeError, Strict};
use kaji_api::schema::{self, TypeRef};
use kaji_api::{Status, Value};

/// Bodies are no longer than this.
const LIMIT: usize = 3 << 20;
/// So many findings are warned of.
const MAX_WARNINGS: usize = 20;

/// The whole body, or 413.
pub(super) async fn read(mut body: RequestBody) -> Result<Bytes, Status> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("could not read the body: {error}")))?;
        let Ok(piece) = frame.into_data() else { continue };
        if whole.len() + piece.len() > LIMIT {
            return Err(Status::too_large(format!("Request entity too large: limit is {LIMIT}")));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// What a body should hold.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Group, version and kind.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    /// Its schema.
    pub(super) ty: TypeRef<'a>,
}

impl Expected<'_> {
    /// A kind that the tables know.
    pub(super) fn kind(group: &'static str, version: &'static str, kind: &'static str) -> Result<Self, Status> {
        let ty = schema::kind(group, version, kind);
        let ty = ty.ok_or_else(|| Status::internal(format!("no schema for kind {kind} in {group}/{version}")))?;
        Ok(Expected { group, version, kind, ty })
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// A body as a value of the expected kind; findings of strict decoding are treated as asked.
pub(super) fn decode(
    expected: Expected<'_>,
    media: Media,
    body: &[u8],
    validation: FieldValidation,
    warnings: &Warnings,
) -> Result<Value, Status> {
    let (mut object, strict) =
        by_medium(expected.ty, media, body).map_err(|e| undecodable(expected, media, body, &e))?;
    check_kind(expected, &object)?;
    apply_strict(&strict, validation, warnings).map_err(|text| {
        Status::bad_request(cannot_be_handled(expected.kind, expected.version, expected.kind, &text))
    })?;
    if object.kind().is_empty() || object.api_version().is_empty() {
        object.set("kind", expected.kind);
        object.set("apiVersion", expected.api_version());
        expected.ty.normalize(&mut object);
    }
    Ok(object)
}

fn by_medium(ty: TypeRef<'_>, media: Media, body: &[u8]) -> Result<(Value, Strict), DecodeError> {
    match media {
        Media::Json => codec::decode_json(ty, body),
        Media::Yaml => codec::coerce(ty, codec::parse_yaml(body)?),
        Media::Protobuf => codec::decode_protobuf(ty, body).map(|v| (v, Strict::default())),
    }
}

/// Warns of findings, or gives the text that refuses them.
pub(super) fn apply_strict(strict: &Strict, validation: FieldValidation, warnings: &Warnings) -> Result<(), String> {
    match validation {
        _ if strict.findings.is_empty() => {}
        FieldValidation::Ignore => {}
        FieldValidation::Warn => strict.findings.iter().take(MAX_WARNINGS).for_each(|f| warnings.add(f.as_str())),
        FieldValidation::Strict => return Err(format!("strict decoding error: {}", strict.findings.join(", "))),
    }
    Ok(())
}

fn check_kind(expected: Expected<'_>, object: &Value) -> Result<(), Status> {
    let (api_version, kind) = (object.api_version(), object.kind());
    if kind.is_empty() && api_version.is_empty() {
        return Ok(());
    }
    let wanted = expected.api_version();
    if !kind.is_empty() && kind != expected.kind {
        let api_version = if api_version.is_empty() { &wanted } else { api_version };
        return Err(Status::bad_request(wrong_kind(expected, api_version, kind)));
    }
    if !api_version.is_empty() && api_version != wanted && !same_kind_elsewhere(expected, api_version) {
        let (group, version) = split(api_version);
        if schema::kind(group, version, expected.kind).is_none() {
            return Err(Status::bad_request(wrong_kind(expected, api_version, expected.kind)));
        }
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    Ok(())
}

/// Evictions may be written in the version they began in.
fn same_kind_elsewhere(expected: Expected<'_>, api_version: &str) -> bool {
    expected.kind == "Eviction" && api_version == "policy/v1beta1"
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

fn cannot_be_handled(kind: &str, version: &str, as_kind: &str, why: &str) -> String {
    format!("{kind} in version \"{version}\" cannot be handled as a {as_kind}: {why}")
}

fn wrong_kind(expected: Expected<'_>, api_version: &str, kind: &str) -> String {
    let (group, version) = split(api_version);
    let why = match schema::kind(group, version, kind) {
        Some(_) => {
            let internal = match expected.group.split('.').next() {
                Some("") | None => "core",
                Some(name) => name,
            };
            format!("converting ({version}.{kind}) to ({internal}.{}): unknown conversion", expected.kind)
        }
        None => unregistered(api_version, kind),
    };
    cannot_be_handled(kind, version, expected.kind, &why)
}

fn unregistered(api_version: &str, kind: &str) -> String {
    format!(
        "no kind \"{kind}\" is registered for version \"{api_version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )
}

/// The text for a body that did not decode; names the kind where the body does.
fn undecodable(expected: Expected<'_>, media: Media, body: &[u8], error: &DecodeError) -> Status {
    let head = match media {
        Media::Json => codec::parse_json(body).ok(),
        Media::Yaml => codec::parse_yaml(body).ok(),
        Media::Protobuf => codec::open_protobuf(body)
            .ok()
            .map(|e| Value::from_iter([("kind", Value::from(e.kind)), ("apiVersion", Value::from(e.api_version))])),
    };
    match head {
        Some(head) if !head.kind().is_empty() && head.kind() != expected.kind => {
            Status::bad_request(wrong_kind(expected, head.api_version(), head.kind()))
        }
        Some(head) => {
            let version = match split(head.api_version()).1 {
                "" => expected.version,
                version => version,
            };
            Status::bad_request(cannot_be_handled(expected.kind, version, expected.kind, &error.to_string()))
        }
        None => Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {}{error} ({})",
            expected.kind,
            if media == Media::Json { "couldn't get version/kind; json parse error: " } else { "" },
            summary(body)
        )),
    }
}

/// The beginning of a body, as upstream shows it.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let cut = &body[..body.len().min(SHOWN)];
    let text = match body.first() {
        None => return "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(cut).into_owned(),
        Some(_) => cut.iter().map(|b| format!("{b:02x}")).collect(),
    };
    if body.len() > SHOWN { format!("{text} ...") } else { text }
}
