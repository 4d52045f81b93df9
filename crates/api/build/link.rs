//! Schema text to tables: names become indices.

use crate::text::{Field, Resource, Source, Type, arguments, gvk};
use std::collections::HashMap;

/// A range of a table.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Span(pub(crate) usize, pub(crate) usize);

#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) types: Vec<TypeRow>,
    pub(crate) fields: Vec<FieldRow>,
    pub(crate) flat: Vec<(String, usize)>,
    pub(crate) wire: Vec<usize>,
    pub(crate) musts: Vec<usize>,
    /// Rust expressions.
    pub(crate) shapes: Vec<String>,
    pub(crate) notes: Vec<Note>,
    /// Path and constant (a Rust expression).
    pub(crate) defaults: Vec<(Span, String)>,
    pub(crate) words: Vec<String>,
    pub(crate) kinds: Vec<([String; 3], usize)>,
    /// Kinds of every group version.
    pub(crate) common: Vec<(String, usize)>,
    pub(crate) resources: Vec<ResourceRow>,
    pub(crate) groups: Vec<crate::link::GroupRow>,
    shape_ids: HashMap<String, usize>,
    word_ids: HashMap<Vec<String>, Span>,
}

pub(crate) struct TypeRow {
    pub(crate) name: String,
    pub(crate) form: &'static str,
    pub(crate) flags: u16,
    pub(crate) fields: Span,
    pub(crate) flat: Span,
    pub(crate) wire: Span,
    pub(crate) musts: Span,
    pub(crate) defaults: Span,
    pub(crate) kinds: Span,
    pub(crate) lifecycle: Span,
}

pub(crate) struct FieldRow {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) flags: u16,
    pub(crate) shape: usize,
    pub(crate) note: usize,
    pub(crate) place: usize,
    /// Written even when absent.
    pub(crate) must: bool,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) values: Span,
    pub(crate) gates: Span,
    pub(crate) merge_key: Span,
    pub(crate) one_of: Span,
    /// A Rust expression.
    pub(crate) declared: String,
}

pub(crate) struct ResourceRow {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) singular: String,
    pub(crate) namespaced: bool,
    pub(crate) short: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) verbs: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) storage: [String; 3],
    pub(crate) prefix: String,
    pub(crate) selects: Vec<String>,
    pub(crate) hash: String,
    pub(crate) ty: usize,
    /// Name, group, version, kind, verbs.
    pub(crate) sub: Vec<(String, [String; 3], Vec<String>)>,
}

pub(crate) type GroupRow = (String, i32, Vec<(String, i32, bool)>);

const ALL_VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Looks up all names.
pub(crate) fn link(source: &Source) -> Result<Tables, String> {
    let mut t = Tables::default();
    t.notes.push(Note::default());
    let names = Names::of(source);
    for ty in &source.types {
        t.add_type(source, &names, ty).map_err(|why| format!("{} {}: {why}", ty.file, ty.name))?;
    }
    t.mark_defaulted(source, &names)?;
    t.kinds.sort();
    for group in &source.groups {
        t.groups.push((group.name.clone(), group.priority, group.versions.clone()));
        for version in &group.versions {
            for r in source.resources.iter().filter(|r| r.group == group.name && r.version == version.0) {
                let row = resource(&names, r).map_err(|why| format!("{} {}: {why}", r.file, r.words[0]))?;
                t.resources.push(row);
            }
        }
    }
    if t.resources.len() != source.resources.len() {
        return Err("a resource's group is missing in groups.kaji".into());
    }
    Ok(t)
}

/// Types by file and name.
struct Names<'a>(HashMap<(&'a str, &'a str), usize>);

impl<'a> Names<'a> {
    fn of(source: &'a Source) -> Self {
        Names(source.types.iter().enumerate().map(|(id, t)| ((t.file.as_str(), t.name.as_str()), id)).collect())
    }

    /// A bare name is of the same file or of `meta.v1`.
    fn find(&self, file: &str, name: &str) -> Result<usize, String> {
        let found = match name.rsplit_once('.') {
            Some((other, name)) => self.0.get(&(other, name)),
            None => self.0.get(&(file, name)).or_else(|| self.0.get(&("meta.v1", name))),
        };
        found.copied().ok_or_else(|| format!("no type {name}"))
    }
}

fn scalar(name: &str) -> Option<&'static str> {
    Some(match name {
        "string" => "String",
        "bool" => "Bool",
        "int32" => "Int32",
        "int64" => "Int64",
        "double" => "Double",
        "bytes" => "Bytes",
        "time" => "Time",
        "microTime" => "MicroTime",
        "duration" => "Duration",
        "quantity" => "Quantity",
        "intOrString" => "IntOrString",
        "rawExtension" => "RawExtension",
        "fieldsV1" => "FieldsV1",
        "json" => "Json",
        "any" => "Any",
        _ => return None,
    })
}

impl Tables {
    fn words(&mut self, words: Vec<String>) -> Span {
        if words.is_empty() {
            return Span::default();
        }
        if let Some(span) = self.word_ids.get(&words) {
            return *span;
        }
        let span = Span(self.words.len(), words.len());
        self.words.extend(words.iter().cloned());
        self.word_ids.insert(words, span);
        span
    }

    fn shape(&mut self, expression: String) -> usize {
        *self.shape_ids.entry(expression).or_insert_with_key(|e| {
            self.shapes.push(e.clone());
            self.shapes.len() - 1
        })
    }

    fn add_type(&mut self, source: &Source, names: &Names, ty: &Type) -> Result<(), String> {
        let id = self.types.len();
        let start = self.fields.len();
        for f in &ty.fields {
            let row = self.field(source, names, &ty.file, f).map_err(|why| format!("{}: {why}", f.name))?;
            self.fields.push(row);
        }
        let fields = Span(start, ty.fields.len());
        let wire = self.wire(ty, start);
        let (flat, musts) = self.flat(source, names, ty, start)?;
        let defaults = self.defaults(ty)?;
        let kinds = self.words(ty.kinds.iter().flatten().cloned().collect());
        self.kinds.extend(ty.kinds.iter().map(|k| (k.clone(), id)));
        let (mut flags, mut form, mut life) = (0, "Struct", vec![]);
        for word in &ty.words {
            match word.as_str() {
                "atomic" => flags |= 1,
                "deprecated" => flags |= 2,
                "unpublished" => flags |= 4,
                "everywhere" => flags |= 16,
                "noproto" => flags |= 32,
                "union" => flags |= 64,
                "wrapped" => form = "Wrapped",
                "or=list" => form = "OrList",
                "or=bool" => form = "OrBool",
                "or=strings" => form = "OrStrings",
                other => match other.split_once('=') {
                    Some(("since" | "deprecated" | "removed", release)) => {
                        life.extend([other.split('=').next().unwrap_or_default().to_owned(), release.to_owned()]);
                    }
                    Some(("instead", kind)) => life.extend(["instead".to_owned(), kind.to_owned()]),
                    Some(("as", _)) => {}
                    _ => return Err(format!("{other} says nothing about a type")),
                },
            }
        }
        if flags & 16 != 0 {
            self.common.push((ty.name.clone(), id));
        }
        let lifecycle = self.words(life);
        let name = format!("{}.{}", ty.package, ty.name);
        self.types.push(TypeRow { name, form, flags, fields, flat, wire, musts, defaults, kinds, lifecycle });
        Ok(())
    }

    fn wire(&mut self, ty: &Type, start: usize) -> Span {
        let mut numbered: Vec<(u16, usize)> =
            ty.fields.iter().enumerate().filter(|(_, f)| f.number > 0).map(|(i, f)| (f.number, start + i)).collect();
        numbered.sort_unstable();
        let span = Span(self.wire.len(), numbered.len());
        self.wire.extend(numbered.into_iter().map(|(_, id)| id));
        span
    }

    /// JSON fields; those of inline types are found in the source, since the type may come later. Their rows are
    /// copied here, so that each type's JSON fields can be told by index alone.
    fn flat(&mut self, source: &Source, names: &Names, ty: &Type, start: usize) -> Result<(Span, Span), String> {
        let mut rows = vec![];
        for (i, f) in ty.fields.iter().enumerate() {
            self.fields[start + i].place = rows.len();
            if f.inline {
                self.spread(source, names, &ty.file, &f.ty, &mut rows)?;
            } else if !f.proto_only {
                rows.push((f.name.clone(), start + i));
            }
        }
        let musts = rows.iter().enumerate().filter(|(_, (_, id))| self.fields[*id].must).map(|(i, _)| i);
        let must_span = Span(self.musts.len(), musts.clone().count());
        self.musts.extend(musts);
        let span = Span(self.flat.len(), rows.len());
        self.flat.extend(rows);
        Ok((span, must_span))
    }

    fn spread(
        &mut self,
        source: &Source,
        names: &Names,
        file: &str,
        name: &str,
        rows: &mut Vec<(String, usize)>,
    ) -> Result<(), String> {
        let inner = &source.types[names.find(file, name)?];
        for f in &inner.fields {
            if f.inline {
                self.spread(source, names, &inner.file, &f.ty, rows)?;
            } else if !f.proto_only {
                let row = self.field(source, names, &inner.file, f)?;
                self.fields.push(row);
                rows.push((f.name.clone(), self.fields.len() - 1));
            }
        }
        Ok(())
    }

    fn defaults(&mut self, ty: &Type) -> Result<Span, String> {
        let start = self.defaults.len();
        let of_fields =
            ty.fields.iter().filter_map(|f| Some((f.name.clone(), f.declared.as_ref().or(f.filled.as_ref())?.clone())));
        for (path, value) in of_fields.chain(ty.defaults.iter().cloned()).collect::<Vec<_>>() {
            let steps = path.replace("[]", ".[]").split('.').map(str::to_owned).collect();
            let path = self.words(steps);
            self.defaults.push((path, literal(&value)?));
        }
        Ok(Span(start, self.defaults.len() - start))
    }

    fn field(&mut self, source: &Source, names: &Names, file: &str, f: &Field) -> Result<FieldRow, String> {
        let mut list = None;
        let mut map = "None";
        let mut keys = vec![];
        let mut note = Note::default();
        let mut flags = u16::from(f.pointer) | u16::from(f.required) << 1 | u16::from(f.required) << 2;
        flags |= u16::from(f.inline) << 4 | u16::from(f.proto_only) << 5;
        for word in &f.words {
            let arguments = arguments(word);
            match word.split('(').next().unwrap_or_default() {
                "always" => flags |= 4,
                "omit" => flags &= !4,
                "omitzero" => flags |= 8,
                "deprecated" => flags |= 64,
                "merge" => {
                    flags |= 128;
                    note.merge_key = self.words(arguments);
                }
                "key" => note.merge_key = self.words(arguments),
                "retainKeys" => flags |= 256,
                "replace" => flags |= 512,
                "granular" => {
                    flags |= 1024;
                    map = "Some(MapType::Granular)";
                }
                "discriminator" => flags |= 2048,
                "oneOf" => note.one_of = self.words(arguments),
                "zeroOrOneOf" => {
                    flags |= 4096;
                    note.one_of = self.words(arguments);
                }
                "gate" => note.gates = self.words(arguments),
                "enum" => note.values = self.words(arguments),
                "known" => {
                    flags |= 16384;
                    note.values = self.words(arguments);
                }
                "atomic" => {
                    list = Some("Atomic");
                    map = "Some(MapType::Atomic)";
                }
                "set" => list = Some("Set"),
                "map" => {
                    list = Some("Map");
                    keys = arguments;
                }
                other => return Err(format!("{other} says nothing about a field")),
            }
        }
        if let Some(value) = &f.declared {
            note.declared = literal(value)?;
        }
        let keys = self.words(keys);
        let list = list.map_or("None".to_owned(), |l| format!("Some(ListType::{l})"));
        let shape = self.shape_of(names, file, &f.ty, &list, map, keys)?;
        let must = if flags & 8 != 0 {
            false
        } else if f.pointer {
            flags & 4 != 0
        } else {
            flags & 4 != 0 || self.is_struct(source, names, file, &f.ty)?
        };
        let note = self.notes.iter().position(|n| *n == note).unwrap_or_else(|| {
            self.notes.push(note);
            self.notes.len() - 1
        });
        Ok(FieldRow { name: f.name.clone(), number: f.number, flags, shape, note, place: 0, must })
    }

    /// Go's struct types have no empty value, so that `omitempty` never leaves them out.
    fn is_struct(&self, source: &Source, names: &Names, file: &str, ty: &str) -> Result<bool, String> {
        Ok(match scalar(ty) {
            Some("String" | "Bool" | "Int32" | "Int64" | "Double" | "Bytes" | "Any") => false,
            Some(_) => true,
            None if ty.starts_with(['[', '{']) => false,
            None => !source.types[names.find(file, ty)?].words.iter().any(|w| w == "wrapped"),
        })
    }

    fn shape_of(
        &mut self,
        names: &Names,
        file: &str,
        ty: &str,
        list: &str,
        map: &str,
        keys: Span,
    ) -> Result<usize, String> {
        let none = Span::default();
        let expression = if let Some(item) = ty.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let item = self.shape_of(names, file, item, "None", "None", none)?;
            format!("ShapeDef::List {{ item: {item}, kind: {list}, keys: s({}, {}), note: 0 }}", keys.0, keys.1)
        } else if let Some(item) = ty.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            let item = self.shape_of(names, file, item, "None", "None", none)?;
            format!("ShapeDef::Map {{ item: {item}, kind: {map}, note: 0 }}")
        } else if let Some(scalar) = scalar(ty) {
            format!("ShapeDef::Scalar(Scalar::{scalar})")
        } else {
            format!("ShapeDef::Struct({})", names.find(file, ty)?)
        };
        Ok(self.shape(expression))
    }

    /// Marks the types with defaults in them or below.
    fn mark_defaulted(&mut self, source: &Source, names: &Names) -> Result<(), String> {
        let mut below = vec![];
        for ty in &source.types {
            let mut ids = vec![];
            for f in &ty.fields {
                let name = f.ty.trim_matches(['[', ']', '{', '}']);
                if scalar(name).is_none() {
                    ids.push(names.find(&ty.file, name)?);
                }
            }
            below.push(ids);
        }
        let mut marked: Vec<bool> = self.types.iter().map(|t| t.defaults.1 > 0).collect();
        loop {
            let more: Vec<usize> =
                (0..marked.len()).filter(|id| !marked[*id] && below[*id].iter().any(|b| marked[*b])).collect();
            if more.is_empty() {
                break;
            }
            more.into_iter().for_each(|id| marked[id] = true);
        }
        for (ty, marked) in self.types.iter_mut().zip(marked) {
            ty.flags |= if marked { 8 } else { 0 };
        }
        Ok(())
    }
}

/// JSON text of a constant as a Rust expression.
fn literal(json: &str) -> Result<String, String> {
    Ok(match json.as_bytes().first() {
        Some(b't' | b'f') => format!("Literal::Bool({json})"),
        Some(b'-' | b'0'..=b'9') => format!("Literal::Int({json})"),
        Some(b'"') => format!("Literal::Str(Cow::Borrowed({json}))"),
        Some(b'{' | b'[') => format!("Literal::Json(Cow::Borrowed({json:?}))"),
        _ => return Err(format!("{json} is no constant")),
    })
}

fn resource(names: &Names, r: &Resource) -> Result<ResourceRow, String> {
    let kind = &r.words[1];
    let own = [r.group.clone(), r.version.clone(), kind.clone()];
    let mut row = ResourceRow {
        group: r.group.clone(),
        version: r.version.clone(),
        plural: r.words[0].clone(),
        kind: kind.clone(),
        singular: kind.to_lowercase(),
        namespaced: r.words[2] == "namespaced",
        short: vec![],
        categories: vec![],
        verbs: ALL_VERBS.map(str::to_owned).to_vec(),
        enabled: true,
        storage: own.clone(),
        prefix: r.words[0].clone(),
        selects: r.selects.clone(),
        hash: String::new(),
        ty: names.find(&r.file, kind)?,
        sub: vec![],
    };
    for word in &r.words[3..] {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let list = || value.split(',').map(str::to_owned).collect();
        match key {
            "singular" => row.singular = value.to_owned(),
            "short" => row.short = list(),
            "categories" => row.categories = list(),
            "verbs" => row.verbs = list(),
            "off" => row.enabled = false,
            "storage" => row.storage = gvk(value),
            "prefix" => row.prefix = value.to_owned(),
            "hash" => row.hash = value.to_owned(),
            "unstored" => row.prefix = String::new(),
            _ => return Err(format!("{word} says nothing about a resource")),
        }
    }
    for sub in &r.subresources {
        let kind = if sub[1].contains('/') { gvk(&sub[1]) } else { [own[0].clone(), own[1].clone(), sub[1].clone()] };
        row.sub.push((sub[0].clone(), kind, sub[2..].to_vec()));
    }
    Ok(row)
}
