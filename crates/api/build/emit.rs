//! Tables as Rust source: flat arrays of constants.

use crate::link::{Note, ResourceRow, Span, Tables};
use std::fmt::Write;

/// The whole file.
pub(crate) fn emit(t: &Tables) -> String {
    let mut out = String::with_capacity(1 << 20);
    out.push_str(HELPERS);
    array(&mut out, "WORDS", "Name", t.words.iter().map(|w| format!("b({w:?})")));
    array(&mut out, "SHAPES", "ShapeDef", t.shapes.iter().cloned());
    array(&mut out, "NOTES", "NoteDef", t.notes.iter().map(note));
    array(
        &mut out,
        "DEFAULTS",
        "DefaultDef",
        t.defaults.iter().map(|(path, value)| format!("DefaultDef {{ path: {}, value: {value} }}", span(*path))),
    );
    array(
        &mut out,
        "FIELDS",
        "FieldDef",
        t.fields.iter().map(|f| format!("f({:?},{},{},{},{},{})", f.name, f.number, f.flags, f.shape, f.note, f.place)),
    );
    array(&mut out, "FLAT", "FlatDef", t.flat.iter().map(|(name, field)| format!("j({name:?},{field})")));
    array(&mut out, "WIRE", "u32", t.wire.iter().map(ToString::to_string));
    array(&mut out, "MUSTS", "u16", t.musts.iter().map(ToString::to_string));
    array(
        &mut out,
        "TYPES",
        "TypeDef",
        t.types.iter().map(|y| {
            format!(
                "t({:?},TypeForm::{},{},[{},{},{},{},{},{},{}])",
                y.name,
                y.form,
                y.flags,
                span(y.fields),
                span(y.flat),
                span(y.wire),
                span(y.defaults),
                span(y.kinds),
                span(y.lifecycle),
                span(y.musts)
            )
        }),
    );
    array(
        &mut out,
        "KINDS",
        "(&str, &str, &str, u32)",
        t.kinds.iter().map(|([g, v, k], id)| format!("({g:?},{v:?},{k:?},{id})")),
    );
    array(&mut out, "COMMON_KINDS", "(&str, u32)", t.common.iter().map(|(k, id)| format!("({k:?},{id})")));
    let mut by_name: Vec<usize> = (0..t.types.len()).collect();
    by_name.sort_by(|a, b| t.types[*a].name.cmp(&t.types[*b].name));
    array(&mut out, "BY_NAME", "u32", by_name.iter().map(ToString::to_string));
    array(&mut out, "RESOURCES", "ResourceDef", t.resources.iter().map(resource));
    let mut by_plural: Vec<usize> = (0..t.resources.len()).collect();
    let key = |i: &usize| {
        let r = &t.resources[*i];
        (r.plural.clone(), r.group.clone(), r.version.clone())
    };
    by_plural.sort_by_key(key);
    array(&mut out, "BY_PLURAL", "u16", by_plural.iter().map(ToString::to_string));
    array(
        &mut out,
        "GROUPS",
        "GroupDef",
        t.groups.iter().map(|(name, priority, versions)| {
            let versions: Vec<String> = versions
                .iter()
                .map(|(v, p, on)| format!("VersionDef {{ name: {v:?}, enabled: {on}, priority: {p} }}"))
                .collect();
            format!("GroupDef {{ name: {name:?}, priority: {priority}, versions: &[{}] }}", versions.join(","))
        }),
    );
    out
}

const HELPERS: &str = "\
const fn b(s: &'static str) -> Name { Cow::Borrowed(s) }
const fn l(words: &'static [&'static str]) -> Cow<'static, [&'static str]> { Cow::Borrowed(words) }
const fn s(start: u32, len: u16) -> Span { Span { start, len } }
const fn j(name: &'static str, field: u32) -> FlatDef { FlatDef { name: b(name), field } }
const fn f(name: &'static str, number: u16, flags: u16, shape: u16, note: u16, place: u16) -> FieldDef {
    FieldDef { name: b(name), number, flags, shape, note, place }
}
const fn t(name: &'static str, form: TypeForm, flags: u16, p: [Span; 7]) -> TypeDef {
    TypeDef { name: b(name), form, flags, fields: p[0], flat: p[1], wire: p[2], defaults: p[3], kinds: p[4],
        lifecycle: p[5], musts: p[6] }
}
pub(super) static SCHEMA: Schema = Schema {
    types: Cow::Borrowed(TYPES), fields: Cow::Borrowed(FIELDS), flat: Cow::Borrowed(FLAT), wire: Cow::Borrowed(WIRE), musts: Cow::Borrowed(MUSTS),
    shapes: Cow::Borrowed(SHAPES), words: Cow::Borrowed(WORDS), notes: Cow::Borrowed(NOTES),
    defaults: Cow::Borrowed(DEFAULTS),
};
";

fn array(out: &mut String, name: &str, ty: &str, rows: impl Iterator<Item = String>) {
    let _ = writeln!(out, "pub(super) static {name}: &[{ty}] = &[");
    for row in rows {
        out.push_str(&row);
        out.push_str(",\n");
    }
    out.push_str("];\n");
}

fn span(s: Span) -> String {
    format!("s({},{})", s.0, s.1)
}

fn note(n: &Note) -> String {
    let declared = if n.declared.is_empty() { "None".to_owned() } else { format!("Some({})", n.declared) };
    format!(
        "NoteDef {{ values: {}, gates: {}, merge_key: {}, one_of: {}, declared: {declared}, nullable: false }}",
        span(n.values),
        span(n.gates),
        span(n.merge_key),
        span(n.one_of)
    )
}

fn resource(r: &ResourceRow) -> String {
    let sub: Vec<String> = r
        .sub
        .iter()
        .map(|(name, [g, v, k], verbs)| {
            format!("SubresourceDef {{ name: {name:?}, group: {g:?}, version: {v:?}, kind: {k:?}, verbs: &{verbs:?} }}")
        })
        .collect();
    let [sg, sv, sk] = &r.storage;
    format!(
        "ResourceDef {{ group: {:?}, version: {:?}, plural: {:?}, singular: {:?}, kind: {:?}, namespaced: {}, \
         short: l(&{:?}), categories: l(&{:?}), verbs: &{:?}, enabled: {}, storage: ({sg:?}, {sv:?}, {sk:?}), prefix: {:?}, \
         field_selectors: l(&{:?}), sub: Cow::Borrowed(&[{}]), storage_hash: {:?}, ty: Some(TypeRef {{ schema: &SCHEMA, id: {} }}) }}",
        r.group,
        r.version,
        r.plural,
        r.singular,
        r.kind,
        r.namespaced,
        r.short,
        r.categories,
        r.verbs,
        r.enabled,
        r.prefix,
        r.selects,
        sub.join(","),
        r.hash,
        r.ty
    )
}
