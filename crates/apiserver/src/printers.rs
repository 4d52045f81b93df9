//! Cells of the server-printed tables: columns are data, cells per resource (upstream `pkg/printers/internalversion`).

use kaji_api::{ResourceDef, Value};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer`, `date`, …
    pub kind: &'static str,
    /// `name` for the object's name, else mostly empty.
    pub format: &'static str,
    /// Help text.
    pub description: &'static str,
    /// 0: always shown; above: only when wide.
    pub priority: i32,
}

/// The columns of what has no printer of its own.
const PLAIN: &[Column] = &[
    Column {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically.",
        priority: 0,
    },
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        description: "CreationTimestamp is a timestamp representing the server time when this object was created.",
        priority: 0,
    },
];

/// The columns of a resource.
pub fn columns(_row: &ResourceDef) -> &'static [Column] {
    PLAIN
}

/// The cells of an object, one per column; ages are told at `now`.
pub fn cells(_row: &ResourceDef, object: &Value, _now: jiff::Timestamp) -> Vec<Value> {
    vec![Value::from(object.name()), Value::from(object.meta("creationTimestamp"))]
}
