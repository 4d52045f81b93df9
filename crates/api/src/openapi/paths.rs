//! The operations of every served resource, as upstream's installer registers them.

use super::params::{self, Param};
use super::{Options, model_name};
use crate::resource::{ResourceDef, SubresourceDef};
use crate::schema;
use std::collections::{BTreeMap, BTreeSet};

/// A path and what may be done with it.
pub(super) struct PathItem {
    /// Parameters that all operations have.
    pub(super) params: Vec<Param>,
    pub(super) operations: Vec<Operation>,
}

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) text: String,
    pub(super) tag: String,
    pub(super) action: &'static str,
    /// Group, version and kind spoken; none for documents.
    pub(super) kind: Option<(String, String, String)>,
    pub(super) params: Vec<Param>,
    /// Type of the body, and whether there must be one.
    pub(super) body: Option<(String, bool)>,
    pub(super) consumes: Vec<&'static str>,
    pub(super) produces: Vec<&'static str>,
    /// Code, what it means, and what comes with it.
    pub(super) answers: Vec<(&'static str, &'static str, Content)>,
}

/// What comes with an answer.
#[derive(Clone)]
pub(super) enum Content {
    None,
    Text,
    Type(String),
}

/// All paths of a server that serves these rows.
pub(super) fn all<'a>(rows: impl IntoIterator<Item = &'a ResourceDef>, options: Options) -> BTreeMap<String, PathItem> {
    let mut paths: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    let mut versions = BTreeSet::new();
    for row in rows {
        // Discovery of custom resources is not told of.
        if row.ty.is_some() {
            versions.insert((row.group, row.version));
        }
        let installer = Installer { row, sub: None, options };
        installer.install(&mut paths);
        for sub in row.sub.iter() {
            Installer { row, sub: Some(sub), options }.install(&mut paths);
        }
    }
    documents(&versions, options, &mut paths);
    paths.into_iter().map(|(path, operations)| (path, PathItem::of(operations))).collect()
}

impl PathItem {
    /// Lifts what all operations share.
    fn of(mut operations: Vec<Operation>) -> Self {
        let (first, others) = operations.split_first().expect("a path has an operation");
        let everywhere = |p: &&Param| others.iter().all(|o| o.params.contains(p));
        let mut params: Vec<Param> = first.params.iter().filter(everywhere).cloned().collect();
        for operation in &mut operations {
            operation.params.retain(|p| !params.contains(p));
            operation.params.sort_by_key(Param::place);
        }
        params.sort_by_key(Param::place);
        PathItem { params, operations }
    }
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const CBOR: &str = "application/cbor";

fn media(options: Options) -> Vec<&'static str> {
    let mut out = vec![JSON, YAML, PROTOBUF];
    out.extend(options.cbor.then_some(CBOR));
    out
}

/// With those that watches are streamed in.
fn stream_media(options: Options) -> Vec<&'static str> {
    let mut out = media(options);
    out.extend(["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]);
    out.extend(options.cbor.then_some("application/cbor-seq"));
    out
}

fn patch_media(options: Options) -> Vec<&'static str> {
    let mut out = vec![
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    out.extend(options.cbor.then_some("application/apply-patch+cbor"));
    out
}

/// Kinds whose deletion answers with the object; all of `resource.k8s.io` does.
const DELETED_OBJECTS: &[(&str, &str)] = &[
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// Registers the operations of a resource or subresource.
struct Installer<'a> {
    row: &'a ResourceDef,
    sub: Option<&'a SubresourceDef>,
    options: Options,
}

/// What differs from one operation to the next.
struct Draft<'a> {
    method: &'static str,
    action: &'static str,
    /// The verb that the operation's name begins with.
    verb: &'static str,
    /// What stands in the name behind the kind and subresource.
    suffix: &'a str,
    namespaced: bool,
    text: String,
}

impl Installer<'_> {
    fn has(&self, verb: &str) -> bool {
        self.sub.map_or(self.row.verbs, |s| s.verbs).contains(&verb)
    }

    fn sub_name(&self) -> &str {
        self.sub.map_or("", |s| s.name)
    }

    /// Subresources that hand the connection on.
    fn connect_methods(&self) -> &'static [&'static str] {
        match self.sub_name() {
            "exec" | "attach" | "portforward" => &["get", "post"],
            "proxy" => &["delete", "get", "head", "options", "patch", "post", "put"],
            _ => &[],
        }
    }

    /// A custom resource: told of by another part of upstream, with differences.
    fn is_custom(&self) -> bool {
        self.row.ty.is_none()
    }

    fn media(&self) -> Vec<&'static str> {
        if self.is_custom() { vec![JSON, YAML] } else { media(self.options) }
    }

    fn stream_media(&self) -> Vec<&'static str> {
        if self.is_custom() { vec![JSON, YAML] } else { stream_media(self.options) }
    }

    /// Group, version and kind spoken.
    fn kind(&self) -> (&str, &str, &str) {
        self.sub.map_or((self.row.group, self.row.version, self.row.kind), |s| (s.group, s.version, s.kind))
    }

    /// The full name of the type spoken.
    fn type_name(&self) -> String {
        let (group, version, kind) = self.kind();
        if self.is_custom() && group == self.row.group {
            return model_name(group, version, kind);
        }
        let ty = if self.sub.is_none() { self.row.ty } else { schema::kind(group, version, kind) };
        ty.map_or_else(|| kind.to_owned(), |ty| ty.name().to_owned())
    }

    fn list_type_name(&self) -> String {
        format!("{}List", self.type_name())
    }

    /// `/api/v1`, `/apis/apps/v1`.
    fn root(&self) -> String {
        if self.row.group.is_empty() {
            format!("/api/{}", self.row.version)
        } else {
            format!("/apis/{}/{}", self.row.group, self.row.version)
        }
    }

    fn namespace(&self) -> &'static str {
        if self.row.namespaced { "namespaces/{namespace}/" } else { "" }
    }

    fn install(&self, paths: &mut BTreeMap<String, Vec<Operation>>) {
        let (root, plural) = (self.root(), self.row.plural);
        let collection = format!("{}{plural}", self.namespace());
        let item = match self.sub {
            None => format!("{collection}/{{name}}"),
            Some(sub) => format!("{collection}/{{name}}/{}", sub.name),
        };
        let mut add = |path: &str, operation: Operation| {
            paths.entry(format!("{root}/{path}")).or_default().push(operation);
        };
        if !self.connect_methods().is_empty() {
            for method in self.connect_methods() {
                add(&item, self.connect(method, ""));
                if self.sub_name() == "proxy" {
                    add(&format!("{item}/{{path}}"), self.connect(method, "WithPath"));
                }
            }
            return;
        }
        if self.has("list") {
            add(&collection, self.list(self.row.namespaced, ""));
            if self.row.namespaced {
                add(plural, self.list(false, "ForAllNamespaces"));
            }
        }
        if self.has("create") {
            add(if self.sub.is_some() { &item } else { &collection }, self.create());
        }
        if self.has("deletecollection") {
            add(&collection, self.delete_collection());
        }
        if self.has("watch") && !self.is_custom() {
            add(&format!("watch/{collection}"), self.watch_list(self.row.namespaced, "List"));
            add(&format!("watch/{item}"), self.watch());
            if self.row.namespaced {
                add(&format!("watch/{plural}"), self.watch_list(false, "ListForAllNamespaces"));
            }
        }
        if self.has("get") {
            add(&item, self.read());
        }
        if self.has("update") {
            add(&item, self.replace());
        }
        if self.has("patch") {
            add(&item, self.patch());
        }
        if self.has("delete") {
            add(&item, self.delete());
        }
    }

    /// `status of ` before the kind, for a subresource.
    fn of_sub(&self) -> String {
        if self.sub.is_some() { format!("{} of ", self.sub_name()) } else { String::new() }
    }

    /// ` a Pod`, ` status of an Ingress`, ` Endpoints`.
    fn one(&self) -> String {
        let kind = self.row.kind;
        let plural = kind.ends_with('s') && !kind.ends_with("ss");
        let article = match kind.bytes().next().map(|c| c.to_ascii_lowercase()) {
            _ if plural => " ",
            Some(b'a' | b'e' | b'i' | b'o' | b'u') => " an ",
            _ => " a ",
        };
        if self.sub.is_some() { format!(" {} of{article}{kind}", self.sub_name()) } else { format!("{article}{kind}") }
    }

    fn operation(&self, draft: Draft<'_>) -> Operation {
        let (group, version, kind) = self.kind();
        let (own_group, tag) = group_words(self.row.group, self.row.version);
        let namespaced = if draft.namespaced { "Namespaced" } else { "" };
        let sub = capitalized(self.sub_name());
        let (verb, rest) = draft.verb.split_once('|').unwrap_or((draft.verb, ""));
        Operation {
            method: draft.method,
            id: format!("{verb}{own_group}{rest}{namespaced}{}{sub}{}", self.row.kind, draft.suffix),
            text: draft.text,
            tag,
            action: draft.action,
            kind: Some((group.to_owned(), version.to_owned(), kind.to_owned())),
            params: Vec::new(),
            body: None,
            consumes: if self.is_custom() { vec![JSON, YAML] } else { vec!["*/*"] },
            produces: self.media(),
            answers: Vec::new(),
        }
    }

    /// Namespace and, for an item, name.
    fn place(&self, item: bool, namespaced: bool) -> Vec<Param> {
        let mut out = Vec::new();
        out.extend(namespaced.then_some(params::NAMESPACE));
        out.extend(item.then(|| params::name_of(self.kind().2)));
        out
    }

    /// An operation of the item, with the parameters that all those have.
    fn on_item(&self, draft: Draft<'_>, more: &[Param]) -> Operation {
        let mut operation = self.operation(draft);
        operation.params = self.place(true, self.row.namespaced);
        operation.params.push(params::PRETTY);
        operation.params.extend_from_slice(more);
        operation
    }

    fn on_collection(&self, draft: Draft<'_>, more: impl IntoIterator<Item = Param>) -> Operation {
        let namespaced = draft.namespaced;
        let mut operation = self.operation(draft);
        operation.params = self.place(false, namespaced);
        operation.params.push(params::PRETTY);
        operation.params.extend(more);
        operation
    }

    fn list(&self, namespaced: bool, suffix: &str) -> Operation {
        let what = if self.has("watch") && !self.is_custom() { "list or watch" } else { "list" };
        let text = format!("{what} objects of kind {}", self.row.kind);
        let draft = Draft { method: "get", action: "list", verb: "list", suffix, namespaced, text };
        let mut operation = self.on_collection(draft, params::LIST.iter().cloned());
        operation.produces = self.stream_media();
        operation.answers = answers(&["200"], &self.list_type_name());
        operation
    }

    fn watch_list(&self, namespaced: bool, suffix: &str) -> Operation {
        let text = format!(
            "watch individual changes to a list of {}. deprecated: use the 'watch' parameter with a list operation \
             instead.",
            self.row.kind
        );
        let draft = Draft { method: "get", action: "watchlist", verb: "watch", suffix, namespaced, text };
        self.streamed(self.on_collection(draft, params::LIST.iter().cloned()))
    }

    fn watch(&self) -> Operation {
        let text = format!(
            "watch changes to an object of kind {}. deprecated: use the 'watch' parameter with a list operation \
             instead, filtered to a single item with the 'fieldSelector' parameter.",
            self.row.kind
        );
        let draft =
            Draft { method: "get", action: "watch", verb: "watch", suffix: "", namespaced: self.row.namespaced, text };
        self.streamed(self.on_item(draft, params::LIST))
    }

    fn streamed(&self, mut operation: Operation) -> Operation {
        operation.produces = stream_media(self.options);
        operation.answers = answers(&["200"], &format!("{META}WatchEvent"));
        operation
    }

    fn draft(&self, method: &'static str, action: &'static str, verb: &'static str, text: String) -> Draft<'static> {
        Draft { method, action, verb, suffix: "", namespaced: self.row.namespaced, text }
    }

    fn create(&self) -> Operation {
        let draft = self.draft("post", "post", "create", format!("create{}", self.one()));
        let mut operation = match self.sub {
            Some(_) => self.on_item(draft, params::WRITE),
            None => self.on_collection(draft, params::WRITE.iter().cloned()),
        };
        operation.body = Some((self.type_name(), true));
        operation.answers = answers(&["200", "201", "202"], &self.type_name());
        operation
    }

    fn read(&self) -> Operation {
        let text = format!("read {}the specified {}", self.of_sub(), self.row.kind);
        let more = params::options(self.row.plural, self.sub_name());
        let mut operation = self.on_item(self.draft("get", "get", "read", text), more);
        if self.is_custom() {
            operation.params.extend(params::resource_version());
        }
        operation.answers = answers(&["200"], &self.type_name());
        if self.sub_name() == "log" {
            operation.produces.insert(0, "text/plain");
            operation.answers[0].2 = Content::Text;
        }
        operation
    }

    fn replace(&self) -> Operation {
        let text = format!("replace {}the specified {}", self.of_sub(), self.row.kind);
        let mut operation = self.on_item(self.draft("put", "put", "replace", text), params::WRITE);
        operation.body = Some((self.type_name(), true));
        operation.answers = answers(&["200", "201"], &self.type_name());
        operation
    }

    fn patch(&self) -> Operation {
        let text = format!("partially update {}the specified {}", self.of_sub(), self.row.kind);
        let mut operation = self.on_item(self.draft("patch", "patch", "patch", text), params::PATCH);
        operation.consumes = patch_media(self.options);
        if self.is_custom() {
            operation.consumes.retain(|m| !m.starts_with("application/strategic") && !m.ends_with("cbor"));
        }
        operation.body = Some((format!("{META}Patch"), true));
        let codes: &[&str] = if self.is_custom() { &["200"] } else { &["200", "201"] };
        operation.answers = answers(codes, &self.type_name());
        operation
    }

    fn delete(&self) -> Operation {
        let draft = self.draft("delete", "delete", "delete", format!("delete{}", self.one()));
        let mut operation = self.on_item(draft, params::DELETE);
        operation.body = Some((format!("{META}DeleteOptions"), false));
        let object =
            self.row.group == "resource.k8s.io" || DELETED_OBJECTS.contains(&(self.row.group, self.row.plural));
        let answer = if object { self.type_name() } else { format!("{META}Status") };
        operation.answers = answers(&["200", "202"], &answer);
        operation
    }

    fn delete_collection(&self) -> Operation {
        let text = format!("delete collection of {}", self.row.kind);
        let draft = self.draft("delete", "deletecollection", "delete|Collection", text);
        let mut operation = self.on_collection(draft, params::DELETE.iter().cloned().chain(params::selection()));
        operation.body = Some((format!("{META}DeleteOptions"), false));
        operation.answers = answers(&["200"], &format!("{META}Status"));
        operation
    }

    fn connect(&self, method: &'static str, suffix: &str) -> Operation {
        let verb = match method {
            "delete" => "connect|Delete",
            "get" => "connect|Get",
            "head" => "connect|Head",
            "options" => "connect|Options",
            "patch" => "connect|Patch",
            "post" => "connect|Post",
            _ => "connect|Put",
        };
        let text = format!("connect {} requests to {}{}", method.to_uppercase(), self.of_sub(), self.row.kind);
        let draft = Draft { method, action: "connect", verb, suffix, namespaced: self.row.namespaced, text };
        let mut operation = self.operation(draft);
        operation.params = self.place(true, self.row.namespaced);
        operation.params.extend_from_slice(params::options(self.row.plural, self.sub_name()));
        operation.params.extend((!suffix.is_empty()).then_some(params::PATH));
        operation.produces = vec!["*/*"];
        operation.answers = vec![("200", "OK", Content::Text), UNAUTHORIZED];
        operation
    }
}

const UNAUTHORIZED: (&str, &str, Content) = ("401", "Unauthorized", Content::None);

fn answers(codes: &[&'static str], ty: &str) -> Vec<(&'static str, &'static str, Content)> {
    let text = |code: &str| match code {
        "200" => "OK",
        "201" => "Created",
        _ => "Accepted",
    };
    let mut out: Vec<_> = codes.iter().map(|code| (*code, text(code), Content::Type(ty.to_owned()))).collect();
    out.push(UNAUTHORIZED);
    out
}

/// `rbac.authorization` as `RbacAuthorization`.
fn camel(words: &str) -> String {
    words.split(|c: char| !c.is_ascii_alphanumeric()).map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// `AppsV1` for names of operations and `apps_v1` for tags.
fn group_words(group: &str, version: &str) -> (String, String) {
    let short = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    let name = camel(short);
    let tag = name[..1].to_ascii_lowercase() + &name[1..];
    (name + &capitalized(version), if version.is_empty() { tag } else { format!("{tag}_{version}") })
}

/// The documents beside resources: discovery, version, logs, OpenID.
fn documents(versions: &BTreeSet<(&str, &str)>, options: Options, paths: &mut BTreeMap<String, Vec<Operation>>) {
    let plain = Options { cbor: false, ..options };
    let mut add = |path: String, operation: Operation| paths.entry(path).or_default().push(operation);
    let api = "get available API versions";
    if versions.iter().any(|(group, _)| group.is_empty()) {
        add("/api/".into(), document("getCoreAPIVersions", api, "core", "APIVersions", media(plain)));
    }
    add("/apis/".into(), document("getAPIVersions", api, "apis", "APIGroupList", media(plain)));
    for (group, version) in versions {
        let (name, tag) = group_words(group, version);
        let id = format!("get{name}APIResources");
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        let path = format!("{root}/{version}/");
        add(path, document(&id, "get available resources", &tag, "APIResourceList", media(options)));
    }
    for group in versions.iter().map(|(group, _)| *group).filter(|g| !g.is_empty()).collect::<BTreeSet<_>>() {
        let (name, tag) = group_words(group, "");
        let id = format!("get{name}APIGroup");
        add(format!("/apis/{group}/"), document(&id, "get information of a group", &tag, "APIGroup", media(plain)));
    }
    let version = "get the version information for this server";
    let mut code = document("getCodeVersion", version, "version", "", vec![JSON]);
    code.answers = answers(&["200"], "io.k8s.apimachinery.pkg.version.Info");
    add("/version/".into(), code);
    let logs =
        |id: &str| Operation { answers: vec![UNAUTHORIZED], consumes: vec![], ..document(id, "", "logs", "", vec![]) };
    add("/logs/".into(), logs("logFileListHandler"));
    add("/logs/{logpath}".into(), Operation { params: vec![params::LOG_PATH], ..logs("logFileHandler") });
    openid(&mut add);
}

/// What verifies tokens of service accounts.
fn openid(add: &mut impl FnMut(String, Operation)) {
    let text_document = |id: &str, text: &str, tag: &str, media| Operation {
        answers: vec![("200", "OK", Content::Text), UNAUTHORIZED],
        consumes: vec![],
        ..document(id, text, tag, "", vec![media])
    };
    let text = "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'";
    let id = "getServiceAccountIssuerOpenIDConfiguration";
    add("/.well-known/openid-configuration/".into(), text_document(id, text, "WellKnown", JSON));
    let text = "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)";
    let id = "getServiceAccountIssuerOpenIDKeyset";
    add("/openid/v1/jwks/".into(), text_document(id, text, "openid", "application/jwk-set+json"));
}

fn document(id: &str, text: &str, tag: &str, ty: &str, media: Vec<&'static str>) -> Operation {
    Operation {
        method: "get",
        id: id.to_owned(),
        text: text.to_owned(),
        tag: tag.to_owned(),
        action: "",
        kind: None,
        params: Vec::new(),
        body: None,
        consumes: media.clone(),
        produces: media,
        answers: answers(&["200"], &format!("{META}{ty}")),
    }
}
