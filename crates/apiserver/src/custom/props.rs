//! Reading `JSONSchemaProps`, the form in which definitions write their schemas.

use kaji_api::Value;

/// One schema of a definition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Props<'a>(pub(crate) &'a Value);

/// The schemas below a schema that are alternatives to each other or additions to it.
pub(crate) const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

impl<'a> Props<'a> {
    /// A schema in a field, if there is one there.
    pub(crate) fn schema(self, field: &str) -> Option<Props<'a>> {
        self.0.get(field).filter(|v| v.as_object().is_some()).map(Props)
    }

    /// The schemas in a list.
    pub(crate) fn list(self, field: &str) -> impl Iterator<Item = Props<'a>> {
        self.0[field].items().iter().map(Props)
    }

    /// The schemas in a map.
    pub(crate) fn map(self, field: &str) -> impl Iterator<Item = (&'a str, Props<'a>)> {
        self.0[field].entries().map(|(name, value)| (name, Props(value)))
    }

    /// A property's schema.
    pub(crate) fn property(self, name: &str) -> Option<Props<'a>> {
        self.0["properties"].get(name).map(Props)
    }

    /// Its properties.
    pub(crate) fn properties(self) -> impl Iterator<Item = (&'a str, Props<'a>)> {
        self.map("properties")
    }

    pub(crate) fn has_properties(self) -> bool {
        !self.0["properties"].is_zero()
    }

    /// The schema of list items, where there is one for all.
    pub(crate) fn items(self) -> Option<Props<'a>> {
        self.schema("items")
    }

    /// The schema of what no property names.
    pub(crate) fn additional(self) -> Option<Props<'a>> {
        self.schema("additionalProperties")
    }

    /// Whether `additionalProperties` is given at all.
    pub(crate) fn has_additional(self) -> bool {
        !self.0["additionalProperties"].is_null()
    }

    /// `type`, empty where none is given.
    pub(crate) fn ty(self) -> &'a str {
        self.0["type"].str()
    }

    pub(crate) fn nullable(self) -> bool {
        self.0["nullable"].bool()
    }

    /// What is filled in; `null` counts as none.
    pub(crate) fn default(self) -> Option<&'a Value> {
        self.0.get("default").filter(|v| !v.is_null())
    }

    pub(crate) fn preserves(self) -> bool {
        self.0["x-kubernetes-preserve-unknown-fields"].bool()
    }

    pub(crate) fn embedded(self) -> bool {
        self.0["x-kubernetes-embedded-resource"].bool()
    }

    pub(crate) fn int_or_string(self) -> bool {
        self.0["x-kubernetes-int-or-string"].bool()
    }

    /// `x-kubernetes-list-type`, empty where none is given.
    pub(crate) fn list_type(self) -> &'a str {
        self.0["x-kubernetes-list-type"].str()
    }

    pub(crate) fn list_keys(self) -> impl Iterator<Item = &'a str> {
        self.0["x-kubernetes-list-map-keys"].items().iter().map(Value::str)
    }

    /// `x-kubernetes-map-type`, empty where none is given.
    pub(crate) fn map_type(self) -> &'a str {
        self.0["x-kubernetes-map-type"].str()
    }

    /// The rules to validate values by.
    pub(crate) fn rules(self) -> &'a [Value] {
        self.0["x-kubernetes-validations"].items()
    }

    /// The names of required properties.
    pub(crate) fn required(self) -> impl Iterator<Item = &'a str> {
        self.0["required"].items().iter().map(Value::str)
    }

    /// Whether this schema or one anywhere below it is such a one.
    pub(crate) fn any(self, test: &dyn Fn(Props<'a>) -> bool) -> bool {
        test(self) || self.children().any(|child| child.any(test))
    }

    /// Every schema directly below.
    pub(crate) fn children(self) -> impl Iterator<Item = Props<'a>> {
        let one = ["items", "not", "additionalProperties", "additionalItems"];
        let maps = ["properties", "patternProperties", "definitions", "dependencies"];
        let objects = |p: &Props<'a>| p.0.as_object().is_some();
        let lists = JUNCTORS.into_iter().chain(["items"]);
        (one.into_iter().filter_map(move |f| self.schema(f)))
            .chain(lists.flat_map(move |f| self.list(f)))
            .chain(maps.into_iter().flat_map(move |f| self.map(f).map(|(_, p)| p)))
            .filter(objects)
    }
}
