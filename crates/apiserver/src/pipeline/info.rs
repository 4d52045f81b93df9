//! What a request asks for, read from method, path and query (apiserver `endpoints/request/requestinfo.go`).

use super::{Next, negotiate::Format, output};
use crate::context::{RequestInfo, Warnings};
use crate::registry::options::{Query, percent};
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use http::Method;
use kaji_api::Status;
use kaji_api::selector::FieldSelector;
use std::sync::Arc;

pub(super) fn layer<'a>(_: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let uri = request.uri();
    match parse(request.method(), &percent(uri.path(), false), uri.query().unwrap_or_default()) {
        Ok(info) => {
            request.extensions_mut().insert(Arc::new(info));
            request.extensions_mut().insert(Warnings::default());
            next.run(request)
        }
        Err(status) => Box::pin(async move { output::failure(&status, Format::JSON) }),
    }
}

/// The info that [`layer`] left.
pub(super) fn of(extensions: &http::Extensions) -> Arc<RequestInfo> {
    extensions.get::<Arc<RequestInfo>>().cloned().unwrap_or_default()
}

/// Whether a request may take as long as it likes.
pub(super) fn is_long_running(info: &RequestInfo) -> bool {
    let streams = ["exec", "attach", "log", "portforward", "proxy"];
    info.is_resource
        && (matches!(info.verb.as_str(), "watch" | "proxy") || streams.contains(&info.subresource.as_str()))
}

pub(super) fn parse(method: &Method, path: &str, query: &str) -> Result<RequestInfo, Status> {
    let mut info = RequestInfo {
        path: path.to_owned(),
        verb: method.as_str().to_lowercase(),
        query: query.to_owned(),
        ..RequestInfo::default()
    };
    let trimmed = path.trim_matches('/');
    let parts: Vec<&str> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return Ok(info),
    };
    info.is_resource = true;
    info.group = group.to_owned();
    info.version = version.to_owned();
    let rest = read_verb(&mut info, method, rest, path)?;
    read_resource(&mut info, rest);
    settle_collection_verbs(&mut info, query);
    info.built_in = kaji_api::resource::find(&info.group, &info.version, &info.resource);
    Ok(info)
}

fn read_verb<'a>(
    info: &mut RequestInfo,
    method: &Method,
    rest: &'a [&'a str],
    path: &str,
) -> Result<&'a [&'a str], Status> {
    if matches!(rest[0], "watch" | "proxy") {
        if rest.len() < 2 {
            let text = format!("unable to determine kind and namespace from url, {path}");
            return Err(Status::bad_request(text));
        }
        info.verb = rest[0].to_owned();
        return Ok(&rest[1..]);
    }
    info.verb = match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
    .to_owned();
    Ok(rest)
}

fn read_resource(info: &mut RequestInfo, mut rest: &[&str]) {
    if let ["namespaces", namespace, behind @ ..] = rest {
        info.namespace = (*namespace).to_owned();
        if behind.first().is_some_and(|part| !matches!(*part, "status" | "finalize")) {
            rest = behind;
        }
    }
    info.resource = rest.first().copied().unwrap_or_default().to_owned();
    info.name = rest.get(1).copied().unwrap_or_default().to_owned();
    if info.verb != "proxy" {
        info.subresource = rest.get(2).copied().unwrap_or_default().to_owned();
        info.rest = rest.iter().skip(3).map(ToString::to_string).collect();
    }
}

fn settle_collection_verbs(info: &mut RequestInfo, query: &str) {
    if !info.name.is_empty() {
        return;
    }
    match info.verb.as_str() {
        "get" => {
            let query = Query::parse(query);
            let watch = query.switch("watch").unwrap_or(false);
            info.verb = if watch { "watch" } else { "list" }.to_owned();
            if let Ok(fields) = FieldSelector::parse(query.get("fieldSelector"))
                && let Some((_, _, name)) = fields.terms.iter().find(|(f, equal, _)| *equal && f == "metadata.name")
                && kaji_api::names::path_segment(name).is_empty()
            {
                info.name = name.clone();
            }
        }
        "delete" => "deletecollection".clone_into(&mut info.verb),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_as_upstream_reads_them() {
        for (method, path, expected) in [
            ("GET", "/api/v1/namespaces", ("list", "", "", "namespaces", "", "")),
            ("GET", "/api/v1/namespaces/other", ("get", "", "other", "namespaces", "", "other")),
            ("PUT", "/api/v1/namespaces/other/finalize", ("update", "", "other", "namespaces", "finalize", "other")),
            ("GET", "/api/v1/namespaces/other/pods", ("list", "", "other", "pods", "", "")),
            ("GET", "/api/v1/namespaces/other/pods/foo", ("get", "", "other", "pods", "", "foo")),
            ("HEAD", "/api/v1/namespaces/other/pods/foo", ("get", "", "other", "pods", "", "foo")),
            ("GET", "/api/v1/watch/namespaces/other/pods", ("watch", "", "other", "pods", "", "")),
            ("GET", "/api/v1/namespaces/other/pods/foo/log", ("get", "", "other", "pods", "log", "foo")),
            ("DELETE", "/api/v1/namespaces/other/pods", ("deletecollection", "", "other", "pods", "", "")),
            ("POST", "/apis/apps/v1/namespaces/x/deployments", ("create", "apps", "x", "deployments", "", "")),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/x/deployments/d/scale",
                ("patch", "apps", "x", "deployments", "scale", "d"),
            ),
        ] {
            let info = parse(&method.parse().unwrap(), path, "").unwrap();
            let got = (&*info.verb, &*info.group, &*info.namespace, &*info.resource, &*info.subresource, &*info.name);
            assert!(info.is_resource);
            assert_eq!(got, expected, "{method} {path}");
        }
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in ["/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/version"] {
            let info = parse(&Method::GET, path, "").unwrap();
            assert!(!info.is_resource, "{path}");
            assert_eq!(info.verb, "get");
        }
    }
}
