//! Label and field selectors, with upstream's grammar and texts for errors.

use crate::value::Value;

/// A parsed label selector; the default one selects everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSelector {}

impl LabelSelector {
    /// From a query parameter: `a=b,c!=d,e in (f,g),!h`. The error is upstream's text.
    pub fn parse(_text: &str) -> Result<Self, String> {
        unimplemented!()
    }

    /// From a `metav1.LabelSelector` value: `null` selects nothing, `{}` everything.
    pub fn from_value(_selector: &Value) -> Result<Self, String> {
        unimplemented!()
    }

    /// True when it selects everything.
    pub fn is_everything(&self) -> bool {
        unimplemented!()
    }

    /// Whether the labels that `get` looks up are selected.
    pub fn matches<'a>(&self, _get: impl Fn(&str) -> Option<&'a str>) -> bool {
        unimplemented!()
    }
}

/// A parsed field selector: conjunction of equalities and inequalities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSelector {
    /// Field, whether it must equal (`true`) or differ, and the value.
    pub terms: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// From a query parameter: `status.phase!=Running,spec.nodeName=a`.
    pub fn parse(_text: &str) -> Result<Self, String> {
        unimplemented!()
    }

    /// Whether the fields that `get` looks up are selected.
    pub fn matches<'a>(&self, _get: impl Fn(&str) -> Option<&'a str>) -> bool {
        unimplemented!()
    }
}
