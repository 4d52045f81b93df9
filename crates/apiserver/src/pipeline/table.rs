//! `meta/v1 Table`: what kubectl prints.

use super::output::partial;
use crate::printers;
use crate::registry::options::Query;
use crate::row::Row;
use kaji_api::{Status, Value, value};

/// What stands beside the cells of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Include {
    /// The object's metadata.
    #[default]
    Metadata,
    /// The object.
    Object,
    /// Nothing.
    None,
}

/// Options of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TableOptions {
    pub(crate) include: Include,
    /// Leave the columns out (all but the first event of a watch).
    pub(crate) no_headers: bool,
}

impl TableOptions {
    /// From a query.
    pub(crate) fn parse(query: &Query) -> Result<Self, Status> {
        let include = match query.get("includeObject") {
            "" | "Metadata" => Include::Metadata,
            "Object" => Include::Object,
            "None" => Include::None,
            other => {
                return Err(Status::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be \
                     'Metadata', 'Object', 'None', or empty"
                )));
            }
        };
        Ok(TableOptions { include, no_headers: false })
    }
}

/// The rows of some objects.
pub(super) fn rows<'a>(
    row: &Row,
    objects: impl Iterator<Item = &'a Value>,
    options: TableOptions,
    version: &str,
) -> Vec<Value> {
    let now = jiff::Timestamp::now();
    let one = |object: &Value| {
        let mut out = Value::object();
        out.set("cells", Value::Array(cells(row, object, now)));
        if let Some(conditions) = printers::conditions(row, object) {
            out.set("conditions", conditions);
        }
        let beside = match options.include {
            Include::Metadata => partial(object, version),
            Include::Object => object.clone(),
            Include::None => Value::Null,
        };
        out.set("object", beside);
        out
    };
    objects.map(one).collect()
}

/// The table.
pub(super) fn document(row: &Row, version: &str, metadata: Value, rows: Vec<Value>, options: TableOptions) -> Value {
    let columns = match options.no_headers {
        true => Value::Null,
        false => Value::Array(columns(row)),
    };
    let api_version = format!("meta.k8s.io/{version}");
    let mut table = value!({"kind": "Table", "apiVersion": (api_version)});
    table.set("metadata", metadata);
    table.set("columnDefinitions", columns);
    table.set("rows", Value::Array(rows));
    table
}

fn columns(row: &Row) -> Vec<Value> {
    match row.custom() {
        None => printers::columns(row).iter().map(column).collect(),
        Some(custom) => {
            let own = custom.version.columns().iter().map(|c| c.definition().clone());
            std::iter::once(custom_name()).chain(own).collect()
        }
    }
}

/// The first column of custom resources.
fn custom_name() -> Value {
    let description = kaji_api::openapi::describe("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "name");
    value!({"name": "Name", "type": "string", "format": "name", "description": (description), "priority": 0})
}

fn cells(row: &Row, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
    match row.custom() {
        None => printers::cells(row, object, now),
        Some(custom) => {
            let own = custom.version.columns().iter().map(|c| c.cell(object, now));
            std::iter::once(Value::from(object.name())).chain(own).collect()
        }
    }
}

fn column(column: &printers::Column) -> Value {
    value!({
        "name": (column.name),
        "type": (column.kind),
        "format": (column.format),
        "description": (column.description),
        "priority": (i64::from(column.priority))
    })
}
