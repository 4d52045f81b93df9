//! What a list or watch selects: labels, fields, one namespace, one name.

use super::Scope;
use super::convert::present;
use super::options::ListOptions;
use crate::cache::Entry;
use crate::row::{CustomRow, Row};
use futures::future::BoxFuture;
use kaji_api::Status;
use kaji_api::selector::{FieldSelector, LabelSelector};
use std::sync::Arc;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// A parsed selection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: Option<LabelSelector>,
    fields: FieldSelector,
    /// The version of a custom resource that the terms are about, where objects may be stored in another.
    shown: Option<Row>,
}

impl Selection {
    /// From the options of a request; unsupported fields are refused as upstream words it.
    pub(crate) fn parse(scope: &Scope<'_>, options: &ListOptions) -> Result<Self, Status> {
        let labels = LabelSelector::parse(&options.label_selector).map_err(Status::bad_request)?;
        let mut fields = FieldSelector::parse(&options.field_selector).map_err(Status::bad_request)?;
        for (field, _, _) in &mut fields.terms {
            *field = supported(&scope.row, &scope.stored, field)?;
        }
        let labels = (!labels.is_everything()).then_some(labels);
        let mut selection = Selection { labels, fields, shown: None };
        selection.add_name(scope)?;
        // With a webhook, objects may be stored in any version that ever was the stored one.
        let is_other = |custom: &CustomRow| custom.webhook.is_some() || scope.row.version != scope.stored.version;
        let converts = scope.row.custom().is_some_and(|custom| is_other(custom)) && selection.looks_inside();
        selection.shown = converts.then(|| scope.row.clone());
        Ok(selection)
    }

    /// A watch or list on a path with a name selects that name.
    fn add_name(&mut self, scope: &Scope<'_>) -> Result<(), Status> {
        if scope.name.is_empty() {
            return Ok(());
        }
        if self.fields.terms.is_empty() {
            self.fields.terms.push((NAME.to_owned(), true, scope.name.to_owned()));
            return Ok(());
        }
        match self.exactly(NAME) == Some(scope.name) {
            true => Ok(()),
            false => Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name")),
        }
    }

    /// True when it selects all.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.terms.is_empty()
    }

    /// Whether more than names decides.
    fn looks_inside(&self) -> bool {
        self.labels.is_some() || self.fields.terms.iter().any(|(field, ..)| !matches!(field.as_str(), NAME | NAMESPACE))
    }

    /// Has entries converted to the version that the selection is about, where they are stored in another; before they are
    /// asked for.
    pub(crate) fn prepare<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a Arc<Entry>>,
    ) -> BoxFuture<'_, Result<(), Status>> {
        let Some(row) = &self.shown else { return Box::pin(async { Ok(()) }) };
        let entries = entries.into_iter().cloned().collect();
        Box::pin(async move { present(row, entries, true).await.map(drop) })
    }

    fn exactly(&self, field: &str) -> Option<&str> {
        self.fields.terms.iter().find(|(f, equal, _)| *equal && f == field).map(|(_, _, v)| v.as_str())
    }

    /// The one name selected, if it is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.exactly(NAME).filter(|n| !n.is_empty())
    }

    /// The one namespace selected, if it is one.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.exactly(NAMESPACE).filter(|n| !n.is_empty())
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, row: &Row, entry: &Entry) -> bool {
        let (namespace, name) = entry.names(row);
        // None: it is stored in that version.
        let form = self.shown.as_ref().and_then(|row| entry.form(&row.api_version()));
        let (row, entry) = (self.shown.as_ref().unwrap_or(row), form.as_deref().unwrap_or(entry));
        let own = |field: &str| match field {
            NAME => Some(name),
            NAMESPACE => Some(namespace),
            _ => None,
        };
        // Names come from the key; the rest needs the object, which is decoded only if asked for.
        let fields_match = self.fields.terms.is_empty()
            || self.fields.matches(|field| own(field).or_else(|| entry.selected(row).field(field)));
        fields_match && self.labels.as_ref().is_none_or(|l| l.matches(|key| entry.selected(row).label(key)))
    }
}

/// The name of a selectable field in the version that it is looked for in: that of the request for custom resources,
/// else the stored one.
fn supported(row: &Row, stored: &Row, field: &str) -> Result<String, Status> {
    let known = if row.custom().is_some() { &row.field_selectors } else { &stored.field_selectors };
    let renamed = super::convert::field_to_storage(row, field);
    if matches!(field, NAME | NAMESPACE) || known.contains(&renamed.as_str()) {
        return Ok(renamed);
    }
    Err(Status::bad_request(match known.is_empty() {
        true => format!("\"{field}\" is not a known field selector: only \"{NAME}\", \"{NAMESPACE}\""),
        false => format!("field label not supported: {field}"),
    }))
}
