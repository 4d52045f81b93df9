//! Declared types: what expressions may do with a variable, and how large it can get.

use crate::escape::escape;
use crate::schema::{Form, Format, Schema};
use crate::types::Type;
use kaji_api::schema::{Scalar, Shape, TypeRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The type of a variable, with its fields and sizes.
#[derive(Clone, Debug)]
pub struct DeclType {
    ty: Type,
    /// By escaped name; objects only.
    fields: BTreeMap<String, Arc<DeclType>>,
    /// Of lists and maps.
    element: Option<Arc<DeclType>>,
    /// Most characters, bytes, items or entries.
    max_elements: u64,
    /// Fewest bytes in JSON.
    min_size: u64,
}

/// Largest request, in bytes: what sizes are estimated from where a schema gives no limits.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

impl DeclType {
    /// A type without parts that matter to sizes.
    pub fn simple(ty: Type) -> Self {
        let min_size = match &ty {
            Type::Bool => 4,
            Type::String | Type::Bytes | Type::List(_) | Type::Map(_) | Type::Object(_) => 2,
            Type::Duration => 3,
            Type::Timestamp => 12,
            Type::Null => 4,
            _ => 1,
        };
        DeclType { ty, fields: BTreeMap::new(), element: None, max_elements: 0, min_size }
    }

    /// A list.
    pub fn list(item: DeclType) -> Self {
        let max_elements = (MAX_REQUEST - 2) / (item.min_size + 1);
        DeclType::list_of(Arc::new(item), max_elements)
    }

    fn list_of(item: Arc<DeclType>, max_elements: u64) -> Self {
        let ty = Type::list(item.ty.clone());
        DeclType { max_elements, element: Some(item), ..DeclType::simple(ty) }
    }

    /// A map with strings as keys.
    pub fn map(value: DeclType) -> Self {
        let max_elements = (MAX_REQUEST - 2) / (value.min_size + 6);
        DeclType::map_of(Arc::new(value), max_elements)
    }

    fn map_of(value: Arc<DeclType>, max_elements: u64) -> Self {
        let ty = Type::map(Type::String, value.ty.clone());
        DeclType { max_elements, element: Some(value), ..DeclType::simple(ty) }
    }

    /// An object of a name with fields, named as expressions write them.
    pub fn object<'f>(name: &str, fields: impl IntoIterator<Item = (&'f str, DeclType)>) -> Self {
        let fields = fields.into_iter().map(|(name, ty)| (name.to_owned(), Arc::new(ty))).collect();
        DeclType { fields, ..DeclType::simple(Type::object(name)) }
    }

    /// A value of the type, or none.
    pub fn optional(inner: &DeclType) -> Self {
        DeclType { ty: Type::optional(inner.ty.clone()), element: Some(Arc::new(inner.clone())), ..inner.clone() }
    }

    /// The type that expressions see.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// The field of an object, by the name that expressions use.
    pub fn field(&self, name: &str) -> Option<&Arc<DeclType>> {
        self.fields.get(name)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &Arc<DeclType>> {
        self.fields.values()
    }

    /// Names of the fields of an object.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    pub(crate) fn element(&self) -> Option<&Arc<DeclType>> {
        self.element.as_ref()
    }

    /// Most characters, bytes, items or entries; 0 for what has no size.
    pub fn max_elements(&self) -> u64 {
        self.max_elements
    }

    /// Fewest bytes that a value takes in JSON.
    pub fn min_size(&self) -> u64 {
        self.min_size
    }

    /// The declared type of a schema; `None` where expressions cannot see such values. `name` is what objects below
    /// are called in errors.
    pub fn of_schema(schema: &Schema, name: &str) -> Option<Self> {
        match &schema.form {
            Form::IntOrString { max } => {
                let max_elements = max.map_or(MAX_REQUEST - 2, |m| count(m) * 4);
                Some(DeclType { max_elements, ..DeclType::simple(Type::Dyn) })
            }
            Form::Array { items, max, .. } => {
                let item = DeclType::of_schema(items.as_ref()?, &format!("{name}.@idx"))?;
                let most = max.map_or((MAX_REQUEST - 2) / (item.min_size + 1), count);
                Some(DeclType::list_of(Arc::new(item), most))
            }
            Form::Object { additional: Some(value), max, .. } => {
                let value = DeclType::of_schema(value, &format!("{name}.@elem"))?;
                let most = max.map_or((MAX_REQUEST - 2) / (value.min_size + 6), count);
                Some(DeclType::map_of(Arc::new(value), most))
            }
            Form::Object { properties, required, .. } => Some(struct_of(properties.as_ref(), required, name)),
            Form::String { format, max, longest } => Some(string_of(*format, *max, *longest)),
            Form::Bool => Some(DeclType::simple(Type::Bool)),
            Form::Number => Some(DeclType::simple(Type::Double)),
            Form::Integer => Some(DeclType::simple(Type::Int)),
            Form::Unknown => None,
        }
    }

    /// The declared type of a built-in (or compiled custom) type, called `name`.
    pub fn of_type(ty: TypeRef<'_>, name: &str) -> Self {
        object_of(ty, name, &mut Vec::new())
    }
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn struct_of(properties: Option<&BTreeMap<String, Arc<Schema>>>, required: &[String], name: &str) -> DeclType {
    let mut fields = BTreeMap::new();
    let mut min_size = 2;
    for (key, schema) in properties.into_iter().flatten() {
        let escaped = escape(key);
        let place = format!("{name}.{}", escaped.as_deref().unwrap_or(key));
        let Some(field) = DeclType::of_schema(schema, &place) else { continue };
        if required.contains(key) && !schema.has_default {
            min_size += key.len() as u64 + field.min_size + 4;
        }
        if let Some(escaped) = escaped {
            fields.insert(escaped.into_owned(), Arc::new(field));
        }
    }
    DeclType { fields, min_size, ..DeclType::simple(Type::object(name)) }
}

/// Sizes in bytes; upstream counts four for a character of a string with `maxLength`, one for a byte string.
fn string_of(format: Format, max: Option<i64>, longest: Option<usize>) -> DeclType {
    let (ty, max_elements, min_size) = match format {
        Format::Byte => (Type::Bytes, max.map_or(MAX_REQUEST - 2, count), 2),
        Format::Duration => (Type::Duration, 32, 3),
        Format::Date => (Type::Timestamp, 12, 12),
        Format::DateTime => (Type::Timestamp, 32, 21),
        Format::None => {
            let longest = longest.map_or(MAX_REQUEST - 2, |l| l as u64);
            (Type::String, max.map_or(longest, |m| count(m) * 4), 2)
        }
    };
    DeclType { max_elements, min_size, ..DeclType::simple(ty) }
}

/// Types being read, outermost first: one within itself is `dyn`.
type Within = Vec<u32>;

fn object_of(ty: TypeRef<'_>, name: &str, within: &mut Within) -> DeclType {
    if within.contains(&ty.id) {
        return DeclType::simple(Type::Dyn);
    }
    within.push(ty.id);
    let mut fields = BTreeMap::new();
    let mut min_size = 2;
    for field in ty.fields() {
        let Some(escaped) = escape(field.name()) else { continue };
        let Some(decl) = shape_of(field.shape(), &format!("{name}.{escaped}"), within) else { continue };
        if field.is_required() {
            min_size += field.name().len() as u64 + decl.min_size + 4;
        }
        fields.insert(escaped.into_owned(), Arc::new(decl));
    }
    within.pop();
    DeclType { fields, min_size, ..DeclType::simple(Type::object(name)) }
}

fn shape_of(shape: Shape<'_>, name: &str, within: &mut Within) -> Option<DeclType> {
    match shape {
        Shape::Scalar(scalar) => scalar_of(scalar, name),
        Shape::Struct(ty) => Some(object_of(ty, name, within)),
        // Has no type in the published schema.
        Shape::Either(..) => None,
        Shape::List(list) => Some(DeclType::list(shape_of(list.item(), &format!("{name}.@idx"), within)?)),
        Shape::Map(map) => Some(DeclType::map(shape_of(map.item(), &format!("{name}.@elem"), within)?)),
    }
}

fn scalar_of(scalar: Scalar, name: &str) -> Option<DeclType> {
    Some(match scalar {
        Scalar::String | Scalar::Quantity | Scalar::Duration => string_of(Format::None, None, None),
        Scalar::Bool => DeclType::simple(Type::Bool),
        Scalar::Int32 | Scalar::Int64 => DeclType::simple(Type::Int),
        Scalar::Double => DeclType::simple(Type::Double),
        Scalar::Bytes => string_of(Format::Byte, None, None),
        Scalar::Time | Scalar::MicroTime => string_of(Format::DateTime, None, None),
        Scalar::IntOrString => DeclType { max_elements: MAX_REQUEST - 2, ..DeclType::simple(Type::Dyn) },
        // Published as objects without properties.
        Scalar::RawExtension | Scalar::FieldsV1 => DeclType::simple(Type::object(name)),
        Scalar::Json | Scalar::Any => return None,
    })
}
