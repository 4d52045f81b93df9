//! The configuration file: `TracingConfiguration` of `apiserver.config.k8s.io`, checked as upstream checks it
//! (component-base `tracing/api/v1/config.go`).

use super::target::Target;
use crate::server::StartError;
use crate::validation::webhook::scheme;
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{Value, codec};
use std::path::Path as File;

const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];
const GROUP: &str = "apiserver.config.k8s.io/";
const KIND: &str = "TracingConfiguration";
const RATE: &str = "samplingRatePerMillion";
/// A field that is no string or number, in the words of Go's decoder.
const FIELDS: [(&str, &str); 2] = [("endpoint", "string"), (RATE, "int32")];
/// Where collectors listen.
const DEFAULT: &str = "localhost:4317";
const MILLION: i32 = 1_000_000;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// Where the collector is.
    pub(super) target: Target,
    /// Of a million traces that begin here, so many are told; those that others began are told if they are elsewhere.
    pub(super) per_million: i32,
}

impl Config {
    /// From a file; the error names it and the field.
    pub(super) fn load(file: &File) -> Result<Self, StartError> {
        let what = "the tracing configuration";
        let text = std::fs::read(file);
        let text = text.map_err(|cause| StartError::ReadFile { what, path: file.to_owned(), cause })?;
        Self::parse(&text).map_err(|why| StartError::BadFile { what, path: file.to_owned(), why })
    }

    /// From a file's content; the texts are upstream's.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let (endpoint, rate) =
            read(text).map_err(|why| format!("unable to decode tracing configuration data: {why}"))?;
        let mut errors = Errors::new();
        check_rate(rate, &mut errors);
        let endpoint = endpoint.unwrap_or_else(|| DEFAULT.to_owned());
        let target = check_endpoint(&endpoint, &mut errors);
        match target.filter(|_| errors.is_empty()) {
            Some(target) => Ok(Config { target, per_million: rate }),
            None => Err(format!("failed to validate tracing configuration: {errors}")),
        }
    }
}

/// Endpoint and rate. What says neither its kind nor its version is taken for what is expected, as upstream does.
fn read(text: &[u8]) -> Result<(Option<String>, i32), String> {
    let value = codec::parse_yaml(text).map_err(|e| e.to_string())?;
    let (version, kind) = (value.api_version(), value.kind());
    let known = version.is_empty() || version.strip_prefix(GROUP).is_some_and(|v| VERSIONS.contains(&v));
    if !known || !matches!(kind, "" | KIND) {
        let (version, kind) = (quoted(version), quoted(if kind.is_empty() { KIND } else { kind }));
        return Err(format!("no kind {kind} is registered for version {version}"));
    }
    if !matches!(value, Value::Object(_) | Value::Null) {
        return Err(format!("{KIND} must be a mapping"));
    }
    for (field, ty) in FIELDS {
        let of = &value[field];
        let rate = of.as_i64().and_then(|n| i32::try_from(n).ok());
        if !of.is_null() && if ty == "string" { of.as_str().is_none() } else { rate.is_none() } {
            let given = given(of);
            return Err(format!(
                "json: cannot unmarshal {given} into Go struct field {KIND}.{KIND}.{field} of type {ty}"
            ));
        }
    }
    let mut strict: Vec<String> = codec::check_yaml_keys(text).err().iter().map(ToString::to_string).collect();
    let known = |name: &str| ["apiVersion", "kind"].contains(&name) || FIELDS.iter().any(|(field, _)| *field == name);
    strict.extend(value.entries().filter(|(n, _)| !known(n)).map(|(n, _)| format!("unknown field {}", quoted(n))));
    if !strict.is_empty() {
        return Err(format!("strict decoding error: {}", strict.join(", ")));
    }
    let rate = value[RATE].as_i64().and_then(|n| i32::try_from(n).ok());
    Ok((value["endpoint"].as_str().map(str::to_owned), rate.unwrap_or(0)))
}

/// A value as Go's decoder names it.
fn given(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        // A number that fits nothing is shown.
        Value::Int(n) if i32::try_from(*n).is_err() => format!("number {n}"),
        Value::Float(n) => format!("number {n}"),
        Value::Int(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) | Value::Raw(_) => "object".to_owned(),
    }
}

fn check_rate(rate: i32, errors: &mut Errors) {
    let path = Path::new(RATE);
    if rate < 0 {
        errors.invalid(&path, i64::from(rate), "sampling rate must be positive");
    }
    if rate > MILLION {
        let detail = "sampling rate per million must be less than or equal to one million";
        errors.invalid(&path, i64::from(rate), detail);
    }
}

fn check_endpoint(endpoint: &str, errors: &mut Errors) -> Option<Target> {
    let path = Path::new("endpoint");
    let url = if endpoint.contains("//") { endpoint.to_owned() } else { format!("dns://{endpoint}") };
    let why = match scheme(&url) {
        Ok(scheme) if ["dns", "unix", "unix-abstract"].contains(&scheme.as_str()) => match Target::parse(endpoint) {
            Ok(target) => return Some(target),
            Err(why) => why,
        },
        Ok(scheme) => format!(
            "unsupported scheme: {scheme}.  Options are none, dns, unix, or unix-abstract.  See \
             https://github.com/grpc/grpc/blob/master/doc/naming.md"
        ),
        Err(why) => why,
    };
    errors.invalid(&path, url.as_str(), &why);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n";

    #[test]
    fn files_that_are_taken() {
        let local = || Target::Tcp("localhost:4317".to_owned());
        for (text, target, per_million) in [
            ("", local(), 0),
            (HEAD, local(), 0),
            ("kind: TracingConfiguration", local(), 0),
            ("apiVersion: apiserver.config.k8s.io/v1beta1\nsamplingRatePerMillion: 7", local(), 7),
            (
                "{apiVersion: apiserver.config.k8s.io/v1alpha1, kind: TracingConfiguration, samplingRatePerMillion: 1000000}",
                local(),
                MILLION,
            ),
            ("endpoint: 'collector.observe:14317'", Target::Tcp("collector.observe:14317".to_owned()), 0),
            ("endpoint: unix:///run/otel.sock", Target::Path("/run/otel.sock".to_owned()), 0),
        ] {
            assert_eq!(Config::parse(text.as_bytes()), Ok(Config { target, per_million }), "{text}");
        }
    }

    #[test]
    fn files_that_are_refused_say_why_as_upstream_does() {
        let decode = "unable to decode tracing configuration data: ";
        let check = "failed to validate tracing configuration: ";
        for (rest, why) in [
            ("foo: 1", format!("{decode}strict decoding error: unknown field \"foo\"")),
            ("Endpoint: a", format!("{decode}strict decoding error: unknown field \"Endpoint\"")),
            (
                "samplingRatePerMillion: abc",
                format!(
                    "{decode}json: cannot unmarshal string into Go struct field \
                     TracingConfiguration.TracingConfiguration.samplingRatePerMillion of type int32"
                ),
            ),
            (
                "samplingRatePerMillion: 99999999999",
                format!(
                    "{decode}json: cannot unmarshal number 99999999999 into Go struct field \
                     TracingConfiguration.TracingConfiguration.samplingRatePerMillion of type int32"
                ),
            ),
            (
                "endpoint: 1",
                format!(
                    "{decode}json: cannot unmarshal number into Go struct field \
                     TracingConfiguration.TracingConfiguration.endpoint of type string"
                ),
            ),
            (
                "samplingRatePerMillion: -1",
                format!("{check}samplingRatePerMillion: Invalid value: -1: sampling rate must be positive"),
            ),
            (
                "samplingRatePerMillion: 1000001\nendpoint: http://x:1",
                format!(
                    "{check}[samplingRatePerMillion: Invalid value: 1000001: sampling rate per million must be less than \
                     or equal to one million, endpoint: Invalid value: \"http://x:1\": unsupported scheme: http.  Options \
                     are none, dns, unix, or unix-abstract.  See \
                     https://github.com/grpc/grpc/blob/master/doc/naming.md]"
                ),
            ),
            (
                "endpoint: 'localhost:abc'",
                format!(
                    "{check}endpoint: Invalid value: \"dns://localhost:abc\": parse \"dns://localhost:abc\": invalid \
                     port \":abc\" after host"
                ),
            ),
        ] {
            assert_eq!(Config::parse(format!("{HEAD}{rest}\n").as_bytes()), Err(why), "{rest}");
        }
        for (text, why) in [
            (
                "apiVersion: apiserver.config.k8s.io/v2\nkind: TracingConfiguration",
                "no kind \"TracingConfiguration\" is registered for version \"apiserver.config.k8s.io/v2\"",
            ),
            (
                "apiVersion: apiserver.config.k8s.io/v1\nkind: Foo",
                "no kind \"Foo\" is registered for version \"apiserver.config.k8s.io/v1\"",
            ),
        ] {
            assert_eq!(Config::parse(text.as_bytes()), Err(format!("{decode}{why}")), "{text}");
        }
        let twice = Config::parse(format!("{HEAD}endpoint: a\nendpoint: b\n").as_bytes()).unwrap_err();
        assert!(
            twice.starts_with(&format!("{decode}strict decoding error: ")) && twice.contains("\"endpoint\""),
            "{twice}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let why = Config::load(File::new("/nonexistent/tracing.yaml")).unwrap_err().to_string();
        assert_eq!(why, "could not read the tracing configuration /nonexistent/tracing.yaml");
    }
}
