//! Environments: what an expression may name.

use crate::check::{self, Checked};
use crate::decl::DeclType;
use crate::escape::is_reserved;
use crate::library::find_type;
use crate::parser::parse;
use crate::program::Program;
use crate::source::{CompileError, Errors, Source};
use crate::stack;
use crate::types::Type;
use std::collections::HashMap;
use std::sync::Arc;

/// Variables and types on top of the libraries, which are those of Kubernetes 1.36.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Vec<(String, Arc<DeclType>)>,
    /// Object types by name.
    objects: HashMap<Arc<str>, Arc<DeclType>>,
    patches: bool,
}

/// Longer expressions may nest deeper than the stack of an ordinary thread likes.
const LONG: usize = 400;

impl Env {
    /// Libraries only.
    pub fn new() -> Self {
        Env::default()
    }

    /// With a variable; objects of its type can be looked into. Replaces a variable of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, ty: impl Into<Arc<DeclType>>) -> Self {
        let ty = ty.into();
        self.register(&ty);
        self.variables.retain(|(n, _)| n != name);
        self.variables.push((name.to_owned(), ty));
        self
    }

    /// With a variable whose type is known when evaluated only.
    #[must_use]
    pub fn with_dyn(self, name: &str) -> Self {
        self.with(name, DeclType::simple(Type::Dyn))
    }

    /// With what mutating policies write: `Object{…}`, `JSONPatch{…}` and `jsonpatch.escapeKey`.
    #[must_use]
    pub fn with_patches(mut self) -> Self {
        self.patches = true;
        let text = || DeclType::simple(Type::String);
        let value = DeclType::simple(Type::Dyn);
        let patch = [("op", text()), ("path", text()), ("from", text()), ("value", value)];
        self.register(&Arc::new(DeclType::object(JSON_PATCH, patch)));
        self
    }

    fn register(&mut self, ty: &Arc<DeclType>) {
        if let Type::Object(name) = ty.ty() {
            if self.objects.contains_key(name) {
                return;
            }
            self.objects.insert(name.clone(), ty.clone());
            ty.fields().for_each(|field| self.register(field));
        }
        if let Some(element) = ty.element() {
            self.register(element);
        }
    }

    /// The type of a variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&Type> {
        self.declared(name).map(|decl| decl.ty())
    }

    /// The declaration of a variable.
    pub(crate) fn declared(&self, name: &str) -> Option<&Arc<DeclType>> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, decl)| decl)
    }

    pub(crate) fn variables(&self) -> &[(String, Arc<DeclType>)] {
        &self.variables
    }

    /// A type that expressions can name. Those of variables have names for errors only.
    pub(crate) fn find_type(&self, name: &str) -> Option<Type> {
        if self.patches && (name == JSON_PATCH || is_object_name(name)) {
            return Some(Type::object(name));
        }
        find_type(name)
    }

    /// The declaration of an object type.
    pub(crate) fn object(&self, name: &str) -> Option<Arc<DeclType>> {
        if let Some(decl) = self.objects.get(name) {
            return Some(decl.clone());
        }
        let any = self.patches && is_object_name(name);
        any.then(|| Arc::new(DeclType::object(name, [])))
    }

    /// The field of an object type. Objects that mutations make take any field; words of the language need no escape.
    pub(crate) fn field<'d>(&self, object: &'d Arc<DeclType>, field: &str) -> Option<&'d DeclType> {
        static DYN: std::sync::LazyLock<DeclType> = std::sync::LazyLock::new(|| DeclType::simple(Type::Dyn));
        if self.patches && is_object_name(object.ty().name()) {
            return Some(&DYN);
        }
        let found = object.field(field);
        let found = found.or_else(|| is_reserved(field).then(|| object.field(&format!("__{field}__")))?);
        found.map(AsRef::as_ref)
    }

    pub(crate) fn has_patches(&self) -> bool {
        self.patches
    }

    /// Compiles an expression.
    pub fn compile(&self, expression: &str) -> Result<Program, CompileError> {
        if expression.len() <= LONG {
            return self.compile_here(expression);
        }
        stack::with_room(|| self.compile_here(expression))
    }

    fn compile_here(&self, expression: &str) -> Result<Program, CompileError> {
        let checked = self.check(expression)?;
        Program::new(checked, self).map_err(|error| CompileError::Program(error.to_string()))
    }

    fn check(&self, expression: &str) -> Result<Checked, CompileError> {
        let source = Source::new(expression);
        let mut errors = Errors::new(&source);
        let tree = parse(&source, &mut errors);
        let checked = tree.filter(|_| errors.is_empty()).map(|tree| check::check(tree, self, &mut errors));
        errors.finish().map_err(CompileError::Invalid)?;
        Ok(checked.expect("without errors there is a tree"))
    }
}

/// Name of the type of JSON patch operations.
const JSON_PATCH: &str = "JSONPatch";

/// `Object` and what is below, `Object.spec.template`.
pub(crate) fn is_object_name(name: &str) -> bool {
    name == "Object" || name.starts_with("Object.")
}
