//! EventRateLimit: events beyond a rate are refused, for all together, by namespace, by user, or by source and object
//! (upstream `plugin/pkg/admission/eventratelimit`).

mod bucket;

use super::configuration::{Strict, expect_kind};
use super::{Attributes, Operation, Plugin, Take};
use bucket::Buckets;
use futures::future::BoxFuture;
use kaji_api::field::{Errors, Path};
use kaji_api::{Status, Value};
use parking_lot::Mutex;
use std::time::Instant;

const KINDS: [(&str, &str); 1] = [("eventratelimit.admission.k8s.io/v1alpha1", "Configuration")];
const TYPES: [(&str, Kind); 4] = [
    ("Server", Kind::Server),
    ("Namespace", Kind::Namespace),
    ("User", Kind::User),
    ("SourceAndObject", Kind::SourceAndObject),
];
/// How many namespaces, users or objects are told apart where the configuration doesn't say.
const USUAL_SIZE: usize = 4096;

/// What shares a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

#[derive(Default)]
pub(super) struct EventRateLimit(Mutex<Vec<(Kind, Buckets)>>);

impl Plugin for EventRateLimit {
    fn name(&self) -> &'static str {
        "EventRateLimit"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        let limits = limits(told.ok_or("limits: Invalid value: null: must not be empty")?)?;
        Ok(Box::new(move || *self.0.lock() = limits))
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let concerned = (a.is("", "events") || a.is("events.k8s.io", "events")) && !a.cx.dry_run;
            if !concerned || !matches!(a.operation, Operation::Create | Operation::Update) {
                return Ok(());
            }
            let now = Instant::now();
            let reached =
                self.0.lock().iter_mut().filter_map(|(kind, buckets)| kind.take(buckets, a, now)).collect::<Vec<_>>();
            match reached.as_slice() {
                [] => Ok(()),
                [one] => Err(Status::too_many_requests(one, 1)),
                several => Err(Status::too_many_requests(format!("[{}]", several.join(", ")), 1)),
            }
        })
    }
}

impl Kind {
    /// Lets one event in, or says why not.
    fn take(self, buckets: &mut Buckets, a: &Attributes<'_>, now: Instant) -> Option<String> {
        let key = match self {
            Kind::Server => String::new(),
            Kind::Namespace => a.namespace.to_owned(),
            Kind::User => a.cx.user.name.clone(),
            Kind::SourceAndObject => source_and_object(a.object),
        };
        (!buckets.take(&key, now)).then(|| format!("limit reached on type {self:?} for key {key}"))
    }
}

fn source_and_object(event: &Value) -> String {
    // Events of the newer version are stored as these, too.
    let (source, object) = (&event["source"], &event["involvedObject"]);
    let of = |from: &Value, fields: &[&str]| fields.iter().map(|field| from[*field].str()).collect::<String>();
    of(source, &["component", "host"]) + &of(object, &["kind", "namespace", "name", "uid", "apiVersion"])
}

fn limits(told: &Value) -> Result<Vec<(Kind, Buckets)>, String> {
    expect_kind(told, &KINDS)?;
    let mut strict = Strict::default();
    strict.fields(told, "", &["kind", "apiVersion", "limits"]);
    let (mut errors, mut limits) = (Errors::new(), Vec::new());
    let root = Path::new("limits");
    if told["limits"].items().is_empty() {
        errors.invalid(&root, told["limits"].clone(), "must not be empty");
    }
    for (index, limit) in told["limits"].items().iter().enumerate() {
        let path = root.index(index);
        strict.fields(limit, &path.to_string(), &["type", "qps", "burst", "cacheSize"]);
        let kind = TYPES.iter().find(|(name, _)| *name == limit["type"].str());
        if kind.is_none() {
            errors.not_supported(&path.child("type"), limit["type"].str(), &TYPES.map(|(name, _)| name));
        }
        let mut number = |field: &str, fine: fn(i64) -> bool, why: &str| {
            let number = limit[field].as_i64().unwrap_or_default();
            if !fine(number) {
                errors.invalid(&path.child(field), number, why);
            }
            u32::try_from(number).unwrap_or_default()
        };
        let burst = number("burst", |n| n > 0, "must be positive");
        let qps = number("qps", |n| n > 0, "must be positive");
        let size = match kind {
            Some((_, Kind::Server)) => 1,
            _ => match number("cacheSize", |n| n >= 0, "must not be negative") {
                0 => USUAL_SIZE,
                size => size as usize,
            },
        };
        limits.extend(kind.map(|(_, kind)| (*kind, Buckets::new(qps, burst, size))));
    }
    strict.check()?;
    if errors.is_empty() { Ok(limits) } else { Err(errors.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn read(limit: Value) -> Result<Vec<Kind>, String> {
        let told = value!({"kind": "Configuration", "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "limits": [(limit)]});
        limits(&told).map(|limits| limits.into_iter().map(|(kind, _)| kind).collect())
    }

    #[test]
    fn limits_are_checked() {
        assert_eq!(read(value!({"type": "User", "qps": 1, "burst": 2})), Ok(vec![Kind::User]));
        let table = [
            (value!({"type": "Pod", "qps": 1, "burst": 2}), "limits[0].type: Unsupported value: \"Pod\""),
            (value!({"type": "Server", "qps": 0, "burst": 2}), "limits[0].qps: Invalid value: 0: must be positive"),
            (
                value!({"type": "User", "qps": 1, "burst": 2, "cacheSize": (-1)}),
                "limits[0].cacheSize: Invalid value: -1: must not be negative",
            ),
            (value!({"type": "User", "rate": 1}), "strict decoding error: unknown field \"limits[0].rate\""),
        ];
        for (limit, text) in table {
            let refused = read(limit).unwrap_err();
            assert!(refused.starts_with(text), "{refused}");
        }
    }

    #[test]
    fn events_about_one_object_from_one_source_go_together() {
        let event = value!({"source": {"component": "c", "host": "h"}, "involvedObject": {"kind": "Pod", "name": "p"}});
        assert_eq!(source_and_object(&event), "chPodp");
    }
}
