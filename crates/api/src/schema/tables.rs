//! The tables themselves: flat arrays that refer to each other by index.

use crate::value::Value;
use std::borrow::Cow;

/// A name: borrowed in built-in tables, owned in those made at run time.
pub(crate) type Name = Cow<'static, str>;

/// A set of types that refer to each other by index.
#[derive(Debug, Default)]
pub struct Schema {
    pub(crate) types: Cow<'static, [TypeDef]>,
    /// Declared fields, those of one type side by side, in declaration order.
    pub(crate) fields: Cow<'static, [FieldDef]>,
    /// Fields as JSON has them, inline structs spread out, those of one type side by side.
    pub(crate) flat: Cow<'static, [FlatDef]>,
    /// Declared fields (as indices) by ascending protobuf number, those of one type side by side.
    pub(crate) wire: Cow<'static, [u32]>,
    /// Positions (in the type's JSON fields) of what is written even when absent.
    pub(crate) musts: Cow<'static, [u16]>,
    pub(crate) shapes: Cow<'static, [ShapeDef]>,
    /// The words that [`Words`] ranges point at.
    pub(crate) words: Cow<'static, [Name]>,
    pub(crate) notes: Cow<'static, [NoteDef]>,
    pub(crate) defaults: Cow<'static, [DefaultDef]>,
}

/// A range of one of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u16,
}

impl Span {
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + usize::from(self.len)
    }
}

/// A range of `Schema::words`.
pub(crate) type Words = Span;

/// How a type looks in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeForm {
    /// A Go struct: fields in schema order, unknown ones dropped, zero values by the rules of its fields.
    Struct,
    /// Part of a custom resource: entries stay as given, sorted by name; unknown ones dropped.
    Custom,
    /// Part of a custom resource that keeps unknown entries.
    CustomOpen,
    /// A list that is a message of its own in protobuf.
    Wrapped,
    /// An object or a list of such objects.
    OrList,
    /// An object or a boolean.
    OrBool,
    /// An object or a list of strings.
    OrStrings,
}

#[derive(Clone, Debug)]
pub(crate) struct TypeDef {
    /// Full name: `io.k8s.api.core.v1.Pod`.
    pub(crate) name: Name,
    pub(crate) form: TypeForm,
    pub(crate) flags: u16,
    pub(crate) fields: Span,
    pub(crate) flat: Span,
    pub(crate) wire: Span,
    pub(crate) musts: Span,
    /// Of `Schema::defaults`: own ones, by path.
    pub(crate) defaults: Span,
    /// Triples group, version, kind in `Schema::words`.
    pub(crate) kinds: Words,
    /// Pairs of keyword and release (`since`, `deprecated`, `removed`, `replacement`).
    pub(crate) lifecycle: Words,
}

pub(crate) mod type_flag {
    /// Applied as one unit.
    pub(crate) const ATOMIC: u16 = 1;
    pub(crate) const DEPRECATED: u16 = 2;
    /// Not in the published OpenAPI.
    pub(crate) const HIDDEN: u16 = 4;
    /// This type or one below it has constant defaults.
    pub(crate) const DEFAULTED: u16 = 8;
    /// Registered in every group version.
    pub(crate) const EVERYWHERE: u16 = 16;
    /// Has no protobuf form.
    pub(crate) const NO_PROTO: u16 = 32;
    pub(crate) const UNION: u16 = 64;
}

#[derive(Clone, Debug)]
pub(crate) struct FieldDef {
    /// JSON name; empty for inline structs.
    pub(crate) name: Name,
    /// Protobuf number, 0 for none.
    pub(crate) number: u16,
    pub(crate) flags: u16,
    /// Of `Schema::shapes`.
    pub(crate) shape: u16,
    /// Of `Schema::notes`; 0 is the empty note.
    pub(crate) note: u16,
    /// Position among the JSON fields of the type that declares it; of the first one, for an inline struct.
    pub(crate) place: u16,
}

/// Flags of fields. 8 is `omitzero`: left out when zero although a struct, which only the compiler of the schema text
/// needs to know.
pub(crate) mod field_flag {
    /// Absence is kept apart from zero.
    pub(crate) const POINTER: u16 = 1;
    /// In the required list.
    pub(crate) const REQUIRED: u16 = 2;
    /// Written even when empty.
    pub(crate) const ALWAYS: u16 = 4;
    /// Its fields stand in the parent in JSON.
    pub(crate) const INLINE: u16 = 16;
    /// Not in JSON.
    pub(crate) const PROTO_ONLY: u16 = 32;
    pub(crate) const DEPRECATED: u16 = 64;
    pub(crate) const PATCH_MERGE: u16 = 128;
    pub(crate) const PATCH_RETAIN_KEYS: u16 = 256;
    pub(crate) const PATCH_REPLACE: u16 = 512;
    /// The struct it refers to is granular here although atomic by itself.
    pub(crate) const GRANULAR: u16 = 1024;
    pub(crate) const DISCRIMINATOR: u16 = 2048;
    /// At most one of the group named in the note, instead of exactly one.
    pub(crate) const ZERO_OR_ONE: u16 = 4096;
    /// Custom resources: `null` is a value.
    pub(crate) const NULLABLE: u16 = 8192;
    /// `enum` is open: `known` values only.
    pub(crate) const OPEN_ENUM: u16 = 16384;
    /// Custom resources: has a default.
    pub(crate) const FILLED: u16 = 32768;
}

/// One JSON field of a type, found by name.
#[derive(Clone, Debug)]
pub(crate) struct FlatDef {
    pub(crate) name: Name,
    /// Of `Schema::fields`.
    pub(crate) field: u32,
}

/// Rarer facts about a field.
#[derive(Clone, Debug, Default)]
pub(crate) struct NoteDef {
    pub(crate) values: Words,
    pub(crate) gates: Words,
    /// One word or none.
    pub(crate) merge_key: Words,
    /// One word or none.
    pub(crate) one_of: Words,
    /// Declared default, as published.
    pub(crate) declared: Option<Literal>,
    /// `null` is a value.
    pub(crate) nullable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ShapeDef {
    Scalar(Scalar),
    /// Of `Schema::types`.
    Struct(u32),
    /// Of the built-in schema's types.
    BuiltIn(u32),
    List {
        item: u16,
        kind: Option<ListType>,
        keys: Words,
        /// Of `Schema::notes`, about the items: custom resources only.
        note: u16,
    },
    Map {
        item: u16,
        kind: Option<MapType>,
        /// Of `Schema::notes`, about the values: custom resources only.
        note: u16,
    },
}

/// A default that the server fills in.
#[derive(Clone, Debug)]
pub(crate) struct DefaultDef {
    /// Field names from the type down; `[]` stands for every item. Most have one.
    pub(crate) path: Words,
    pub(crate) value: Literal,
}

/// A constant in the schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Int(i64),
    /// A string.
    Str(Cow<'static, str>),
    /// An object or a list, as JSON text.
    Json(Cow<'static, str>),
    /// Any value: custom resources.
    Value(Box<Value>),
}

/// What is not a struct, list or map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// Text.
    String,
    /// A boolean.
    Bool,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A 64-bit float.
    Double,
    /// Bytes, base64 in JSON.
    Bytes,
    /// RFC 3339 to the second in UTC; `null` when zero.
    Time,
    /// RFC 3339 to the microsecond in UTC; `null` when zero.
    MicroTime,
    /// Go's duration text.
    Duration,
    /// A resource quantity.
    Quantity,
    /// An integer or a string.
    IntOrString,
    /// Any object of another schema.
    RawExtension,
    /// The set of owned fields.
    FieldsV1,
    /// Any JSON value.
    Json,
    /// Any value, in types without protobuf form.
    Any,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Unique scalars.
    Set,
    /// Objects identified by their keys.
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapType {
    /// Replaced as a whole.
    Atomic,
    /// Entry by entry.
    Granular,
}
