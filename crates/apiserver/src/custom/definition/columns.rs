//! The parts of a version that are not its schema: columns, subresources, selectable fields, deprecation.

use super::options::{MAX_SELECTABLE, Options};
use crate::custom::paths::field_path;
use crate::custom::props::Props;
use kaji_api::Value;
use kaji_api::field::{Errors, Path};

const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const MAX_WARNING: usize = 256;

/// What is wrong with a deprecation warning.
pub(super) fn deprecation(deprecated: bool, warning: Option<&str>) -> Vec<String> {
    let Some(warning) = warning else { return Vec::new() };
    if !deprecated {
        return vec!["can only be set for deprecated versions".to_owned()];
    }
    let mut texts = Vec::new();
    if warning.len() > MAX_WARNING {
        texts.push("must be <= 256 characters long".to_owned());
    }
    if warning.is_empty() {
        texts.push("must not be an empty string".to_owned());
    }
    // Go calls nothing printable that is white space, but for the space itself.
    let unprintable = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if let Some(at) = warning.find(unprintable) {
        texts
            .push(format!("must only contain printable UTF-8 characters; non-printable character found at index {at}"));
    }
    texts
}

/// Columns of tables.
pub(super) fn columns(columns: &Value, path: &Path, e: &mut Errors) {
    for (i, column) in columns.items().iter().enumerate() {
        self::column(column, &path.index(i), e);
    }
}

fn column(column: &Value, path: &Path, e: &mut Errors) {
    if column["name"].str().is_empty() {
        e.required(&path.child("name"), "");
    }
    let types = format!("must be one of {}", TYPES.join(","));
    match column["type"].str() {
        "" => e.required(&path.child("type"), &types),
        ty if !TYPES.contains(&ty) => e.invalid(&path.child("type"), ty, &types),
        _ => {}
    }
    let format = column["format"].str();
    if !format.is_empty() && !FORMATS.contains(&format) {
        e.invalid(&path.child("format"), format, &format!("must be one of {}", FORMATS.join(",")));
    }
    let at = path.child("JSONPath");
    match column["jsonPath"].str() {
        "" => e.required(&at, ""),
        json_path => simple(json_path, &at, e),
    }
}

/// A path such as `.spec.replicas`.
fn simple(path: &str, at: &Path, e: &mut Errors) {
    if path.is_empty() {
        e.invalid(at, path, "must not be empty");
    } else if !path.starts_with('.') {
        e.invalid(at, path, "must be a simple json path starting with .");
    }
}

/// The paths of the scale subresource.
pub(super) fn subresources(subresources: &Value, path: &Path, e: &mut Errors) {
    let scale = &subresources["scale"];
    if scale.is_null() {
        return;
    }
    for (field, below) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let at = path.child("scale").child(field);
        match scale[field].str() {
            "" => e.required(&at, ""),
            json_path if !json_path.starts_with('.') => simple(json_path, &at, e),
            json_path if !json_path.starts_with(&format!("{below}.")) => {
                e.invalid(&at, json_path, &format!("should be a json path under {below}"));
            }
            _ => {}
        }
    }
    let at = path.child("scale").child("labelSelectorPath");
    match scale["labelSelectorPath"].str() {
        "" => {}
        json_path if !json_path.starts_with('.') => simple(json_path, &at, e),
        json_path if !json_path.starts_with(".spec.") && !json_path.starts_with(".status.") => {
            e.invalid(&at, json_path, "should be a json path under either .spec or .status");
        }
        _ => {}
    }
}

/// The fields that selectors may name.
pub(super) fn selectable(version: &Value, schema: Props<'_>, options: &Options, path: &Path, e: &mut Errors) {
    let mut seen: Vec<String> = Vec::new();
    for (i, field) in version["selectableFields"].items().iter().enumerate() {
        let at = path.index(i).child("jsonPath");
        let given = field["jsonPath"].str();
        if given.is_empty() {
            e.required(&at, "");
            continue;
        }
        let (normal, found) = match field_path(given, schema, false) {
            Ok(found) => found,
            Err(why) => {
                e.invalid(&at, given, &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if normal == "metadata" || normal.starts_with("metadata.") {
            e.invalid(&at, given, "must not point to fields in metadata");
        }
        if !found.is_some_and(|s| matches!(s.ty(), "string" | "boolean" | "integer")) {
            let text = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                        formats are allowed.";
            e.invalid(&at, given, text);
        }
        if seen.contains(&normal) {
            e.duplicate(&at, given);
        } else {
            seen.push(normal);
        }
    }
    let excused = options.many_fields.iter().any(|name| name == version["name"].str());
    if seen.len() > MAX_SELECTABLE && !excused {
        e.too_many(path, seen.len(), MAX_SELECTABLE);
    }
}
