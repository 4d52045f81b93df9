//! Parameters of operations: one row each.

use crate::value;
use crate::value::Value;
use std::borrow::Cow;

/// A parameter in a path or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Param {
    pub(super) name: &'static str,
    /// Part of the path; else of the query.
    in_path: bool,
    kind: &'static str,
    text: Cow<'static, str>,
    /// What tells parameters of one name apart where v2 documents share them; none: written out each time.
    shared: Option<&'static str>,
}

const fn query(name: &'static str, kind: &'static str, text: &'static str) -> Param {
    Param { name, in_path: false, kind, text: Cow::Borrowed(text), shared: Some("") }
}

/// A text that documents of v2 repeat in each place.
const fn written_out(name: &'static str, text: &'static str) -> Param {
    Param { name, in_path: false, kind: "string", text: Cow::Borrowed(text), shared: None }
}

/// One of several of that name.
const fn variant(name: &'static str, of: &'static str, kind: &'static str, text: &'static str) -> Param {
    Param { name, in_path: false, kind, text: Cow::Borrowed(text), shared: Some(of) }
}

const fn path(name: &'static str, text: &'static str) -> Param {
    Param { name, in_path: true, kind: "string", text: Cow::Borrowed(text), shared: Some("in-path") }
}

pub(super) const PRETTY: Param =
    query("pretty", "string", "Indents JSON if 'true'. Browsers, curl and wget get it so unless 'false'.");
pub(super) const NAMESPACE: Param = path("namespace", "namespace of the object");
pub(super) const PATH: Param = path("path", "path to the resource");
pub(super) const LOG_PATH: Param = path("logpath", "path to the log");

/// The name of an object of a kind.
pub(super) fn name_of(kind: &str) -> Param {
    let text = Cow::Owned(format!("name of the {kind}"));
    Param { name: "name", in_path: true, kind: "string", text, shared: None }
}

const DRY_RUN: Param = written_out("dryRun", "'All' runs every stage but keeps nothing.");
const FIELD_VALIDATION: Param = written_out(
    "fieldValidation",
    "What happens to unknown and duplicate fields: 'Ignore' drops them, 'Warn' drops them with a warning (the default), 'Strict' refuses the request.",
);
const MANAGER: Param = query("fieldManager", "string", "Who makes the change: up to 128 printable characters.");

/// Of lists and watches.
pub(super) const LIST: &[Param] = &[
    query(
        "allowWatchBookmarks",
        "boolean",
        "Asks a watch for events of type BOOKMARK, which tell the version reached. When they come, the server decides.",
    ),
    query(
        "continue",
        "string",
        "Goes on with a list where an earlier answer ended: its metadata.continue. Expired ones are answered with 410 and, if possible, a new one.",
    ),
    query("fieldSelector", "string", "Only objects whose fields are so. Defaults to everything."),
    query("labelSelector", "string", "Only objects whose labels are so. Defaults to everything."),
    query(
        "limit",
        "integer",
        "At most so many objects in one answer; metadata.continue leads to the rest, of the same version.",
    ),
    query(
        "resourceVersion",
        "string",
        "Which versions of the data may be served. See https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions.",
    ),
    query("resourceVersionMatch", "string", "How resourceVersion binds a list: 'NotOlderThan' or 'Exact'."),
    query(
        "sendInitialEvents",
        "boolean",
        "Starts a watch with events for all objects there are, and a bookmark behind them. Needs resourceVersionMatch=NotOlderThan.",
    ),
    query("shardSelector", "string", "Only the objects of one shard."),
    query("timeoutSeconds", "integer", "Ends the request after so many seconds."),
    query("watch", "boolean", "Answers with changes as they happen instead of a list."),
];

/// Those of a list that say which objects: for deleting collections.
pub(super) fn selection() -> impl Iterator<Item = Param> {
    LIST.iter().filter(|p| !matches!(p.name, "watch" | "allowWatchBookmarks")).cloned()
}

/// The version to read at least.
pub(super) fn resource_version() -> impl Iterator<Item = Param> {
    LIST.iter().filter(|p| p.name == "resourceVersion").cloned()
}

pub(super) const DELETE: &[Param] = &[
    DRY_RUN,
    query(
        "gracePeriodSeconds",
        "integer",
        "Seconds until the object goes; 0 is at once. The default is the kind's own.",
    ),
    query(
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Deletes an object that cannot be read from the store, without finalizers and preconditions. Only for those who know what depends on it.",
    ),
    query("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    query("propagationPolicy", "string", "What becomes of dependents: 'Orphan', 'Background' or 'Foreground'."),
];

pub(super) const WRITE: &[Param] = &[DRY_RUN, MANAGER, FIELD_VALIDATION];

pub(super) const PATCH: &[Param] = &[
    DRY_RUN,
    variant(
        "fieldManager",
        "patch",
        "string",
        "Who makes the change: up to 128 printable characters. Needed for applying.",
    ),
    FIELD_VALIDATION,
    query("force", "boolean", "Applies over conflicts and takes the fields over. Only for applying."),
];

const LOG: &[Param] = &[
    variant("container", "log", "string", "The container; not needed where there is only one."),
    query("follow", "boolean", "Goes on as the log grows."),
    query("insecureSkipTLSVerifyBackend", "boolean", "Doesn't verify the kubelet's certificate."),
    query("limitBytes", "integer", "Ends after so many bytes."),
    query("previous", "boolean", "The log of the container's previous run."),
    query("sinceSeconds", "integer", "Only lines of the last so many seconds."),
    query("stream", "string", "'Stdout', 'Stderr' or 'All', the default."),
    query("tailLines", "integer", "Only so many lines from the end."),
    query("timestamps", "boolean", "Begins each line with its time."),
];

const EXEC: &[Param] = &[
    query("command", "string", "The command and its arguments, without a shell."),
    variant("container", "exec", "string", "The container to run in; not needed where there is only one."),
    variant("stderr", "exec", "boolean", "Sends the standard error stream."),
    variant("stdin", "exec", "boolean", "Takes a standard input stream."),
    variant("stdout", "exec", "boolean", "Sends the standard output stream."),
    variant("tty", "exec", "boolean", "Runs the command on a terminal."),
];

const ATTACH: &[Param] = &[
    variant("container", "attach", "string", "The container to attach to; not needed where there is only one."),
    variant("stderr", "attach", "boolean", "Sends the container's standard error stream."),
    variant("stdin", "attach", "boolean", "Takes a standard input stream for the container."),
    variant("stdout", "attach", "boolean", "Sends the container's standard output stream."),
    variant("tty", "attach", "boolean", "Attaches by a terminal; the container must have one."),
];

const PORT_FORWARD: &[Param] = &[query("ports", "integer", "The ports, where the protocol asks for them first.")];
const POD_PROXY: &[Param] = &[variant("path", "pod", "string", "The path to ask the pod for.")];
const SERVICE_PROXY: &[Param] = &[variant("path", "service", "string", "The path to ask the service for.")];
const NODE_PROXY: &[Param] = &[variant("path", "node", "string", "The path to ask the node for.")];

/// Of subresources that options of their own describe.
pub(super) fn options(resource: &str, sub: &str) -> &'static [Param] {
    match (resource, sub) {
        ("pods", "log") => LOG,
        ("pods", "exec") => EXEC,
        ("pods", "attach") => ATTACH,
        ("pods", "portforward") => PORT_FORWARD,
        ("pods", "proxy") => POD_PROXY,
        ("services", "proxy") => SERVICE_PROXY,
        ("nodes", "proxy") => NODE_PROXY,
        _ => &[],
    }
}

impl Param {
    /// By name; of one name, those in the path first.
    pub(super) fn place(&self) -> (&'static str, bool) {
        (self.name, !self.in_path)
    }

    /// The name that v2 documents share it under.
    pub(super) fn shared_name(&self) -> Option<String> {
        self.shared.map(|of| if of.is_empty() { self.name.to_owned() } else { format!("{}-{of}", self.name) })
    }

    fn head(&self) -> Value {
        let place = if self.in_path { "path" } else { "query" };
        let mut out = value!({"description": (self.text.as_ref()), "in": place, "name": (self.name)});
        if self.in_path {
            out.set("required", true);
        }
        out
    }

    pub(super) fn v2(&self) -> Value {
        let mut out = self.head();
        out.set("type", self.kind);
        out.set("uniqueItems", true);
        out
    }

    pub(super) fn v3(&self) -> Value {
        let mut out = self.head();
        out.set("schema", value!({"type": (self.kind), "uniqueItems": true}));
        out
    }
}
