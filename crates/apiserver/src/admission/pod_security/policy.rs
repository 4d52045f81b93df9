//! Which level a namespace's labels ask for, by mode (upstream `pod-security-admission/api`).

use kaji_api::Value;
use kaji_api::field::{Errors, Path};
use std::fmt;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much pods may do, from most to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// The rules of a release, or of this one (none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) level: Level,
    pub(super) minor: Option<u32>,
}

/// What is done by which rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Rules,
    pub(super) audit: Rules,
    pub(super) warn: Rules,
}

const NOTHING: Rules = Rules { level: Level::Privileged, minor: None };

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.minor {
            Some(minor) => write!(f, "{level}:v1.{minor}"),
            None => write!(f, "{level}:latest"),
        }
    }
}

impl Policy {
    /// By a namespace's labels. Where they cannot be read, the strictest is enforced; the errors say what is wrong.
    pub(super) fn of(namespace: &Value) -> (Self, Errors) {
        let mut errors = Errors::new();
        let mut policy = Policy { enforce: NOTHING, audit: NOTHING, warn: NOTHING };
        let enforced = read(namespace, "enforce", Level::Restricted, &mut policy.enforce, &mut errors);
        read(namespace, "audit", Level::Privileged, &mut policy.audit, &mut errors);
        read(namespace, "warn", Level::Privileged, &mut policy.warn, &mut errors);
        let silent = namespace.label(&format!("{PREFIX}warn")).is_none();
        if silent && enforced && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if namespace.label(&format!("{PREFIX}warn-version")).is_none() {
                policy.warn.minor = policy.enforce.minor;
            }
        }
        (policy, errors)
    }
}

/// Reads one mode's labels; whether its level is there and makes sense.
fn read(namespace: &Value, mode: &str, fallback: Level, rules: &mut Rules, errors: &mut Errors) -> bool {
    let mut known = false;
    let mut wrong = |label: &str, value: &str, why: &str| {
        errors.invalid(&Path::new("metadata").child("labels").key(label), value, why);
    };
    let label = format!("{PREFIX}{mode}");
    if let Some(text) = namespace.label(&label) {
        let level = match text {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        };
        known = level.is_some();
        rules.level = level.unwrap_or(fallback);
        if !known {
            wrong(&label, text, "must be one of privileged, baseline, restricted");
        }
    }
    let label = format!("{label}-version");
    if let Some(text) = namespace.label(&label) {
        rules.minor = minor(text);
        if rules.minor.is_none() && text != "latest" {
            wrong(&label, text, "must be \"latest\" or \"v1.x\"");
        }
    }
    known
}

fn minor(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("v1.")?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn warnings_follow_what_is_enforced() {
        let (policy, errors) = Policy::of(&value!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.20"}}}));
        assert!(errors.is_empty());
        assert_eq!((policy.warn.to_string(), policy.audit.level), ("baseline:v1.20".to_owned(), Level::Privileged));
    }

    #[test]
    fn labels_that_make_no_sense_are_strict() {
        let (policy, errors) = Policy::of(&value!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "some", "pod-security.kubernetes.io/warn-version": "v1.01"}}}));
        assert_eq!(policy.enforce.to_string(), "restricted:latest");
        assert_eq!(policy.warn.level, Level::Privileged);
        let told: Vec<&str> = errors.0.iter().map(|e| e.message.as_str()).collect();
        assert_eq!(told.len(), 2);
    }
}
