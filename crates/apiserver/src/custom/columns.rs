//! The table of a custom resource (apiextensions-apiserver `pkg/registry/customresource/tableconvertor`).

use super::jsonpath::JsonPath;
use kaji_api::{Value, codec, field, value};
use std::sync::LazyLock;

/// A column of tables beyond the name.
#[derive(Clone, Debug)]
pub struct Column {
    /// As `columnDefinitions` has it.
    definition: Value,
    ty: String,
    /// None where the path is none: nothing is shown.
    path: Option<JsonPath>,
}

/// What the column of definitions without columns is about.
static AGE: LazyLock<String> = LazyLock::new(|| {
    kaji_api::openapi::describe("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp")
});

/// What definitions without columns show.
const CREATED: &str = ".metadata.creationTimestamp";

/// Columns of a version: its own, or the age.
pub(crate) fn of(columns: &Value) -> Vec<Column> {
    if columns.items().is_empty() {
        return vec![Column::new("Age", "date", "", &AGE, 0, CREATED)];
    }
    let column = |c: &Value| {
        let path = c["jsonPath"].str();
        let description = match c["description"].str() {
            "" => format!("Custom resource definition column (in JSONPath format): {path}"),
            given => given.to_owned(),
        };
        let priority = c["priority"].as_i64().unwrap_or_default();
        Column::new(c["name"].str(), c["type"].str(), c["format"].str(), &description, priority, path)
    };
    columns.items().iter().map(column).collect()
}

impl Column {
    fn new(name: &str, ty: &str, format: &str, description: &str, priority: i64, path: &str) -> Self {
        let definition = value!({
            "name": name, "type": ty, "format": format, "description": description, "priority": priority
        });
        Column { definition, ty: ty.to_owned(), path: JsonPath::parse(path) }
    }

    /// The column as `columnDefinitions` of a table has it.
    pub fn definition(&self) -> &Value {
        &self.definition
    }

    /// What it shows of an object; ages are told at `now`.
    pub fn cell(&self, object: &Value, now: jiff::Timestamp) -> Value {
        let found = self.path.as_ref().map(|path| path.find(object)).unwrap_or_default();
        // One result is shown, whatever the path finds.
        let Some(value) = found.first() else { return Value::Null };
        match (self.ty.as_str(), value.as_ref()) {
            ("string", value) => Value::from(text(value)),
            (_, Value::Null) => Value::Null,
            ("integer", Value::Int(n)) => Value::Int(*n),
            #[expect(clippy::cast_possible_truncation, reason = "as upstream shows it")]
            ("integer", Value::Float(f)) => Value::Int(*f as i64),
            #[expect(clippy::cast_precision_loss, reason = "as upstream shows it")]
            ("number", Value::Int(n)) => Value::Float(*n as f64),
            ("number", value @ Value::Float(_)) | ("boolean", value @ Value::Bool(_)) => value.clone(),
            ("date", Value::String(s)) => Value::from(crate::printers::since(s, now)),
            _ => Value::Null,
        }
    }
}

/// Objects and lists as JSON, other values as Go prints them.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Object(_) | Value::Array(_) => {
            let mut out = Vec::new();
            codec::write_json(value, &mut out);
            String::from_utf8(out).unwrap_or_default()
        }
        other => field::printed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_what_upstream_shows() {
        let columns = value!([
            {"name": "Text", "type": "string", "jsonPath": ".a"},
            {"name": "Whole", "type": "integer", "jsonPath": ".n"},
            {"name": "Number", "type": "number", "jsonPath": ".n"},
            {"name": "Yes", "type": "boolean", "jsonPath": ".b"},
            {"name": "Map", "type": "string", "jsonPath": ".m", "description": "a map", "priority": 1},
            {"name": "None", "type": "string", "jsonPath": ".none"},
            {"name": "When", "type": "date", "jsonPath": ".t"},
            {"name": "Odd", "type": "date", "jsonPath": ".a"}
        ]);
        let object = value!({"a": "x", "n": 3, "b": true, "m": {"k": 1}, "t": "2024-01-01T00:00:00Z"});
        let now: jiff::Timestamp = "2024-01-01T00:05:00Z".parse().expect("a time");
        let columns = of(&columns);
        let cells: Vec<Value> = columns.iter().map(|c| c.cell(&object, now)).collect();
        let expected = value!(["x", 3, (Value::Float(3.0)), true, "{\"k\":1}", null, "5m", "<invalid>"]);
        assert_eq!(Value::Array(cells), expected);
        let description = |i: usize| columns[i].definition()["description"].str().to_owned();
        assert_eq!(description(0), "Custom resource definition column (in JSONPath format): .a");
        assert_eq!(description(4), "a map");
        assert_eq!(of(&Value::Null)[0].definition()["name"].str(), "Age");
    }
}
