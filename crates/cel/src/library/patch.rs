//! What mutating policies have on top.

use super::Sig::String as Str;
use super::{Function, function, global, str_of};
use crate::value::Val;

pub(crate) const FUNCTIONS: &[Function] = &[function(
    "jsonpatch.escapeKey",
    &[global("string_jsonpatch_escapeKey_string", &[Str], Str, |a| {
        Ok(Val::from(str_of(&a[0])?.replace('~', "~0").replace('/', "~1")))
    })],
)];
