//! What a list or watch selects: labels, fields, one namespace, one name.

use super::Scope;
use super::options::ListOptions;
use crate::cache::Entry;
use crate::row::Row;
use kaji_api::selector::{FieldSelector, LabelSelector};
use kaji_api::{ResourceDef, Status};

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// A parsed selection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: Option<LabelSelector>,
    fields: FieldSelector,
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
        let mut selection = Selection { labels, fields };
        selection.add_name(scope)?;
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

/// The stored version's name of a selectable field.
fn supported(row: &ResourceDef, stored: &ResourceDef, field: &str) -> Result<String, Status> {
    let renamed = super::convert::field_to_storage(row, field);
    if matches!(field, NAME | NAMESPACE) || stored.field_selectors.contains(&renamed.as_str()) {
        return Ok(renamed);
    }
    Err(Status::bad_request(match stored.field_selectors.is_empty() {
        true => format!("\"{field}\" is not a known field selector: only \"{NAME}\", \"{NAMESPACE}\""),
        false => format!("field label not supported: {field}"),
    }))
}
