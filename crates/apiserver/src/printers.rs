//! Tables as the server prints them: columns are data, cells small functions per resource (upstream
//! `pkg/printers/internalversion`).
//!
//! One entry of [`table::PRINTERS`] says all about a resource's table. What has no entry shows name and
//! creation time. Cells are always told in full; a column's priority says which are for wide output. The
//! object beside the cells is the caller's business.

mod access;
mod autoscaling;
mod core;
mod device;
mod duration;
mod network;
mod pod;
mod row;
mod storage;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod workload;

use crate::registry::convert;
use kaji_api::{ResourceDef, Value, value};
use row::Row;
use std::borrow::Cow;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer`, `date`, …
    pub kind: &'static str,
    /// `name` for the object's name, else mostly empty.
    pub format: &'static str,
    /// Help text; clients find more in the schema.
    pub description: &'static str,
    /// 0: always shown; above: only when wide.
    pub priority: i32,
}

/// The table of one resource.
struct Printer {
    group: &'static str,
    plural: &'static str,
    columns: &'static [Column],
    cells: fn(&Row<'_>) -> Vec<Value>,
}

/// The columns of a resource.
pub fn columns(row: &ResourceDef) -> &'static [Column] {
    printer(row).columns
}

/// The cells of an object, one per column; ages are told at `now`.
pub fn cells(row: &ResourceDef, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
    (printer(row).cells)(&Row { object: &in_stored_version(row, object), now })
}

/// The time since a timestamp, as columns of type `date` show it.
pub(crate) fn since(timestamp: &str, now: jiff::Timestamp) -> String {
    timestamp.parse().map_or_else(|_| "<invalid>".to_owned(), |at| duration::human(now.duration_since(at)))
}

/// The conditions of a row: a pod that has run to its end is marked as completed.
pub fn conditions(row: &ResourceDef, object: &Value) -> Option<Value> {
    let message = match object["status"]["phase"].str() {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    let reason = object["status"]["phase"].clone();
    let condition = value!({"type": "Completed", "status": "True", "reason": (reason), "message": (message)});
    (row.group.is_empty() && row.plural == "pods").then(|| Value::Array(vec![condition]))
}

fn printer(row: &ResourceDef) -> &'static Printer {
    let is_its = |p: &&Printer| p.plural == row.plural && p.group == row.group;
    table::PRINTERS.iter().find(is_its).unwrap_or(&table::PLAIN)
}

/// Cells are written against one shape per resource, the one that is stored.
fn in_stored_version<'a>(row: &ResourceDef, object: &'a Value) -> Cow<'a, Value> {
    let (group, version, _) = row.storage;
    let stored = kaji_api::resource::find(group, version, row.plural).filter(|stored| !convert::is_same(row, stored));
    match stored {
        None => Cow::Borrowed(object),
        Some(stored) => {
            let mut object = object.clone();
            convert::built_in_to_storage(row, stored, &mut object);
            Cow::Owned(object)
        }
    }
}
