//! The custom resources that are served, and what is published of all resources together.

use super::Row;
use crate::pipeline::documents::{Kept, Published};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;

/// A set of rows that is replaced as a whole; readers never wait.
#[derive(Default)]
pub(crate) struct CustomRows {
    table: ArcSwap<Table>,
    /// What was made to tell of them.
    pub(crate) documents: Kept,
}

/// The rows served at one time.
#[derive(Default)]
pub(crate) struct Table {
    rows: HashMap<(&'static str, &'static str, &'static str), Row>,
    pub(crate) published: Published,
}

impl CustomRows {
    /// The row of a group, version and plural.
    pub(crate) fn row(&self, group: &str, version: &str, plural: &str) -> Option<Row> {
        self.table.load().get(group, version, plural).filter(|row| row.enabled).cloned()
    }

    /// All rows as they are now.
    pub(crate) fn load(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Replaces the rows of a group's plural (none: it is not served any more).
    pub(crate) fn replace(&self, group: &str, plural: &str, rows: &[Row]) {
        self.table.rcu(|table| {
            let others = table.rows.iter().filter(|((g, _, p), _)| (*g, *p) != (group, plural));
            let others = others.map(|(key, row)| (*key, row.clone()));
            let new = rows.iter().map(|row| ((row.group, row.version, row.plural), row.clone()));
            Table { rows: others.chain(new).collect(), published: Published::default() }
        });
    }
}

impl Table {
    fn get<'a>(&'a self, group: &'a str, version: &'a str, plural: &'a str) -> Option<&'a Row> {
        let rows: &'a HashMap<(&'a str, &'a str, &'a str), Row> = &self.rows;
        rows.get(&(group, version, plural))
    }

    /// The rows that clients may use, in no order.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Row> {
        self.rows().filter(|row| row.enabled)
    }

    /// All rows, those of versions that objects are stored in but that are not served among them, in no order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}
