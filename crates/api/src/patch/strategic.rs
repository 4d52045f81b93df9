//! Strategic merge patch: how lists and objects merge is said by the schema, and by directives in the patch
//! (apimachinery `util/strategicpatch`).

use super::entries::Entries;
use super::list;
use crate::field::printed;
use crate::schema::{PatchStrategy, Scalar, Shape, TypeRef};
use crate::status::Status;
use crate::value::{Key, Object, Value};
use std::collections::HashSet;

/// Replaces or deletes the object that it stands in.
pub(super) const DIRECTIVE: &str = "$patch";
/// The fields that an object keeps.
const RETAIN_KEYS: &str = "$retainKeys";
/// Items to take out of a list of scalars.
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
/// The order of a list's items.
const ELEMENT_ORDER: &str = "$setElementOrder";

/// Why a strategic merge patch does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrategicPatchError {
    /// Lists of lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// `$deleteFromPrimitiveList` without a field's name.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$retainKeys` is no list, or not all that the patch sets is retained.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` without a field's name, or no list.
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    /// The patch's items stand in another order than `$setElementOrder` says.
    #[error("The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")]
    OrderMismatch {
        /// The items.
        patch: String,
        /// The order.
        order: String,
    },
    /// An item without the field that identifies it.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The item.
        item: String,
        /// The field.
        key: String,
    },
    /// Another kind of value than expected.
    #[error("expected a {expected}, but received a {found}")]
    Kind {
        /// As Go names it.
        expected: &'static str,
        /// As Go names it.
        found: &'static str,
    },
    /// Something else than an object among objects.
    #[error("value for key {0} is not a map")]
    ItemNotMap(usize),
    /// `$patch` is no known directive.
    #[error("unknown patch type: {directive} in map: {map}")]
    UnknownDirective {
        /// The directive.
        directive: String,
        /// Where it stands.
        map: String,
    },
    /// `$patch: merge` in a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeDirective,
    /// Items of several kinds.
    #[error("list element types are not identical: {0}")]
    MixedItems(String),
    /// No items to tell the kind from.
    #[error("no elements in any of the given slices")]
    NoItems,
    /// Objects in a list that has no merge key.
    #[error("cannot merge lists without merge key for {0}")]
    NoKeyDeclared(&'static str),
    /// A field that the type doesn't have.
    #[error("unable to find api field in struct {ty} for the json field \"{field}\"")]
    UnknownField {
        /// The type.
        ty: String,
        /// The field.
        field: String,
    },
    /// Objects below something that has no fields.
    #[error("merging an object in json but data type is not struct, instead is: {0}")]
    NotStruct(&'static str),
    /// A list where the type has none.
    #[error("expected slice or array type, but got: struct")]
    NotList,
    /// A list of lists in the type.
    #[error("unexpected slice of slice")]
    NestedList,
}

/// `application/strategic-merge-patch+json` with `$patch`, `$retainKeys`, `$setElementOrder/…`,
/// `$deleteFromPrimitiveList/…`.
pub fn strategic_merge_patch(ty: TypeRef<'_>, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch.clone() else {
        let found = if matches!(patch, Value::Array(_)) { "array" } else { list::json_kind(patch) };
        let text = "into Go value of type map[string]interface {}";
        return Err(Status::bad_request(format!("json: cannot unmarshal {found} {text}")));
    };
    let original = match std::mem::take(target) {
        Value::Object(o) => o,
        _ => Object::default(),
    };
    *target = Value::Object(merge(original, patch, Shape::Struct(ty))?);
    Ok(())
}

impl From<StrategicPatchError> for Status {
    /// 400 for what is no patch, 422 for what cannot be; upstream's other errors are 500.
    fn from(e: StrategicPatchError) -> Self {
        use StrategicPatchError::{ElementOrder, ListOfLists, PrimitiveList, RetainKeys};
        match e {
            ElementOrder | PrimitiveList | RetainKeys => Status::bad_request(e.to_string()),
            ListOfLists => Status::rejected(),
            other => Status::new(500, "", other.to_string()),
        }
    }
}

/// How a field merges: its shape, its strategy, its items' identifying field.
pub(super) struct Meta<'a> {
    pub(super) shape: Shape<'a>,
    pub(super) strategy: PatchStrategy,
    pub(super) key: Option<&'a str>,
}

/// What the schema says of a field.
fn lookup<'a>(shape: Shape<'a>, name: &str) -> Result<Meta<'a>, StrategicPatchError> {
    let unknown = |ty: &str| StrategicPatchError::UnknownField { ty: ty.to_owned(), field: name.to_owned() };
    let ty = match shape {
        Shape::Struct(ty) => ty,
        Shape::Either(ty, _) => return Err(unknown(ty.short_name())),
        Shape::Scalar(scalar) => match go_kind(scalar) {
            Ok(kind) => return Err(StrategicPatchError::NotStruct(kind)),
            Err(name) => return Err(unknown(name)),
        },
        Shape::List(_) => return Err(StrategicPatchError::NotStruct("slice")),
        Shape::Map(_) => return Err(StrategicPatchError::NotStruct("map")),
    };
    let field = ty.field(name).or_else(|| ty.fields().find(|f| f.name().eq_ignore_ascii_case(name)));
    let field = field.ok_or_else(|| unknown(ty.short_name()))?;
    Ok(Meta { shape: field.shape(), strategy: field.patch_strategy(), key: field.patch_merge_key() })
}

/// The same for a list: the shape is that of its items.
fn lookup_list<'a>(shape: Shape<'a>, name: &str) -> Result<Meta<'a>, StrategicPatchError> {
    let meta = lookup(shape, name)?;
    match meta.shape {
        Shape::List(list) if matches!(list.item(), Shape::List(_)) => Err(StrategicPatchError::NestedList),
        Shape::List(list) => Ok(Meta { shape: list.item(), ..meta }),
        _ => Err(StrategicPatchError::NotList),
    }
}

/// Go's kind of a scalar, or its name where it is a struct.
fn go_kind(scalar: Scalar) -> Result<&'static str, &'static str> {
    match scalar {
        Scalar::String => Ok("string"),
        Scalar::Bool => Ok("bool"),
        Scalar::Int32 => Ok("int32"),
        Scalar::Int64 => Ok("int64"),
        Scalar::Double => Ok("float64"),
        Scalar::Bytes => Ok("slice"),
        Scalar::Any => Ok("interface"),
        Scalar::Time => Err("Time"),
        Scalar::MicroTime => Err("MicroTime"),
        Scalar::Duration => Err("Duration"),
        Scalar::Quantity => Err("Quantity"),
        Scalar::IntOrString => Err("IntOrString"),
        Scalar::RawExtension => Err("RawExtension"),
        Scalar::FieldsV1 => Err("FieldsV1"),
        Scalar::Json => Err("JSON"),
    }
}

/// Merges a patch into an object.
pub(super) fn merge(mut original: Object, mut patch: Object, shape: Shape<'_>) -> Result<Object, StrategicPatchError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.str() {
            "replace" => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            "delete" => Ok(Object::default()),
            _ => Err(unknown_directive(&directive.clone(), patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_order(&mut original, &mut patch, shape)?;
    let mut original = Entries::of(original, patch.len());
    for (name, new) in patch.0 {
        if name.starts_with(DELETE_FROM) {
            let name = below(&name, DELETE_FROM).ok_or(StrategicPatchError::PrimitiveList)?;
            delete_from(&mut original, name, new, shape)?;
        } else if new.is_null() {
            original.remove(&name);
        } else {
            merge_field(&mut original, name, new, shape)?;
        }
    }
    Ok(original.into_object())
}

pub(super) fn unknown_directive(directive: &Value, map: Object) -> StrategicPatchError {
    StrategicPatchError::UnknownDirective { directive: printed(directive), map: printed(&Value::Object(map)) }
}

/// The field's name in a directive such as `$setElementOrder/containers`.
fn below<'a>(name: &'a str, directive: &str) -> Option<&'a str> {
    name.strip_prefix(directive)?.strip_prefix('/')
}

fn merge_field(original: &mut Entries, name: Key, new: Value, shape: Shape<'_>) -> Result<(), StrategicPatchError> {
    let place = original.get_mut(&name);
    let merged = match (place.map(std::mem::take), new) {
        (Some(Value::Object(old)), Value::Object(new)) => {
            let meta = lookup(shape, &name)?;
            Some(Value::Object(if meta.strategy.replace { new } else { merge(old, new, meta.shape)? }))
        }
        (Some(Value::Array(old)), Value::Array(new)) => {
            let meta = lookup_list(shape, &name)?;
            Some(Value::Array(if meta.strategy.merge { list::merge(old, new, &meta)? } else { new }))
        }
        // Nothing to merge with: taken without its nulls and directives.
        (_, mut new) => {
            discard_nulls(&mut new);
            without_directives(new)
        }
    };
    match merged {
        Some(value) => original.put(name, value),
        None => original.remove(&name),
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/name`: nothing happens where there is no such list.
fn delete_from(original: &mut Entries, name: &str, gone: Value, shape: Shape<'_>) -> Result<(), StrategicPatchError> {
    if gone.is_null() {
        original.remove(name);
        return Ok(());
    }
    if let (Some(Value::Array(old)), Value::Array(gone)) = (original.get_mut(name), gone) {
        let meta = lookup_list(shape, name)?;
        *old = list::delete(std::mem::take(old), gone, &meta)?;
    }
    Ok(())
}

/// `$retainKeys`: fields that it doesn't name go, and the patch may set no others.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), StrategicPatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(StrategicPatchError::RetainKeys) };
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let kept = |name: &str| keys.contains(name);
    let free =
        |name: &str, new: &Value| new.is_null() || name.starts_with(DELETE_FROM) || name.starts_with(ELEMENT_ORDER);
    if !patch.0.iter().all(|(name, new)| free(name, new) || kept(name)) {
        return Err(StrategicPatchError::RetainKeys);
    }
    original.0.retain(|(name, _)| kept(name));
    Ok(())
}

/// `$setElementOrder/name`: merges those lists and brings their items into order.
fn set_order(original: &mut Object, patch: &mut Object, shape: Shape<'_>) -> Result<(), StrategicPatchError> {
    let directives: Vec<_> = patch.0.iter().map(|(k, _)| k).filter(|k| k.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let order = list::array(patch.remove(&directive).unwrap_or_default())?;
        let name = below(&directive, ELEMENT_ORDER).ok_or(StrategicPatchError::ElementOrder)?;
        let old = original.get(name).cloned().map(list::array).transpose()?;
        let new = patch.get(name).cloned().map(list::array).transpose()?;
        let meta = lookup_list(shape, name)?;
        if let Some(ordered) = list::merge_ordered(old, new, order, &meta)? {
            *original.entry(name.to_owned().into()) = Value::Array(ordered);
            patch.remove(name);
        }
    }
    Ok(())
}

/// Takes null fields out, at any depth.
fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(o) => {
            o.0.retain(|(_, v)| !v.is_null());
            o.0.iter_mut().for_each(|(_, v)| discard_nulls(v));
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// Without objects that hold `$patch`, at any depth; none where it holds one itself.
pub(super) fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(o) if o.get(DIRECTIVE).is_some() => None,
        Value::Object(o) => {
            let kept = o.0.into_iter().filter_map(|(k, v)| Some((k, without_directives(v)?)));
            Some(Value::Object(Object(kept.collect())))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}
