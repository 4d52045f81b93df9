//! Schemas made at run time: what CustomResourceDefinitions compile to.

use super::names;
use super::tables::{
    DefaultDef, FieldDef, FlatDef, ListType, Literal, MapType, Name, NoteDef, Scalar, Schema, ShapeDef, Span, TypeDef,
    TypeForm, field_flag, type_flag,
};
use super::view::TypeRef;
use crate::value::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// The notes that every builder begins with.
const PLAIN: u16 = 0;
const NULLABLE: u16 = 1;

/// Gathers types of custom resources. Types may refer to each other before their fields are known.
#[derive(Default)]
pub struct Builder {
    types: Vec<TypeDef>,
    fields: Vec<FieldDef>,
    flat: Vec<FlatDef>,
    shapes: Vec<ShapeDef>,
    known: HashMap<ShapeDef, u16>,
    words: Vec<Name>,
    notes: Vec<NoteDef>,
    defaults: Vec<DefaultDef>,
}

/// A type of a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(u32);

/// A shape of a builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeId(u16);

/// A field of a custom resource.
#[derive(Clone, Debug)]
pub struct CustomField {
    /// JSON name.
    pub name: String,
    /// What its values look like.
    pub shape: ShapeId,
    /// In the required list.
    pub required: bool,
    /// `null` is a value.
    pub nullable: bool,
    /// Filled in where absent.
    pub default: Option<Value>,
}

/// The items of a list, or the values of a map.
#[derive(Clone, Debug)]
pub struct CustomItems {
    /// What they look like.
    pub shape: ShapeId,
    /// `null` is a value.
    pub nullable: bool,
    /// Takes the place of `null` where that is no value.
    pub default: Option<Value>,
}

impl CustomItems {
    /// Items that say nothing about `null`.
    pub fn of(shape: ShapeId) -> Self {
        CustomItems { shape, nullable: false, default: None }
    }
}

impl Builder {
    /// As many lists, maps and objects as a schema can tell apart.
    pub const MAX_SHAPES: usize = 60_000;

    /// Nothing yet.
    pub fn new() -> Self {
        let nullable = NoteDef { nullable: true, ..NoteDef::default() };
        Builder { notes: vec![NoteDef::default(), nullable], ..Builder::default() }
    }

    /// A new type without fields. An open one keeps fields it does not know; an atomic one is applied as one unit.
    pub fn add_type(&mut self, name: impl Into<String>, open: bool, atomic: bool) -> TypeId {
        let id = narrow(self.types.len());
        self.types.push(TypeDef {
            name: Cow::Owned(name.into()),
            form: if open { TypeForm::CustomOpen } else { TypeForm::Custom },
            flags: type_flag::NO_PROTO | if atomic { type_flag::ATOMIC } else { 0 },
            fields: Span::default(),
            flat: Span::default(),
            wire: Span::default(),
            musts: Span::default(),
            defaults: Span::default(),
            kinds: Span::default(),
            lifecycle: Span::default(),
        });
        TypeId(id)
    }

    /// Gives a type its fields. Those that are there already stay unused.
    pub fn set_fields(&mut self, id: TypeId, mut fields: Vec<CustomField>) {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let (first_field, first_flat) = (self.fields.len(), self.flat.len());
        let first_default = self.defaults.len();
        for (place, field) in fields.iter().enumerate() {
            let name: Name = names::intern(&field.name);
            let mut flags = field_flag::POINTER;
            flags |= if field.required { field_flag::REQUIRED } else { 0 };
            flags |= if field.nullable { field_flag::NULLABLE } else { 0 };
            flags |= if field.default.is_some() { field_flag::FILLED } else { 0 };
            self.flat.push(FlatDef { name: name.clone(), field: narrow(self.fields.len()) });
            let place = u16::try_from(place).expect("types have fewer than 65536 fields");
            self.fields.push(FieldDef { name: name.clone(), number: 0, flags, shape: field.shape.0, note: 0, place });
            if let Some(default) = &field.default {
                let path = self.words([name]);
                self.defaults.push(DefaultDef { path, value: Literal::Value(Box::new(default.clone())) });
            }
        }
        let defaults = span(first_default, self.defaults.len());
        let ty = &mut self.types[id.0 as usize];
        ty.fields = span(first_field, self.fields.len());
        ty.flat = span(first_flat, self.flat.len());
        ty.defaults = defaults;
    }

    /// Says what kind a type is.
    pub fn set_kind(&mut self, id: TypeId, group: &str, version: &str, kind: &str) {
        let kinds = self.words([group, version, kind].map(|w| Cow::Owned(w.to_owned())));
        self.types[id.0 as usize].kinds = kinds;
    }

    /// A value without parts.
    pub fn scalar(&mut self, scalar: Scalar) -> ShapeId {
        self.shape(ShapeDef::Scalar(scalar))
    }

    /// An object of a type of this builder.
    pub fn object(&mut self, id: TypeId) -> ShapeId {
        self.shape(ShapeDef::Struct(id.0))
    }

    /// An object of a built-in type, such as `ObjectMeta`.
    pub fn built_in(&mut self, ty: TypeRef<'static>) -> ShapeId {
        self.shape(ShapeDef::BuiltIn(ty.id))
    }

    /// A list.
    pub fn list(&mut self, items: CustomItems, kind: Option<ListType>, keys: &[&str]) -> ShapeId {
        let keys = if keys.is_empty() { Span::default() } else { self.words(keys.iter().map(|k| names::intern(k))) };
        let (item, note) = (items.shape.0, self.note(items));
        self.shape(ShapeDef::List { item, kind, keys, note })
    }

    /// A map.
    pub fn map(&mut self, items: CustomItems, kind: Option<MapType>) -> ShapeId {
        let (item, note) = (items.shape.0, self.note(items));
        self.shape(ShapeDef::Map { item, kind, note })
    }

    /// What is to be said about items: mostly nothing, or that they may be `null`.
    fn note(&mut self, items: CustomItems) -> u16 {
        match (items.nullable, items.default) {
            (false, None) => PLAIN,
            (true, None) => NULLABLE,
            (nullable, Some(default)) => {
                let declared = Some(Literal::Value(Box::new(default)));
                self.notes.push(NoteDef { declared, nullable, ..NoteDef::default() });
                u16::try_from(self.notes.len() - 1).expect("fewer notes than shapes")
            }
        }
    }

    fn shape(&mut self, shape: ShapeDef) -> ShapeId {
        let next = self.shapes.len();
        let id = *self.known.entry(shape).or_insert_with(|| {
            self.shapes.push(shape);
            u16::try_from(next).expect("a definition has at most MAX_SHAPES shapes")
        });
        ShapeId(id)
    }

    fn words(&mut self, words: impl IntoIterator<Item = Name>) -> Span {
        let start = self.words.len();
        self.words.extend(words);
        span(start, self.words.len())
    }

    /// The schema, whole.
    pub fn build(mut self) -> Schema {
        self.mark_defaulted();
        Schema {
            types: self.types.into(),
            fields: self.fields.into(),
            flat: self.flat.into(),
            wire: Cow::Borrowed(&[]),
            musts: Cow::Borrowed(&[]),
            shapes: self.shapes.into(),
            words: self.words.into(),
            notes: self.notes.into(),
            defaults: self.defaults.into(),
        }
    }

    /// Marks the types with defaults in them or below.
    fn mark_defaulted(&mut self) {
        for ty in self.types.iter_mut().filter(|t| t.defaults.len > 0) {
            ty.flags |= type_flag::DEFAULTED;
        }
        loop {
            let marks: Vec<bool> = self.types.iter().map(|t| self.is_defaulted(t)).collect();
            let mut more = false;
            for (ty, _) in self.types.iter_mut().zip(marks).filter(|(_, mark)| *mark) {
                more |= ty.flags & type_flag::DEFAULTED == 0;
                ty.flags |= type_flag::DEFAULTED;
            }
            if !more {
                return;
            }
        }
    }

    fn is_defaulted(&self, ty: &TypeDef) -> bool {
        ty.flags & type_flag::DEFAULTED != 0
            || self.fields[ty.fields.range()].iter().any(|f| self.holds_defaults(f.shape))
    }

    fn holds_defaults(&self, shape: u16) -> bool {
        match self.shapes[usize::from(shape)] {
            ShapeDef::Struct(id) => self.types[id as usize].flags & type_flag::DEFAULTED != 0,
            ShapeDef::List { item, note, .. } | ShapeDef::Map { item, note, .. } => {
                self.notes[usize::from(note)].declared.is_some() || self.holds_defaults(item)
            }
            ShapeDef::Scalar(_) | ShapeDef::BuiltIn(_) => false,
        }
    }
}

impl Schema {
    /// A type of a schema that a builder made.
    pub fn of(&self, id: TypeId) -> TypeRef<'_> {
        TypeRef { schema: self, id: id.0 }
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a definition has fewer than 2^32 parts")
}

fn span(start: usize, end: usize) -> Span {
    let len = u16::try_from(end - start).expect("a type has fewer than 65536 parts");
    Span { start: narrow(start), len }
}
