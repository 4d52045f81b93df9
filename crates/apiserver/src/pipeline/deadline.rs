//! A limit on the time a request takes: `--request-timeout`, or less if the client says so (`?timeout=`).

use super::{Next, info, negotiate::Format, output};
use crate::context::RequestInfo;
use crate::registry::options::Query;
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use kaji_api::Status;
use std::time::{Duration, Instant};

/// The end of a request's time, for what waits on others in its course.
#[derive(Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

pub(super) fn layer<'a>(api: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let info = info::of(request.extensions());
    if info::is_long_running(&info) {
        return next.run(request);
    }
    let limit = match asked(&Query::parse(&info.query), api.config().limits.request) {
        Ok(limit) => limit,
        Err(status) => return Box::pin(async move { output::failure(&status, Format::JSON) }),
    };
    request.extensions_mut().insert(Deadline(Instant::now() + limit));
    Box::pin(async move {
        tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
            let text = "Timeout: request did not complete within the allotted timeout";
            output::failure(&Status::timeout(text, 1), Format::JSON)
        })
    })
}

/// The limit of a request; none: it has no end.
pub(super) fn of(info: &RequestInfo, longest: Duration) -> Option<Duration> {
    if info::is_long_running(info) {
        return None;
    }
    if !info.query.contains("timeout") {
        return Some(longest);
    }
    asked(&Query::parse(&info.query), longest).ok()
}

/// What a request asks for, the longest where it doesn't say.
fn asked(query: &Query, longest: Duration) -> Result<Duration, Status> {
    match query.get("timeout") {
        "" => Ok(longest),
        text => match duration(text) {
            Some(Duration::ZERO) => Ok(longest),
            Some(asked) => Ok(asked.min(longest)),
            None => {
                let quoted = kaji_api::field::quoted(text);
                Err(Status::bad_request(format!(
                    "invalid timeout specified in the request URL - time: invalid duration {quoted}"
                )))
            }
        },
    }
}

/// A Go duration: `1m30s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += number
            * match &rest[digits..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        assert_eq!(duration("10"), None);
        assert_eq!(duration("x"), None);
    }
}
