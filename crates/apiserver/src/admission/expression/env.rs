//! What expressions may name (apiserver `admission/plugin/cel`).

use kaji_cel::{DeclType, Env, Type};
use std::sync::Arc;

/// Optional variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `params`.
    pub(crate) params: bool,
    /// `authorizer`.
    pub(crate) authorizer: bool,
}

impl Options {
    /// What match conditions of webhooks have.
    pub(crate) const WEBHOOK: Options = Options { params: false, authorizer: true };
}

/// The environment without `variables`.
pub(crate) fn base(options: Options) -> Env {
    let mut env = Env::new()
        .with_dyn("object")
        .with_dyn("oldObject")
        .with("namespaceObject", namespace())
        .with("request", request());
    if options.params {
        env = env.with_dyn("params");
    }
    if options.authorizer {
        env = env.with("authorizer", authorization("Authorizer"));
        env = env.with("authorizer.requestResource", authorization("ResourceCheck"));
    }
    env
}

/// What the expressions of a policy may name where the types of objects and parameters are known, to check them.
pub(crate) fn typed(object: DeclType, params: Option<DeclType>) -> Env {
    let object = Arc::new(object);
    let env = Env::new()
        .with("object", object.clone())
        .with("oldObject", object)
        .with("namespaceObject", namespace())
        .with("request", request())
        .with("authorizer", authorization("Authorizer"));
    match params {
        Some(params) => env.with("params", params),
        None => env,
    }
}

fn authorization(name: &str) -> DeclType {
    DeclType::simple(Type::object(&format!("kubernetes.authorization.{name}")))
}

/// The type of `variables`, as far as they are known.
pub(crate) fn variables(known: &[(String, Type)]) -> DeclType {
    let fields = known.iter().map(|(name, ty)| (name.as_str(), DeclType::simple(declared(ty))));
    // A name that grows keeps declarations of different stages apart.
    DeclType::object(&format!("kubernetes.variables{}", known.len()), fields)
}

/// What of a variable's type others may rely on: as upstream, not the fields of objects.
fn declared(ty: &Type) -> Type {
    match ty {
        Type::List(item) => Type::list(declared(item)),
        Type::Map(entry) => Type::map(declared(&entry.0), declared(&entry.1)),
        Type::Object(_) | Type::Opaque(..) | Type::Type(_) | Type::Param(_) | Type::Error => Type::Dyn,
        plain => plain.clone(),
    }
}

fn text() -> DeclType {
    DeclType::simple(Type::String)
}

fn texts() -> DeclType {
    DeclType::list(text())
}

fn request() -> DeclType {
    let kind = || {
        let fields = [("group", text()), ("version", text()), ("kind", text())];
        DeclType::object("kubernetes.GroupVersionKind", fields)
    };
    let resource = || {
        let fields = [("group", text()), ("version", text()), ("resource", text())];
        DeclType::object("kubernetes.GroupVersionResource", fields)
    };
    let user = [("username", text()), ("uid", text()), ("groups", texts()), ("extra", DeclType::map(texts()))];
    DeclType::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", DeclType::object("kubernetes.UserInfo", user)),
            ("dryRun", DeclType::simple(Type::Bool)),
            ("options", DeclType::simple(Type::Dyn)),
        ],
    )
}

fn namespace() -> DeclType {
    let time = || DeclType::simple(Type::Timestamp);
    let number = || DeclType::simple(Type::Int);
    let metadata = [
        ("name", text()),
        ("generateName", text()),
        ("namespace", text()),
        ("labels", DeclType::map(text())),
        ("annotations", DeclType::map(text())),
        ("UID", text()),
        ("creationTimestamp", time()),
        ("deletionGracePeriodSeconds", number()),
        ("deletionTimestamp", time()),
        ("generation", number()),
        ("resourceVersion", text()),
        ("finalizers", texts()),
    ];
    let condition =
        [("status", text()), ("type", text()), ("lastTransitionTime", time()), ("message", text()), ("reason", text())];
    let conditions = DeclType::list(DeclType::object("kubernetes.NamespaceCondition", condition));
    let status = [("conditions", conditions), ("phase", text())];
    let spec = [("finalizers", texts())];
    DeclType::object(
        "kubernetes.Namespace",
        [
            ("metadata", DeclType::object("kubernetes.NamespaceMetadata", metadata)),
            ("spec", DeclType::object("kubernetes.NamespaceSpec", spec)),
            ("status", DeclType::object("kubernetes.NamespaceStatus", status)),
        ],
    )
}
