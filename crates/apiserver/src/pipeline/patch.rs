//! PATCH bodies: which kind, parsed once, applied to whatever the object is at the time.

use super::input::apply_strict;
use super::negotiate::unsupported;
use crate::context::Warnings;
use crate::registry::options::FieldValidation;
use kaji_api::field::{Errors, Path, printed};
use kaji_api::schema::TypeRef;
use kaji_api::{Status, Value, codec, patch};

/// What is taken, for the text of a 415.
const TAKEN: &str = "application/json-patch+json, application/merge-patch+json, \
                     application/strategic-merge-patch+json, application/apply-patch+yaml";
/// The same for custom resources, whose lists have no keys to merge by.
pub(super) const TAKEN_BY_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
/// Operations of a JSON patch.
const MAX_OPERATIONS: usize = 10_000;

/// The kinds of patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
    /// `application/apply-patch+yaml`: no patch but a configuration.
    Apply,
}

impl Kind {
    /// From a `Content-Type`, or 415.
    pub(super) fn of_content_type(value: Option<&str>) -> Result<Self, Status> {
        match value.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Kind::Json),
            "application/merge-patch+json" => Ok(Kind::Merge),
            "application/strategic-merge-patch+json" => Ok(Kind::Strategic),
            "application/apply-patch+yaml" => Ok(Kind::Apply),
            _ => Err(unsupported(TAKEN)),
        }
    }
}

/// A parsed patch.
pub(super) struct Patch {
    kind: Kind,
    body: Value,
    validation: FieldValidation,
    warnings: Warnings,
}

impl Patch {
    /// From a body.
    pub(super) fn parse(
        kind: Kind,
        bytes: &[u8],
        validation: FieldValidation,
        warnings: Warnings,
    ) -> Result<Self, Status> {
        let body =
            codec::parse_json(bytes).map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
        let fits = match kind {
            Kind::Json => matches!(body, Value::Array(_)),
            Kind::Merge | Kind::Strategic | Kind::Apply => matches!(body, Value::Object(_)),
        };
        if !fits {
            let (found, wanted) = match kind {
                Kind::Json => ("object", "[]handlers.jsonPatchOp"),
                _ => ("array", "map[string]interface {}"),
            };
            return Err(Status::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}"
            )));
        }
        if body.items().len() > MAX_OPERATIONS {
            return Err(Status::too_large(format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                body.items().len()
            )));
        }
        Ok(Patch { kind, body, validation, warnings })
    }

    /// The patched object in canonical form.
    pub(super) fn apply(&self, ty: TypeRef<'_>, object: &Value) -> Result<Value, Status> {
        let mut patched = object.clone();
        match self.kind {
            Kind::Json => patch::json_patch(&mut patched, &self.body)?,
            Kind::Merge => patch::merge_patch(&mut patched, &self.body),
            Kind::Strategic => patch::strategic_merge_patch(ty, &mut patched, &self.body)?,
            Kind::Apply => {}
        }
        // Upstream shows the one as Go prints it, and of the others the outcome as JSON.
        let shown = || match self.kind {
            Kind::Strategic => printed(&without_nulls(&self.body)),
            _ => {
                let mut text = Vec::new();
                codec::write_json(&patched, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            }
        };
        let unfit = |why: &str| {
            let mut errors = Errors::new();
            errors.invalid(&Path::new("patch"), shown(), why);
            Status::invalid("", "", "", &errors)
        };
        let (object, strict) = codec::coerce(ty, patched.clone()).map_err(|error| unfit(&error.to_string()))?;
        apply_strict(&strict, self.validation, &self.warnings).map_err(|why| unfit(&why))?;
        Ok(object)
    }
}

/// A patch without what it takes away: upstream has taken that out of it by the time it shows it.
fn without_nulls(patch: &Value) -> Value {
    match patch {
        Value::Object(_) => {
            let kept = patch.entries().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name.to_owned(), without_nulls(value))).collect()
        }
        other => other.clone(),
    }
}
