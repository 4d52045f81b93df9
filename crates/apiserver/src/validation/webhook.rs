//! Where webhooks are and which writes they are told of: shared by webhook configurations, conversions of custom
//! resources and admission policies (apiserver `util/webhook/validation.go`,
//! `pkg/apis/admissionregistration/validation`).

use super::{At, one_of_if_set, range_text};
use crate::admission::expression::compile;
use kaji_api::field::{Errors, quoted};
use kaji_api::names;
use kaji_api::value::Value;
use kaji_cel::{Env, Type};

const FORM: &str = "; desired format: https://host[/path]";
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// A `clientConfig`: a URL or a service.
pub(crate) fn client_config(at: At<'_>, e: &mut Errors) {
    let (url, service) = (at.field("url"), at.field("service"));
    match (url.is_set(), service.is_set()) {
        (true, false) => self::url(url, true, e),
        (false, true) => self::service(service, e),
        _ => at.required(e, "exactly one of url or service is required"),
    }
}

/// The parts of a URL that matter here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Url<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

/// Reads a URL as leniently as Go does; the error is Go's text.
fn parse(text: &str) -> Result<Url<'_>, String> {
    let wrong = |why: &str| Err(format!("parse {}: {why}", quoted(text)));
    if text.bytes().any(|b| b.is_ascii_control()) {
        return wrong("net/url: invalid control character in URL");
    }
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = Url { query, fragment, ..Url::default() };
    let is_scheme = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    };
    let rest = match rest.split_once(':') {
        Some(("", _)) => return wrong("missing protocol scheme"),
        Some((scheme, rest)) if is_scheme(scheme) => {
            url.scheme = scheme.to_lowercase();
            rest
        }
        Some((first, _)) if !first.contains('/') => return wrong("first path segment in URL cannot contain colon"),
        _ => rest,
    };
    let Some(rest) = rest.strip_prefix("//") else { return Ok(url) };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            url.user = Some(user);
            host
        }
        None => authority,
    };
    let port = host.rsplit_once(']').map_or(host, |(_, behind)| behind).split_once(':').map_or("", |(_, port)| port);
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(&format!("invalid port {} after host", quoted(&format!(":{port}"))));
    }
    url.host = host;
    Ok(url)
}

/// The scheme of a URL, empty where it has none; the error is Go's text.
pub(crate) fn scheme(url: &str) -> Result<String, String> {
    parse(url).map(|url| url.scheme)
}

/// The URL of a server that is sent reviews.
pub(crate) fn url(at: At<'_>, force_https: bool, e: &mut Errors) {
    let url = match parse(at.str()) {
        Ok(url) => url,
        Err(why) => return at.required(e, &format!("url must be a valid URL: {why}{FORM}")),
    };
    if force_https && url.scheme != "https" {
        at.invalid_as(e, url.scheme.as_str(), &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if url.host.is_empty() {
        at.invalid_as(e, url.host, &format!("host must be specified{FORM}"));
    }
    if let Some(user) = url.user {
        at.invalid_as(e, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        at.invalid_as(e, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        at.invalid_as(e, url.query, "query parameters are not permitted in the URL");
    }
}

/// A service that is sent reviews.
pub(crate) fn service(at: At<'_>, e: &mut Errors) {
    at.field("name").need(e);
    at.field("namespace").need(e);
    let port = at.field("port");
    if !(1..=65_535).contains(&port.i64()) {
        port.invalid_as(e, port.i64(), &format!("port is not valid: {}", range_text(1, 65_535)));
    }
    path(at.field("path"), e);
}

fn path(at: At<'_>, e: &mut Errors) {
    let text = match at.str() {
        "" | "/" => return,
        "//" => return at.invalid(e, "segment[0] may not be empty"),
        text => text,
    };
    if !text.starts_with('/') {
        at.invalid(e, "must start with a '/'");
    }
    let mut behind = text.chars();
    behind.next();
    let behind = behind.as_str();
    let behind = behind.strip_suffix('/').unwrap_or(behind);
    for (i, step) in behind.split('/').enumerate() {
        if step.is_empty() {
            at.invalid(e, &format!("segment[{i}] may not be empty"));
            continue;
        }
        for failure in names::dns1123_subdomain(step) {
            at.invalid(e, &format!("segment[{i}]: {failure}"));
        }
    }
}

/// The rule of a webhook: operations, groups, versions, resources with subresources.
pub(crate) fn rule_with_operations(at: At<'_>, e: &mut Errors) {
    let operations = at.field("operations");
    operations.need(e);
    if is_wildcard_among(operations.v) {
        operations.invalid(e, "if '*' is present, must not specify other operations");
    }
    operations.list().filter(|o| !OPERATIONS.contains(&o.str())).for_each(|o| o.not_supported(e, &OPERATIONS));
    let groups = at.field("apiGroups");
    groups.need(e);
    if is_wildcard_among(groups.v) {
        groups.invalid(e, "if '*' is present, must not specify other API groups");
    }
    let versions = at.field("apiVersions");
    versions.need(e);
    if is_wildcard_among(versions.v) {
        versions.invalid(e, "if '*' is present, must not specify other API versions");
    }
    versions.list().for_each(|version| version.need(e));
    resources(at.field("resources"), e);
    one_of_if_set(at.field("scope"), e, &SCOPES);
}

fn is_wildcard_among(list: &Value) -> bool {
    list.items().len() > 1 && list.items().iter().any(|v| v.str() == "*")
}

fn resources(at: At<'_>, e: &mut Errors) {
    at.need(e);
    let mut whole: Vec<&str> = Vec::new();
    let mut everywhere: Vec<&str> = Vec::new();
    let mut plain = false;
    for one in at.list() {
        let Some((resource, sub)) = one.str().split_once('/') else {
            if one.str().is_empty() {
                one.required(e, "");
            } else {
                plain = one.str() != "*";
            }
            continue;
        };
        if whole.contains(&resource) {
            one.invalid(e, &format!("if '{resource}/*' is present, must not specify {}", one.str()));
        }
        if everywhere.contains(&sub) {
            one.invalid(e, &format!("if '*/{sub}' is present, must not specify {}", one.str()));
        }
        if sub == "*" {
            whole.push(resource);
        }
        if resource == "*" {
            everywhere.push(sub);
        }
    }
    let has = |wanted: &str| at.items().iter().any(|r| r.str() == wanted);
    if at.items().len() > 1 && has("*/*") {
        at.invalid(e, "if '*/*' is present, must not specify other resources");
    }
    if has("*") && plain {
        at.invalid(e, "if '*' is present, must not specify other resources without subresources");
    }
}

/// Conditions under which a policy or a webhook is asked at all.
pub(crate) fn conditions(at: At<'_>, env: &Env, e: &mut Errors) {
    if at.items().len() > 64 {
        at.too_many(e, 64);
    }
    let mut names: Vec<&str> = Vec::new();
    for condition in at.list() {
        let text = condition.field("expression");
        match text.str().trim() {
            "" => text.required(e, ""),
            trimmed => match compile(env, trimmed, &[Type::Bool]) {
                Ok(_) => {}
                Err(error) => text.invalid_as(e, trimmed, &error),
            },
        }
        let name = condition.field("name");
        name.check_required(e, names::qualified_name);
        if !name.str().is_empty() {
            if names.contains(&name.str()) {
                name.duplicate(e);
            }
            names.push(name.str());
        }
    }
}

/// A name of three parts at least.
pub(crate) fn fully_qualified(at: At<'_>, e: &mut Errors) {
    let name = at.str();
    let texts = names::dns1123_subdomain(name);
    if name.is_empty() {
        at.required(e, "");
    } else if !texts.is_empty() {
        at.invalid(e, &texts.join(","));
    } else if name.split('.').count() < 3 {
        at.invalid(e, "should be a domain with at least three segments separated by dots");
    }
}

/// The versions of reviews that a server speaks; with `recognized` one of `known` must be among them.
pub(crate) fn review_versions(at: At<'_>, known: &[&str], recognized: bool, e: &mut Errors) {
    let all = known.join(", ");
    if at.items().is_empty() {
        return at.required(e, &format!("must specify one of {all}"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for version in at.list() {
        if seen.contains(&version.str()) {
            version.invalid(e, "duplicate version");
            continue;
        }
        seen.push(version.str());
        version.check(e, names::dns1035_label);
    }
    if recognized && !seen.iter().any(|v| known.contains(v)) {
        at.invalid(e, &format!("must include at least one of {all}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_go_reads_them() {
        let plain = |scheme: &str, host: &'static str| Url { scheme: scheme.to_owned(), host, ..Url::default() };
        for (text, expected) in [
            ("", Url::default()),
            ("https://host:80/a", plain("https", "host:80")),
            ("https://[::1]:80", plain("https", "[::1]:80")),
            ("host/a", Url::default()),
            ("https://u@h/a?q=1#f", Url { user: Some("u"), query: "q=1", fragment: "f", ..plain("https", "h") }),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for (text, why) in [
            (":x", "missing protocol scheme"),
            ("1x:y", "first path segment in URL cannot contain colon"),
            ("https://h:x/", "invalid port \":x\" after host"),
        ] {
            assert_eq!(parse(text), Err(format!("parse \"{text}\": {why}")));
        }
    }
}
