//! How tables are read: types, fields and the shapes of values.

use super::tables::{FieldDef, ListType, Literal, MapType, NoteDef, Scalar, Schema, ShapeDef, Span, TypeDef, TypeForm};
use super::tables::{field_flag, type_flag};
use crate::resource::GroupVersionKind;
use crate::value::Key;

/// A type in a schema: what codecs, patches and defaults work from.
#[derive(Clone, Copy)]
pub struct TypeRef<'a> {
    /// The tables.
    pub schema: &'a Schema,
    /// Index of the type.
    pub id: u32,
}

/// A field of a type, as JSON shows it.
#[derive(Clone, Copy)]
pub struct FieldRef<'a> {
    pub(crate) schema: &'a Schema,
    pub(crate) id: u32,
}

/// What values of a field, item or entry look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape<'a> {
    /// No parts that the schema knows.
    Scalar(Scalar),
    /// An object with known fields.
    Struct(TypeRef<'a>),
    /// An object of the type (`JSONSchemaProps`) or something simpler in its place.
    Either(TypeRef<'a>, Alternative),
    /// A list.
    List(ListRef<'a>),
    /// An object with free keys.
    Map(MapRef<'a>),
}

/// What may stand in place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternative {
    /// A list of such objects.
    List,
    /// A boolean.
    Bool,
    /// A list of strings.
    Strings,
}

/// A list's shape.
#[derive(Clone, Copy)]
pub struct ListRef<'a> {
    schema: &'a Schema,
    item: u16,
    kind: Option<ListType>,
    keys: Span,
    note: u16,
    pub(crate) wrapped: bool,
}

/// A map's shape.
#[derive(Clone, Copy)]
pub struct MapRef<'a> {
    schema: &'a Schema,
    item: u16,
    kind: Option<MapType>,
    note: u16,
}

/// `patchStrategy` of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge instead of being replaced.
    pub merge: bool,
    /// A patch may name the keys that stay (`$retainKeys`).
    pub retain_keys: bool,
    /// Structs and maps are replaced instead of merged.
    pub replace: bool,
}

/// A constant that the server fills in, and where, from the type down.
#[derive(Clone, Copy, Debug)]
pub struct Default<'a> {
    /// Field names; `[]` stands for every item of a list or map. Mostly one name.
    pub path: &'a [std::borrow::Cow<'static, str>],
    /// What is filled in where nothing is.
    pub value: &'a Literal,
}

/// Releases in a kind's life, such as `1.9`; empty where it has not happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle<'a> {
    /// First release.
    pub introduced: &'a str,
    /// Deprecated since.
    pub deprecated: &'a str,
    /// Removed (or to be removed) in.
    pub removed: &'a str,
    /// Group, version and kind to use in its place: `apps/v1/Deployment`.
    pub replacement: &'a str,
}

impl<'a> TypeRef<'a> {
    pub(crate) fn def(self) -> &'a TypeDef {
        &self.schema.types[self.id as usize]
    }

    fn has(self, flag: u16) -> bool {
        self.def().flags & flag != 0
    }

    /// Full name: `io.k8s.api.core.v1.Pod`.
    pub fn name(self) -> &'a str {
        &self.def().name
    }

    /// Last part of the name: `Pod`.
    pub fn short_name(self) -> &'a str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// JSON fields in the order they are written, those of inline structs in place.
    pub fn fields(self) -> impl ExactSizeIterator<Item = FieldRef<'a>> {
        self.schema.flat[self.def().flat.range()].iter().map(move |f| FieldRef { schema: self.schema, id: f.field })
    }

    /// The JSON field of that name (case matters).
    pub fn field(self, name: &str) -> Option<FieldRef<'a>> {
        let flat = self.schema.flat[self.def().flat.range()].iter().find(|f| f.name == name)?;
        Some(FieldRef { schema: self.schema, id: flat.field })
    }

    /// The JSON field of that name and its position, looked for from `first` on and round again: objects mostly
    /// come in the schema's order.
    pub(crate) fn find(self, name: &str, first: usize) -> Option<(usize, FieldRef<'a>)> {
        let flat = &self.schema.flat[self.def().flat.range()];
        let (before, after) = flat.split_at(first.min(flat.len()));
        let place = match after.iter().position(|f| f.name == name) {
            Some(at) => at + before.len(),
            None => before.iter().position(|f| f.name == name)?,
        };
        Some((place, FieldRef { schema: self.schema, id: flat[place].field }))
    }

    /// The JSON field at a position.
    pub(crate) fn at(self, place: usize) -> FieldRef<'a> {
        FieldRef { schema: self.schema, id: self.schema.flat[self.def().flat.range()][place].field }
    }

    /// The name of the JSON field at a position, as object key.
    pub(crate) fn key(self, place: usize) -> Key {
        self.schema.flat[self.def().flat.range()][place].name.clone()
    }

    /// Positions of what is written even when absent.
    pub(crate) fn musts(self) -> &'a [u16] {
        &self.schema.musts[self.def().musts.range()]
    }

    /// Declared fields by ascending protobuf number.
    pub(crate) fn wire(self) -> impl ExactSizeIterator<Item = FieldRef<'a>> {
        self.schema.wire[self.def().wire.range()].iter().map(move |id| FieldRef { schema: self.schema, id: *id })
    }

    /// Part of a custom resource: entries stay as given, sorted by name.
    pub fn is_custom(self) -> bool {
        matches!(self.def().form, TypeForm::Custom | TypeForm::CustomOpen)
    }

    /// Unknown entries stay.
    pub(crate) fn keeps_unknown(self) -> bool {
        self.def().form == TypeForm::CustomOpen
    }

    /// Fields as declared: inline structs as one field each, and those without a JSON name.
    pub fn declared(self) -> impl ExactSizeIterator<Item = FieldRef<'a>> {
        let schema = self.schema;
        #[expect(clippy::cast_possible_truncation, reason = "table indices are 32 bits wide")]
        self.def().fields.range().map(move |id| FieldRef { schema, id: id as u32 })
    }

    /// The groups, versions and kinds it is registered as.
    pub fn kinds(self) -> impl Iterator<Item = GroupVersionKind> + use<'a> {
        self.schema.words[self.def().kinds.range()].chunks(3).map(|gvk| GroupVersionKind {
            group: gvk[0].clone(),
            version: gvk[1].clone(),
            kind: gvk[2].clone(),
        })
    }

    /// Registered in every group version, as options and watch events are.
    pub fn is_everywhere(self) -> bool {
        self.has(type_flag::EVERYWHERE)
    }

    /// Applied and replaced as one unit (`x-kubernetes-map-type: atomic`).
    pub fn is_atomic(self) -> bool {
        self.has(type_flag::ATOMIC)
    }

    /// Marked as deprecated.
    pub fn is_deprecated(self) -> bool {
        self.has(type_flag::DEPRECATED)
    }

    /// Its fields are a union, told apart by which is set.
    pub fn is_union(self) -> bool {
        self.has(type_flag::UNION)
    }

    /// Stands in the published OpenAPI.
    pub fn in_open_api(self) -> bool {
        !self.has(type_flag::HIDDEN)
    }

    /// Can be written as protobuf.
    pub fn has_protobuf(self) -> bool {
        !self.has(type_flag::NO_PROTO)
    }

    /// This type or one below it has constant defaults.
    pub(crate) fn is_defaulted(self) -> bool {
        self.has(type_flag::DEFAULTED)
    }

    /// Constants that the server fills in here (not those of the types below).
    pub fn defaults(self) -> impl Iterator<Item = Default<'a>> + use<'a> {
        let schema = self.schema;
        schema.defaults[self.def().defaults.range()]
            .iter()
            .map(move |d| Default { path: &schema.words[d.path.range()], value: &d.value })
    }

    /// When the kind came and went.
    pub fn lifecycle(self) -> Lifecycle<'a> {
        let mut life = Lifecycle::default();
        for pair in self.schema.words[self.def().lifecycle.range()].chunks(2) {
            let place = match pair[0].as_ref() {
                "since" => &mut life.introduced,
                "deprecated" => &mut life.deprecated,
                "removed" => &mut life.removed,
                _ => &mut life.replacement,
            };
            *place = &pair[1];
        }
        life
    }
}

impl PartialEq for TypeRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.id == other.id
    }
}

impl std::fmt::Debug for TypeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Scalar {
    /// Holds JSON of any form.
    pub(crate) fn is_raw(self) -> bool {
        matches!(self, Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json | Scalar::Any)
    }
}

impl<'a> FieldRef<'a> {
    pub(crate) fn def(self) -> &'a FieldDef {
        &self.schema.fields[self.id as usize]
    }

    pub(crate) fn has(self, flag: u16) -> bool {
        self.def().flags & flag != 0
    }

    fn note(self) -> &'a NoteDef {
        &self.schema.notes[usize::from(self.def().note)]
    }

    fn words(self, words: Span) -> impl ExactSizeIterator<Item = &'a str> {
        self.schema.words[words.range()].iter().map(AsRef::as_ref)
    }

    /// JSON name; empty for an inline struct.
    pub fn name(self) -> &'a str {
        &self.def().name
    }

    /// Protobuf number; 0 where it has none.
    pub fn number(self) -> u16 {
        self.def().number
    }

    /// What its values look like.
    pub fn shape(self) -> Shape<'a> {
        Shape::of(self.schema, self.def().shape)
    }

    /// Absence is kept apart from zero.
    pub fn is_pointer(self) -> bool {
        self.has(field_flag::POINTER)
    }

    /// In the required list of its type.
    pub fn is_required(self) -> bool {
        self.has(field_flag::REQUIRED)
    }

    /// Written even when empty.
    pub fn is_always_written(self) -> bool {
        self.has(field_flag::ALWAYS)
    }

    /// A struct whose fields stand in the parent in JSON (only among declared fields).
    pub fn is_inline(self) -> bool {
        self.has(field_flag::INLINE)
    }

    /// Has no place in JSON (only among declared fields).
    pub fn is_proto_only(self) -> bool {
        self.has(field_flag::PROTO_ONLY)
    }

    /// Marked as deprecated.
    pub fn is_deprecated(self) -> bool {
        self.has(field_flag::DEPRECATED)
    }

    /// Custom resources: `null` is a value of its own.
    pub fn is_nullable(self) -> bool {
        self.has(field_flag::NULLABLE)
    }

    /// Custom resources: `null` stays, as a value or until the default is filled in.
    pub(crate) fn keeps_null(self) -> bool {
        self.has(field_flag::NULLABLE | field_flag::FILLED)
    }

    /// How a list merges under server-side apply.
    pub fn list_type(self) -> Option<ListType> {
        match self.shape() {
            Shape::List(list) => list.list_type(),
            _ => None,
        }
    }

    /// The fields that identify the items of a list of type map; else none.
    pub fn list_map_keys(self) -> impl ExactSizeIterator<Item = &'a str> {
        let keys = match self.schema.shapes[usize::from(self.def().shape)] {
            ShapeDef::List { keys, .. } => keys,
            _ => Span::default(),
        };
        self.words(keys)
    }

    /// How a map or struct merges under server-side apply, where declared here or by the struct's type.
    pub fn map_type(self) -> Option<MapType> {
        match self.shape() {
            _ if self.has(field_flag::GRANULAR) => Some(MapType::Granular),
            Shape::Map(map) => map.map_type(),
            Shape::Struct(ty) if ty.is_atomic() => Some(MapType::Atomic),
            _ => None,
        }
    }

    /// How strategic merge patch treats it.
    pub fn patch_strategy(self) -> PatchStrategy {
        PatchStrategy {
            merge: self.has(field_flag::PATCH_MERGE),
            retain_keys: self.has(field_flag::PATCH_RETAIN_KEYS),
            replace: self.has(field_flag::PATCH_REPLACE),
        }
    }

    /// The field that identifies items under strategic merge patch.
    pub fn patch_merge_key(self) -> Option<&'a str> {
        self.words(self.note().merge_key).next()
    }

    /// The default as declared (and published); see [`TypeRef::defaults`] for all that is filled in.
    pub fn declared_default(self) -> Option<&'a Literal> {
        self.note().declared.as_ref()
    }

    /// The values of a closed set; none where any value goes.
    pub fn enum_values(self) -> impl ExactSizeIterator<Item = &'a str> {
        self.words(if self.has(field_flag::OPEN_ENUM) { Span::default() } else { self.note().values })
    }

    /// Values that have a meaning, of a set that is not closed.
    pub fn known_values(self) -> impl ExactSizeIterator<Item = &'a str> {
        self.words(if self.has(field_flag::OPEN_ENUM) { self.note().values } else { Span::default() })
    }

    /// Feature gates it belongs to.
    pub fn gates(self) -> impl ExactSizeIterator<Item = &'a str> {
        self.words(self.note().gates)
    }

    /// The union it is a member of, and whether none of the members may be set too.
    pub fn one_of(self) -> Option<(&'a str, bool)> {
        Some((self.words(self.note().one_of).next()?, self.has(field_flag::ZERO_OR_ONE)))
    }

    /// Tells which member of the union is set.
    pub fn is_discriminator(self) -> bool {
        self.has(field_flag::DISCRIMINATOR)
    }
}

impl std::fmt::Debug for FieldRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl<'a> Shape<'a> {
    pub(crate) fn of(schema: &'a Schema, id: u16) -> Self {
        match schema.shapes[usize::from(id)] {
            ShapeDef::Scalar(s) => Shape::Scalar(s),
            ShapeDef::Struct(id) => Shape::of_type(TypeRef { schema, id }),
            ShapeDef::BuiltIn(id) => Shape::of_type(TypeRef { schema: super::built_in(), id }),
            ShapeDef::List { item, kind, keys, note } => {
                Shape::List(ListRef { schema, item, kind, keys, note, wrapped: false })
            }
            ShapeDef::Map { item, kind, note } => Shape::Map(MapRef { schema, item, kind, note }),
        }
    }

    fn of_type(ty: TypeRef<'a>) -> Self {
        let first = || ty.schema.fields[ty.def().fields.start as usize].shape;
        let either = |alternative| {
            ty.declared()
                .find_map(|f| match f.shape() {
                    Shape::Struct(object) => Some(Shape::Either(object, alternative)),
                    _ => None,
                })
                .expect("a type that may be an object has a field of the object's type")
        };
        match ty.def().form {
            TypeForm::Struct | TypeForm::Custom | TypeForm::CustomOpen => Shape::Struct(ty),
            TypeForm::OrList => either(Alternative::List),
            TypeForm::OrBool => either(Alternative::Bool),
            TypeForm::OrStrings => either(Alternative::Strings),
            TypeForm::Wrapped => match Shape::of(ty.schema, first()) {
                Shape::List(list) => Shape::List(ListRef { wrapped: true, ..list }),
                other => other,
            },
        }
    }
}

impl<'a> ListRef<'a> {
    /// What its items look like.
    pub fn item(self) -> Shape<'a> {
        Shape::of(self.schema, self.item)
    }

    /// How it merges under server-side apply.
    pub fn list_type(self) -> Option<ListType> {
        self.kind
    }

    /// What takes the place of an item that is `null`: custom resources only.
    pub fn item_default(self) -> Option<&'a Literal> {
        self.schema.notes[usize::from(self.note)].declared.as_ref()
    }

    /// The fields that identify items, for type map.
    pub fn keys(self) -> impl ExactSizeIterator<Item = &'a str> {
        self.schema.words[self.keys.range()].iter().map(AsRef::as_ref)
    }
}

impl PartialEq for ListRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema)
            && (self.item, self.kind, self.keys) == (other.item, other.kind, other.keys)
    }
}

impl std::fmt::Debug for ListRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{:?}]", self.item())
    }
}

impl<'a> MapRef<'a> {
    /// What its values look like.
    pub fn item(self) -> Shape<'a> {
        Shape::of(self.schema, self.item)
    }

    /// How it merges under server-side apply.
    pub fn map_type(self) -> Option<MapType> {
        self.kind
    }
}

impl<'a> MapRef<'a> {
    /// What takes the place of a value that is `null`: custom resources only.
    pub fn item_default(self) -> Option<&'a Literal> {
        self.schema.notes[usize::from(self.note)].declared.as_ref()
    }

    /// Custom resources: entries of `null` stay, as values or until defaults are filled in.
    pub(crate) fn keeps_null(self) -> bool {
        let note = &self.schema.notes[usize::from(self.note)];
        note.nullable || note.declared.is_some()
    }
}

impl PartialEq for MapRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && (self.item, self.kind) == (other.item, other.kind)
    }
}

impl std::fmt::Debug for MapRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{:?}}}", self.item())
    }
}
