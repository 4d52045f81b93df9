//! The query parameters and option bodies of requests, typed and checked (apimachinery
//! `apis/meta/v1/validation`).

use super::metadata::validate_manager;
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{Status, Value};

const META: &str = "meta.k8s.io";

/// The parsed query of a URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// From the raw text behind `?`.
    pub(crate) fn parse(raw: &str) -> Self {
        let pair = |p: &str| {
            let (key, value) = p.split_once('=').unwrap_or((p, ""));
            (decode(key), decode(value))
        };
        Query(raw.split('&').filter(|p| !p.is_empty()).map(pair).collect())
    }

    /// The first value of a parameter, or `""`.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or_default()
    }

    /// The first value of a parameter.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A number; absent and empty read as none.
    fn int(&self, key: &str) -> Result<Option<i64>, Status> {
        match self.get(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("strconv.ParseInt: parsing {}: invalid syntax", quoted(text)))
            }),
        }
    }

    /// A switch, as upstream's query decoding reads one: only `false` and `0` are no.
    pub(crate) fn switch(&self, key: &str) -> Option<bool> {
        self.find(key).map(|text| !matches!(text.to_lowercase().as_str(), "false" | "0"))
    }

    /// `?dryRun=All`, checked; `kind` names the options in the error.
    fn dry_run(&self, errors: &mut Errors) -> bool {
        let asked: Vec<&str> = self.all("dryRun").filter(|v| !v.is_empty()).collect();
        if asked.iter().any(|v| *v != "All") {
            let shown: Vec<String> = asked.iter().map(ToString::to_string).collect();
            errors.not_supported(&Path::new("dryRun"), Value::from(shown), &["All"]);
        }
        !asked.is_empty()
    }
}

/// Percent and plus decoding of a query part.
pub(crate) fn decode(text: &str) -> String {
    percent(text, true)
}

/// Percent decoding; `plus`: `+` stands for a space.
pub(crate) fn percent(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|b| *b == b'%' || plus && *b == b'+') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = || u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok();
        match (bytes[at], hex()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if plus => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What happens to unknown and repeated fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped with a warning each.
    Warn,
    /// Refused.
    Strict,
}

/// Options of POST, PUT and PATCH.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOptions {
    /// `?dryRun=All`.
    pub(crate) dry_run: bool,
    /// `?fieldValidation=`.
    pub(crate) validation: FieldValidation,
}

impl WriteOptions {
    /// From a query; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    pub(crate) fn parse(query: &Query, kind: &str) -> Result<Self, Status> {
        let mut errors = Errors::new();
        if kind == "PatchOptions" && query.find("force").is_some() {
            errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        }
        Self::parse_common(query, kind, errors)
    }

    /// From the query of a server-side apply; the second value is `?force=`.
    pub(crate) fn parse_apply(query: &Query) -> Result<(Self, bool), Status> {
        let mut errors = Errors::new();
        if query.get("fieldManager").is_empty() {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }
        let options = Self::parse_common(query, "PatchOptions", errors)?;
        Ok((options, query.switch("force").unwrap_or(false)))
    }

    fn parse_common(query: &Query, kind: &str, mut errors: Errors) -> Result<Self, Status> {
        validate_manager(query.get("fieldManager"), &mut errors);
        let dry_run = query.dry_run(&mut errors);
        let validation = match query.get("fieldValidation") {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.not_supported(&Path::new("fieldValidation"), other, &["", "Ignore", "Strict", "Warn"]);
                FieldValidation::Warn
            }
        };
        refuse(kind, &errors)?;
        Ok(WriteOptions { dry_run, validation })
    }
}

fn refuse(kind: &str, errors: &Errors) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(META, kind, "", errors)) }
}

/// Options of DELETE, from the body or the query.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// `gracePeriodSeconds`.
    pub(crate) grace: Option<i64>,
    /// `preconditions.uid`.
    pub(crate) uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub(crate) resource_version: Option<String>,
    /// `orphanDependents`.
    pub(crate) orphan: Option<bool>,
    /// `propagationPolicy`.
    pub(crate) propagation: Option<String>,
    /// `dryRun: [All]`.
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// From a query alone.
    pub(crate) fn from_query(query: &Query) -> Result<Self, Status> {
        let mut errors = Errors::new();
        let text = |key: &str| query.find(key).filter(|v| !v.is_empty()).map(str::to_owned);
        let options = DeleteOptions {
            grace: query.int("gracePeriodSeconds")?,
            uid: None,
            resource_version: None,
            orphan: query.switch("orphanDependents"),
            propagation: text("propagationPolicy"),
            dry_run: query.dry_run(&mut errors),
        };
        options.check(errors)
    }

    /// From a `DeleteOptions` object.
    pub(crate) fn from_value(value: &Value) -> Result<Self, Status> {
        let mut errors = Errors::new();
        if value["dryRun"].items().iter().any(|v| v.str() != "All") {
            errors.not_supported(&Path::new("dryRun"), value["dryRun"].clone(), &["All"]);
        }
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let options = DeleteOptions {
            grace: value["gracePeriodSeconds"].as_i64(),
            uid: text(&value["preconditions"]["uid"]),
            resource_version: text(&value["preconditions"]["resourceVersion"]),
            orphan: value["orphanDependents"].as_bool(),
            propagation: text(&value["propagationPolicy"]),
            dry_run: !value["dryRun"].items().is_empty(),
        };
        options.check(errors)
    }

    fn check(self, dry_run_errors: Errors) -> Result<Self, Status> {
        let mut errors = Errors::new();
        let path = Path::new("propagationPolicy");
        if let Some(policy) = &self.propagation {
            if self.orphan.is_some() {
                errors.invalid(&path, policy.as_str(), "orphanDependents and deletionPropagation cannot be both set");
            }
            if !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan") {
                errors.not_supported(&path, policy.as_str(), &["Foreground", "Background", "Orphan", "nil"]);
            }
        }
        errors.append(dry_run_errors);
        refuse("DeleteOptions", &errors)?;
        Ok(self)
    }
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListOptions {
    /// `labelSelector`, as sent.
    pub(crate) label_selector: String,
    /// `fieldSelector`, as sent.
    pub(crate) field_selector: String,
    /// `resourceVersion`.
    pub(crate) resource_version: String,
    /// `resourceVersionMatch`.
    pub(crate) version_match: String,
    /// `limit`; 0: all.
    pub(crate) limit: usize,
    /// `continue`.
    pub(crate) continue_: String,
    /// `timeoutSeconds`.
    pub(crate) timeout_seconds: Option<u64>,
    /// `allowWatchBookmarks`.
    pub(crate) bookmarks: bool,
    /// `sendInitialEvents`.
    pub(crate) initial_events: Option<bool>,
}

impl ListOptions {
    /// From a query.
    pub(crate) fn parse(query: &Query, watch: bool) -> Result<Self, Status> {
        let mut options = ListOptions {
            label_selector: query.get("labelSelector").to_owned(),
            field_selector: query.get("fieldSelector").to_owned(),
            resource_version: query.get("resourceVersion").to_owned(),
            version_match: query.get("resourceVersionMatch").to_owned(),
            limit: usize::try_from(query.int("limit")?.unwrap_or(0)).unwrap_or(0),
            continue_: query.get("continue").to_owned(),
            timeout_seconds: query.int("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0),
            bookmarks: query.switch("allowWatchBookmarks").unwrap_or(false),
            initial_events: query.switch("sendInitialEvents"),
        };
        // Upstream's default: a watch from "" or "0" without the parameter behaves as it always did.
        if !watch && options.initial_events == Some(false) {
            options.initial_events = None;
        }
        let errors = if watch { options.check_watch() } else { options.check_list() };
        refuse("ListOptions", &errors)?;
        Ok(options)
    }

    /// Refuses what only the feature gate WatchList allows.
    pub(crate) fn check_without_initial_events(&self) -> Result<(), Status> {
        let mut errors = Errors::new();
        if self.initial_events.is_some() {
            let why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            errors.forbidden(&Path::new("sendInitialEvents"), why);
        }
        refuse("ListOptions", &errors)
    }

    fn check_list(&self) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("resourceVersionMatch");
        let wanted = self.version_match.as_str();
        if !wanted.is_empty() {
            if self.resource_version.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.continue_.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
            if !matches!(wanted, "Exact" | "NotOlderThan") {
                errors.not_supported(&path, wanted, &["Exact", "NotOlderThan", ""]);
            }
            if wanted == "Exact" && self.resource_version == "0" {
                errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if self.initial_events.is_some() {
            errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
        errors
    }

    fn check_watch(&self) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("resourceVersionMatch");
        let wanted = self.version_match.as_str();
        if self.initial_events.is_some() && wanted != "NotOlderThan" {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if wanted.is_empty() {
            return errors;
        }
        if self.initial_events.is_none() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        if wanted != "NotOlderThan" {
            errors.not_supported(&path, wanted, &["NotOlderThan"]);
        }
        if !self.continue_.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
        errors
    }
}
