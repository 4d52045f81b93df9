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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Rules,
    pub(super) audit: Rules,
    pub(super) warn: Rules,
}

/// What a level must be.
pub(super) const LEVELS: &str = "must be one of privileged, baseline, restricted";
/// What a version must be.
pub(super) const VERSIONS: &str = "must be \"latest\" or \"v1.x\"";

impl Level {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules { level: Level::Privileged, minor: None }
    }
}

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
    /// By a namespace's labels, or the defaults where they say nothing. Where they cannot be read, the strictest is
    /// enforced; the errors say what is wrong.
    pub(super) fn of(namespace: &Value, defaults: &Policy) -> (Self, Errors) {
        let mut errors = Errors::new();
        let mut policy = *defaults;
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

    /// What a namespace's labels ask for beyond nothing, such as `enforce=baseline:latest, warn=restricted:v1.30`.
    pub(super) fn asked(&self, namespace: &Value) -> String {
        let modes = [("enforce", self.enforce), ("audit", self.audit), ("warn", self.warn)];
        let labelled = |mode: &str| {
            let label = |suffix: &str| namespace.label(&format!("{PREFIX}{mode}{suffix}")).is_some();
            label("") || label("-version")
        };
        let asked = modes.into_iter().filter(|(mode, rules)| rules.level != Level::Privileged && labelled(mode));
        asked.map(|(mode, rules)| format!("{mode}={rules}")).collect::<Vec<_>>().join(", ")
    }

    /// Whether it asks for nothing.
    pub(super) fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|rules| rules.level == Level::Privileged)
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
        let level = Level::parse(text);
        known = level.is_some();
        rules.level = level.unwrap_or(fallback);
        if !known {
            wrong(&label, text, LEVELS);
        }
    }
    let label = format!("{label}-version");
    if let Some(text) = namespace.label(&label) {
        rules.minor = minor(text);
        if rules.minor.is_none() && text != "latest" {
            wrong(&label, text, VERSIONS);
        }
    }
    known
}

pub(super) fn minor(text: &str) -> Option<u32> {
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
        let (policy, errors) = Policy::of(
            &value!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.20"}}}),
            &Policy::default(),
        );
        assert!(errors.is_empty());
        assert_eq!((policy.warn.to_string(), policy.audit.level), ("baseline:v1.20".to_owned(), Level::Privileged));
    }

    #[test]
    fn defaults_hold_where_labels_say_nothing() {
        let rules = |level| Rules { level, minor: None };
        let defaults = Policy { enforce: rules(Level::Baseline), audit: rules(Level::Restricted), ..Policy::default() };
        assert_eq!(Policy::of(&Value::Null, &defaults).0, defaults);
        let namespace = value!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let (policy, _) = Policy::of(&namespace, &defaults);
        assert_eq!(policy.asked(&namespace), "enforce=restricted:latest");
        assert_eq!((policy.audit, policy.warn), (rules(Level::Restricted), rules(Level::Restricted)));
        assert!(!policy.is_privileged() && Policy::default().is_privileged());
    }

    #[test]
    fn labels_that_make_no_sense_are_strict() {
        let (policy, errors) = Policy::of(
            &value!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "some", "pod-security.kubernetes.io/warn-version": "v1.01"}}}),
            &Policy::default(),
        );
        assert_eq!(policy.enforce.to_string(), "restricted:latest");
        assert_eq!(policy.warn.level, Level::Privileged);
        let told: Vec<&str> = errors.0.iter().map(|e| e.message.as_str()).collect();
        assert_eq!(told.len(), 2);
    }
}
