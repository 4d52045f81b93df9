//! What the queries of streaming subresources say, and the option objects that admission sees.

use super::Connect;
use crate::registry::options::Query;
use jiff::Timestamp;
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{Status, Value, value};

/// `PodLogOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogOptions {
    pub(super) container: String,
    pub(super) insecure: bool,
    follow: bool,
    previous: bool,
    timestamps: bool,
    since_seconds: Option<i64>,
    since_time: Option<Timestamp>,
    tail_lines: Option<i64>,
    limit_bytes: Option<i64>,
    stream: Option<String>,
}

impl LogOptions {
    pub(super) fn parse(query: &Query) -> Result<Self, Status> {
        Ok(LogOptions {
            container: query.get("container").to_owned(),
            insecure: on(query, "insecureSkipTLSVerifyBackend"),
            follow: on(query, "follow"),
            previous: on(query, "previous"),
            timestamps: on(query, "timestamps"),
            since_seconds: number(query, "sinceSeconds", 64)?,
            since_time: time(query, "sinceTime")?,
            tail_lines: number(query, "tailLines", 64)?,
            limit_bytes: number(query, "limitBytes", 64)?,
            stream: query.find("stream").map(str::to_owned),
        })
    }

    /// As upstream's `ValidatePodLogOptions`.
    pub(super) fn validate(&self, pod: &str) -> Result<(), Status> {
        let mut errors = Errors::new();
        if let Some(lines) = self.tail_lines.filter(|n| *n < 0) {
            errors.invalid(&Path::new("tailLines"), lines, "must be greater than or equal to 0");
        }
        if let Some(bytes) = self.limit_bytes.filter(|n| *n < 1) {
            errors.invalid(&Path::new("limitBytes"), bytes, "must be greater than 0");
        }
        match (self.since_seconds, self.since_time) {
            (Some(_), Some(_)) => {
                errors.forbidden(&Path::new(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
            }
            (Some(seconds), None) if seconds < 1 => {
                errors.invalid(&Path::new("sinceSeconds"), seconds, "must be greater than 0");
            }
            _ => {}
        }
        if self.stream.is_some() {
            errors.forbidden(&Path::new("stream"), "may not be specified");
        }
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", pod, &errors)) }
    }

    /// What the kubelet is asked.
    pub(super) fn to_query(&self) -> String {
        let mut all = Vec::new();
        for (name, on) in [("follow", self.follow), ("previous", self.previous), ("timestamps", self.timestamps)] {
            all.extend(on.then(|| (name, "true".to_owned())));
        }
        let numbers =
            [("sinceSeconds", self.since_seconds), ("tailLines", self.tail_lines), ("limitBytes", self.limit_bytes)];
        all.extend(numbers.into_iter().filter_map(|(name, n)| Some((name, n?.to_string()))));
        all.extend(self.since_time.map(|t| ("sinceTime", t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())));
        encode(all)
    }
}

/// `PodExecOptions`, and `PodAttachOptions`, which lack the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExecOptions {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
    pub(super) container: String,
    command: Vec<String>,
}

impl ExecOptions {
    pub(super) fn parse(subresource: &str, query: &Query) -> Self {
        let command =
            if subresource == "exec" { query.all("command").map(str::to_owned).collect() } else { Vec::new() };
        ExecOptions {
            stdin: on(query, "stdin"),
            stdout: on(query, "stdout"),
            stderr: on(query, "stderr"),
            tty: on(query, "tty"),
            container: query.get("container").to_owned(),
            command,
        }
    }

    /// What the kubelet is asked.
    pub(super) fn to_query(&self) -> String {
        let switches = [("input", self.stdin), ("output", self.stdout), ("error", self.stderr), ("tty", self.tty)];
        let mut all: Vec<(&str, String)> =
            switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "1".to_owned())).collect();
        all.extend(self.command.iter().map(|word| ("command", word.clone())));
        encode(all)
    }

    /// The object that admission sees.
    pub(super) fn to_value(&self, kind: &'static str) -> Value {
        let mut object = options(kind);
        for (name, on) in [("stdin", self.stdin), ("stdout", self.stdout), ("stderr", self.stderr), ("tty", self.tty)] {
            if on {
                object.set(name, true);
            }
        }
        if !self.container.is_empty() {
            object.set("container", self.container.as_str());
        }
        if !self.command.is_empty() {
            object.set("command", Value::Array(self.command.iter().map(|c| Value::from(c.as_str())).collect()));
        }
        object
    }
}

/// The ports of `PodPortForwardOptions`.
pub(super) fn ports(query: &Query) -> Result<Vec<i64>, Status> {
    // Each value may name several.
    let all = query.all("ports").flat_map(|text| text.split(','));
    all.map(|text| parse(text, 32)).collect()
}

/// The object that admission sees.
pub(super) fn ports_value(ports: &[i64]) -> Value {
    let mut object = options("PodPortForwardOptions");
    if !ports.is_empty() {
        object.set("ports", Value::Array(ports.iter().map(|port| Value::from(*port)).collect()));
    }
    object
}

/// What the kubelet is asked.
pub(super) fn ports_query(ports: &[i64]) -> String {
    let all: Vec<String> = ports.iter().map(ToString::to_string).collect();
    if all.is_empty() { String::new() } else { encode(vec![("port", all.join(","))]) }
}

/// The path behind `proxy`, with the slash at its end if there was one.
pub(super) fn proxy_path(connect: &Connect<'_>) -> String {
    let mut path = connect.rest.join("/");
    if !path.is_empty() && !path.starts_with('/') {
        path.insert(0, '/');
    }
    if connect.cx.info.path.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// The object that admission sees.
pub(super) fn proxy_value(kind: &'static str, path: &str) -> Value {
    let mut object = options(kind);
    if !path.is_empty() {
        object.set("path", path);
    }
    object
}

fn options(kind: &'static str) -> Value {
    value!({"kind": (kind), "apiVersion": "v1"})
}

fn on(query: &Query, name: &str) -> bool {
    query.switch(name).unwrap_or(false)
}

fn number(query: &Query, name: &str, bits: u32) -> Result<Option<i64>, Status> {
    query.find(name).map(|text| parse(text, bits)).transpose()
}

fn parse(text: &str, bits: u32) -> Result<i64, Status> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let bad = |why: &str| Status::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quoted(text)));
    match text.parse::<i64>() {
        Ok(number) if bits == 32 && i32::try_from(number).is_err() => Err(bad("value out of range")),
        Ok(number) => Ok(number),
        Err(error) if matches!(error.kind(), PosOverflow | NegOverflow) => Err(bad("value out of range")),
        Err(_) => Err(bad("invalid syntax")),
    }
}

fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, Status> {
    match query.get(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            let text = quoted(text);
            let layout = "2006-01-02T15:04:05Z07:00";
            Status::bad_request(format!("parsing time {text} as \"{layout}\": cannot parse {text} as \"2006\""))
        }),
    }
}

/// A query, sorted by name as Go writes one.
fn encode(mut pairs: Vec<(&str, String)>) -> String {
    pairs.sort_by_key(|(name, _)| *name);
    let all: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", escape(value, b"-_.~", true))).collect();
    all.join("&")
}

/// Percent encoding of all but letters, digits and `keep`.
pub(super) fn escape(text: &str, keep: &[u8], plus: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' if plus => out.push('+'),
            _ if byte.is_ascii_alphanumeric() || keep.contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(query: &str) -> Result<LogOptions, String> {
        let options = LogOptions::parse(&Query::parse(query)).map_err(|s| s.message)?;
        options.validate("web").map_err(|s| s.message)?;
        Ok(options)
    }

    #[test]
    fn log_options_go_to_the_kubelet() {
        let options =
            log("follow=true&previous=0&timestamps=1&tailLines=5&limitBytes=9&sinceTime=2026-01-02T03:04:05.6%2B01:00")
                .unwrap();
        assert_eq!(
            options.to_query(),
            "follow=true&limitBytes=9&sinceTime=2026-01-02T02%3A04%3A05Z&tailLines=5&timestamps=true"
        );
    }

    #[test]
    fn log_options_are_checked() {
        let long = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        for (query, expected) in [
            ("tailLines=-1", "tailLines: Invalid value: -1: must be greater than or equal to 0"),
            ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", long),
            ("stream=All", "stream: Forbidden: may not be specified"),
            ("tailLines=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("sinceTime=x", "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\""),
        ] {
            let message = log(query).unwrap_err();
            assert!(message.contains(expected), "{query}: {message}");
        }
    }

    #[test]
    fn exec_options_go_to_the_kubelet() {
        let query = Query::parse("command=sh&command=-c&command=echo+a%26b&stdin=true&stdout=1&tty=false");
        let options = ExecOptions::parse("exec", &query);
        assert_eq!(options.to_query(), "command=sh&command=-c&command=echo+a%26b&input=1&output=1");
        assert_eq!(ExecOptions::parse("attach", &query).to_query(), "input=1&output=1");
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!(ports_query(&ports(&Query::parse("ports=80&ports=81,82")).unwrap()), "port=80%2C81%2C82");
        assert!(ports(&Query::parse("ports=x")).is_err());
    }
}
